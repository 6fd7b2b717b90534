#pragma once

#include <gmock/gmock.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "executor/session_starter.h"
#include "schedule/pushed_schedules.h"
#include "schedule/pushed_triggers.h"
#include "schedule/scheduler.h"
#include "store/projects.h"
#include "store/schedules.h"
#include "store/schema_for_test.h"
#include "store/sessions.h"

namespace digdag::schedule {

inline Instant at(std::string_view iso) {
  const auto instant = parse_instant(iso);
  if (!instant) throw std::runtime_error("no time: " + std::string(iso));
  return *instant;
}

/// Starts attempts as rows alone: nothing executes them.
class RowStarter : public executor::SessionStarter {
 public:
  explicit RowStarter(store::Database& database) : database_(database) {}

  std::unique_ptr<Prepared> prepare(const executor::StartRequest& request) override {
    if (unpreparable.contains(request.workflow.name)) throw config_error("cannot compile " + request.workflow.name);
    return std::make_unique<Request>(request);
  }

  executor::StartAnswer insert(store::Transaction& transaction, Prepared& prepared) override {
    const executor::StartRequest& request = static_cast<Request&>(prepared).request;
    const store::Project& project = request.workflow.project;
    store::Sessions sessions(transaction, project.site_id);
    if (broken.contains(request.workflow.name)) return executor::StartRefused{executor::StartRefused::Why::invalid, "it is broken"};
    if (!request.after_session && attempt_limit < 1'000'000 && sessions.unfinished() >= attempt_limit) {
      return executor::StartRefused{executor::StartRefused::Why::site_limit, "Too many attempts running"};
    }
    const auto session = sessions.put_session(
        {.project_id = project.id, .workflow_name = request.workflow.name, .session_time = request.session_time}, random_uuid());
    Value params = Value::object();
    if (request.last_executed_session_time) {
      params.mutable_object().set("last_executed", format_instant(*request.last_executed_session_time));
    }
    const auto attempt = sessions.insert_attempt({.session_id = session.id,
                                                  .project_id = project.id,
                                                  .retry_attempt_name = request.retry_attempt_name,
                                                  .workflow_definition_id = request.workflow.id,
                                                  .timezone = request.workflow.timezone,
                                                  .params = params});
    if (!attempt) return executor::SessionExists{sessions.conflicting(session.id, request.retry_attempt_name).value()};
    if (request.after_session) {
      transaction.send("insert into delayed_session_attempts (id, next_run_time, updated_at) values ($1, 0, now())", {attempt->id});
    }
    if (poisoned.contains(request.workflow.name)) throw std::runtime_error("poison");
    run_times.push_back(request.run_time.value_or(Instant{}));
    return executor::Started{sessions.attempt(attempt->id).value()};
  }

  void committed(std::unique_ptr<Prepared> prepared) override {
    const executor::StartRequest& request = static_cast<Request&>(*prepared).request;
    started.push_back(request.workflow.name + " " + format_instant(request.session_time));
  }

  executor::StartAnswer start_delayed(std::int64_t attempt_id) override {
    return database_.write([&](store::Transaction& transaction) -> executor::StartAnswer {
      const auto row = transaction.first(
          "select p.site_id, s.workflow_name from session_attempts a, projects p, sessions s where a.id = $1 and p.id = a.project_id and "
          "s.id = a.session_id",
          {attempt_id});
      if (broken.contains(row->text(1))) return executor::StartRefused{executor::StartRefused::Why::invalid, "it is broken"};
      store::Sessions sessions(transaction, row->integer(0));
      if (sessions.unfinished() >= attempt_limit)
        return executor::StartRefused{executor::StartRefused::Why::site_limit, "Too many attempts running"};
      if (!transaction.changes_one("delete from delayed_session_attempts where id = $1", {attempt_id})) {
        return executor::StartRefused{executor::StartRefused::Why::not_found, ""};
      }
      const auto attempt = sessions.attempt(attempt_id).value();
      started.push_back(attempt.workflow_name + " " + format_instant(attempt.session_time));
      return executor::Started{attempt};
    });
  }

  std::set<std::string, std::less<>> unpreparable, broken, poisoned;  ///< workflows
  std::int64_t attempt_limit = 1'000'000;
  std::vector<std::string> started;  ///< `workflow session`, after the commit
  std::vector<Instant> run_times;

 private:
  struct Request : Prepared {
    explicit Request(executor::StartRequest the_request) : request(std::move(the_request)) {}
    executor::StartRequest request;
  };
  store::Database& database_;
};

/// Projects whose workflows have schedules, in a database of each kind.
class WithSchedules : public store::DatabaseWithSchema {
 protected:
  using Workflows = std::map<std::string, std::string, std::less<>>;  ///< name: the config as JSON

  void SetUp() override {
    DatabaseWithSchema::SetUp();
    starter_ = std::make_unique<RowStarter>(*database_);
  }

  /// Pushes a revision of project `p`; `schedule_from` is a time, as ISO.
  void push(const Workflows& workflows, std::string_view schedule_from, PushOptions options = {}, std::string_view zone = "UTC",
            const std::string& project_name = "p", std::int64_t site = 0) {
    options.schedule_from = at(schedule_from);
    std::vector<PushedWorkflow> pushed;
    std::vector<store::Projects::NewWorkflow> added;
    for (const auto& [name, config] : workflows) {
      const Value value = parse_json(config);
      pushed.push_back({name, TimeZone::of(zone).value(), value});
      added.push_back({name, TimeZone::of(zone).value(), value});
    }
    const PushedSchedules schedules(pushed, options);
    const PushedTriggers triggers(pushed);
    database_->write([&](store::Transaction& transaction) {
      store::Projects projects(transaction, site);
      const store::Project project = projects.put_and_lock(project_name);
      const auto revision = projects.insert_revision(
          project.id, {.name = "r" + std::to_string(++revisions_), .archive_type = "none", .archive_path = {}, .archive_md5 = ""});
      std::map<std::string, std::int64_t, std::less<>> ids;
      for (const auto& definition : projects.insert_workflows(project, *revision, added)) ids[definition.name] = definition.id;
      missed_ = schedules.apply(transaction, project.id, ids);
      triggers.apply(transaction, project, ids);
    });
  }

  std::vector<store::Schedule> schedules(std::int64_t site = 0) {
    return database_->read([&](store::Transaction& transaction) {
      return store::schedules(transaction, {.site_id = site, .project_id = {}, .workflow_name = {}, .after_id = 0});
    });
  }
  store::Schedule schedule(std::string_view workflow) {
    for (auto& schedule : schedules()) {
      if (schedule.workflow_name == workflow) return schedule;
    }
    throw std::runtime_error("no schedule of " + std::string(workflow));
  }
  /// `session / run`
  std::string next(std::string_view workflow) {
    const store::Schedule row = schedule(workflow);
    return format_instant(row.next_session_time) + " / " + format_instant(row.next_run_time);
  }
  std::string last(std::string_view workflow) {
    const auto time = schedule(workflow).last_session_time;
    return time ? format_instant(*time) : "never";
  }

  /// All attempts with their params, oldest first: `workflow session {params}`.
  std::vector<std::string> attempts() {
    return database_->read([&](store::Transaction& transaction) {
      std::vector<std::string> all;
      for (const auto& row : transaction.query("select s.workflow_name, s.session_time, a.params, a.state_flags from session_attempts a "
                                               "join sessions s on s.id = a.session_id order by a.id")) {
        all.push_back(row.text(0) + " " + format_instant(Instant::of_seconds(row.integer(1))));
        if (const auto params = row.optional_text(2)) all.back() += " " + *params;
      }
      return all;
    });
  }
  /// All attempts that run end well.
  void finish_attempts() {
    database_->write([&](store::Transaction& transaction) {
      transaction.send(
          "update session_attempts set state_flags = 6 where state_flags & 2 = 0"
          " and not exists (select 1 from delayed_session_attempts d where d.id = session_attempts.id)");
    });
  }

  std::unique_ptr<RowStarter> starter_;
  std::int64_t missed_ = 0;  ///< that the last push told of

 private:
  int revisions_ = 0;
};

}  // namespace digdag::schedule
