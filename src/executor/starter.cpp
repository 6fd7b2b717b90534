#include "executor/starter.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/config.h"
#include "base/error.h"
#include "base/text.h"
#include "dig/compiler.h"
#include "dig/declared_params.h"
#include "engine/resume_source.h"
#include "executor/read_back.h"
#include "store/schedules.h"
#include "store/task_rows.h"
#include "store/tasks.h"

namespace digdag::executor {
namespace {

/// With more tasks than this the first rows are not part of the commit that is waited for.
constexpr std::size_t most_tasks_at_once = 2000;
/// Starts that may be under way at the same time without being counted one after another: two schedulers put up to 100 into a transaction.
constexpr std::int64_t uncounted_starts = 256;
/// From this attempt limit on not every start counts, and how long a count lasts.
constexpr std::int64_t high_limit = 1000;
constexpr std::chrono::seconds count_lasts{1};
constexpr std::int64_t last_id = std::numeric_limits<std::int64_t>::max();

/// `_concurrency: N` or `{limit: N, on_limit: wait | skip | fail}` (spec/decisions.md E-62); limit 0: none.
struct Concurrency {
  std::int64_t limit = 0;
  std::string on_limit = "wait";
};
Concurrency concurrency_of(const Value& config) {
  const Value* value = config.find("_concurrency");
  if (value == nullptr || value->is_null()) return {};
  if (!value->is_object()) return {convert_to_int(*value, "_concurrency")};
  return {Config(*value).integer("limit"), Config(*value).string_or("on_limit", "wait")};
}

AttemptIdentity identity_of(const store::SessionAttempt& attempt, const std::optional<store::WorkflowDefinition>& workflow) {
  AttemptIdentity identity;
  identity.site_id = attempt.site_id;
  identity.project_id = attempt.project_id;
  identity.session_id = attempt.session_id;
  identity.attempt_id = attempt.id;
  identity.project_name = attempt.project_name;
  identity.workflow_name = attempt.workflow_name;
  if (workflow) {
    identity.revision = workflow->revision_name;
    identity.revision_id = workflow->revision_id;
  }
  identity.workflow_definition_id = attempt.workflow_definition_id;
  identity.session_uuid = attempt.session_uuid;
  identity.session_time = attempt.session_time;
  identity.created_at = attempt.created_at.instant();
  identity.timezone = attempt.timezone;
  identity.retry_attempt_name = attempt.retry_attempt_name;
  return identity;
}

StartRefused refused(const Error& error, const std::string& workflow) {
  const bool limit = error.kind() == "task limit exceeded";
  std::string message = error.message();
  if (error.kind() == "config") {  // of what was pushed: a start can only name it
    message += " (workflow '" + workflow + "'";
    if (!error.hint_text().empty()) message += ": " + error.hint_text();
    message += ")";
  }
  return {limit ? StartRefused::Why::limit : StartRefused::Why::invalid, std::move(message)};
}

/// Everything that can be known before the transaction.
class Preparation : public SessionStarter::Prepared {
 public:
  Preparation(StartRequest wanted, Executor* the_executor) : request(std::move(wanted)), executor(the_executor) {}
  ~Preparation() override {
    if (executor && places > 0) executor->give_places_back(request.workflow.project.site_id, places);
  }
  Preparation(const Preparation&) = delete;
  Preparation& operator=(const Preparation&) = delete;

  StartRequest request;
  Executor* const executor;  ///< nullptr: it is for other servers
  std::optional<StartRefused> refusal;
  std::string session_uuid = random_uuid();
  Value params;  ///< of the attempt, as they are stored
  engine::ResumedTasks resumed;
  std::string remark;                            ///< on `resumed`
  std::vector<engine::StoredTask> source;        ///< of `resumed`, where changed tasks are to run again
  std::optional<engine::StoredMonitor> monitor;  ///< that was stored before its tasks
  std::optional<engine::Attempt> attempt;        ///< nothing: delayed
  store::AttemptRows rows;
  engine::Outcome outcome;  ///< of its start, where it was started here
  bool is_started = false;
  std::vector<engine::Run> given;
  std::int64_t places = 0;  ///< taken, and not used yet
  Concurrency concurrency;
  std::optional<AttemptIdentity> identity;  ///< since `insert`
  bool delayed = false;
  store::Sessions::Wait wait;
};

}  // namespace

struct Starter::Impl {
  Options options;
  store::Database& database;
  store::OwnedAttempts& owned;
  Executor* executor;
  std::function<Instant()> clock;

  struct Count {
    std::chrono::steady_clock::time_point at = {};
    std::int64_t running = 0, started_since = 0;
  };
  std::mutex counts_mutex = {};
  std::map<std::int64_t, Count> counts = {};  ///< of attempts that run, by site

  Executor* executor_of(const StartRequest& request) const {
    return options.sites.has(request.workflow.project.site_id) ? executor : nullptr;
  }

  engine::Params base_params(const store::WorkflowDefinition& workflow, const Value& params) const {
    const engine::Params layers = engine::Params().with(options.default_params).with(workflow.revision_default_params);
    return layers.with(dig::declared_params(workflow_of(workflow), params)).with(params);
  }

  /// Compiles, numbers and starts it, or leaves the start to the loop where it is large, or to others where nobody executes here.
  void make_attempt(Preparation& prepared, bool with_monitor) {
    const StartRequest& request = prepared.request;
    dig::Workflow workflow = workflow_of(request.workflow);
    if (!with_monitor) workflow.config.mutable_object().erase("sla");
    const dig::TaskTree tree = dig::compile(workflow);
    if (!prepared.source.empty()) prepared.resumed = engine::without_changed(std::move(prepared.resumed), prepared.source, tree);
    prepared.attempt.emplace(tree, base_params(request.workflow, prepared.params), request.workflow.timezone, options.attempt,
                             prepared.resumed);
    if (prepared.monitor)
      prepared.attempt->continue_monitor(*prepared.monitor);
    else
      prepared.attempt->count_sla_from(request.run_time.value_or(clock()));
    const bool is_large = tree.tasks.size() > most_tasks_at_once;
    if (prepared.executor && !is_large) {
      prepared.outcome = prepared.attempt->start(clock());
      prepared.is_started = true;
    }
    if (!prepared.executor || !is_large) owned.number_tasks(prepared.rows, prepared.attempt->size());
    if (prepared.is_started) give_places(prepared);
  }

  void give_places(Preparation& prepared) {
    std::vector<engine::Run> runs;
    for (const engine::Effect& effect : prepared.outcome.effects) {
      if (const auto* run = std::get_if<engine::Run>(&effect)) runs.push_back(*run);
    }
    prepared.places = prepared.executor->take_places(prepared.request.workflow.project.site_id, static_cast<std::int64_t>(runs.size()));
    runs.resize(static_cast<std::size_t>(prepared.places));
    prepared.given = std::move(runs);
  }

  void take_over(Preparation& prepared, store::Transaction& transaction) {
    const StartRequest::Resume& resume = *prepared.request.resume;
    const std::int64_t site_id = prepared.request.workflow.project.site_id;
    const auto source = store::Sessions(transaction, site_id).attempt(resume.attempt_id);
    if (!source) {
      prepared.refusal = {StartRefused::Why::not_found, "Resource does not exist: session attempt id=" + std::to_string(resume.attempt_id)};
      return;
    }
    if (source->project_id != prepared.request.workflow.project.id || source->workflow_name != prepared.request.workflow.name) {
      prepared.refusal = {StartRefused::Why::invalid, "Attempt id=" + std::to_string(resume.attempt_id) + " is one of another workflow ('" +
                                                          source->workflow_name + "' of project '" + source->project_name + "')"};
      return;
    }
    if (!source->done()) prepared.remark += "; that one still runs: what it has not finished runs here as well";
    if (source->session_time != prepared.request.session_time) {
      prepared.remark += "; that one is of another session: " + format_session_time(source->session_time, source->timezone);
    }
    std::vector<engine::StoredTask> tasks = store::tasks_of_attempt(transaction, resume.attempt_id);
    prepared.resumed = resume.from ? engine::resume_from(*resume.from, tasks) : engine::resume_failed(tasks);
    if (resume.changed) prepared.source = std::move(tasks);
  }

  std::unique_ptr<Prepared> prepare(const StartRequest& request) {
    auto prepared = std::make_unique<Preparation>(request, executor_of(request));
    try {
      prepared->request.session_time = Instant::of_seconds(request.session_time.seconds());
      prepared->params = request.params.is_object() ? request.params : Value::object();
      if (options.times_around) merge(prepared->params, options.times_around(request.workflow, prepared->request.session_time));
      if (request.last_executed_session_time)
        prepared->params.mutable_object().set("last_executed_session_time",
                                              format_session_time(*request.last_executed_session_time, request.workflow.timezone));
      prepared->concurrency = concurrency_of(request.workflow.config);
      if (const store::Project& project = request.workflow.project; project.deleted_at)
        prepared->refusal = {StartRefused::Why::not_found, "Project id=" + std::to_string(project.id) + " is already deleted"};
      else if (request.resume)
        database.read([&](store::Transaction& transaction) { take_over(*prepared, transaction); });
      if (!prepared->refusal && !request.after_session) make_attempt(*prepared, true);
    } catch (const store::DatabaseError&) {
      throw;
    } catch (const Error& error) {
      prepared->refusal = refused(error, request.workflow.name);
    }
    return prepared;
  }

  /// Counting costs what there is to count. So far below a high limit the last count, with all that was started here since, will do.
  bool surely_below_limit(std::int64_t site_id) {
    if (options.attempt_limit < high_limit) return false;
    const std::lock_guard lock(counts_mutex);
    Count& count = counts[site_id];
    ++count.started_since;
    return std::chrono::steady_clock::now() - count.at < count_lasts && count.running + count.started_since < options.attempt_limit / 2;
  }

  /// Enough for one that takes no place yet. A backfill has thousands, and each count would go through those before it.
  bool was_below_limit(std::int64_t site_id) {
    const std::lock_guard lock(counts_mutex);
    const Count& count = counts[site_id];
    return std::chrono::steady_clock::now() - count.at < count_lasts && count.running < options.attempt_limit;
  }

  /// `takes_place`: what is to start counts from now on.
  std::optional<StartRefused> limit_reached(store::Sessions& sessions, std::int64_t site_id, bool takes_place = true) {
    if (options.attempt_limit <= 0 || surely_below_limit(site_id)) return std::nullopt;
    std::int64_t running = options.attempt_limit < uncounted_starts ? options.attempt_limit : sessions.unfinished();
    if (running + uncounted_starts > options.attempt_limit) {
      sessions.hold_count();
      running = sessions.unfinished();
    }
    {
      const std::lock_guard lock(counts_mutex);
      counts[site_id] = {std::chrono::steady_clock::now(), running + (takes_place ? 1 : 0), 0};
    }
    if (running < options.attempt_limit) return std::nullopt;
    return StartRefused{StartRefused::Why::site_limit, "Too many attempts running. Limit: " + std::to_string(options.attempt_limit) +
                                                           ", Current: " + std::to_string(running)};
  }

  /// What `_concurrency` says to a start: an answer, or nothing, and then the attempt may be told to wait.
  static std::optional<StartAnswer> concurrency_reached(store::Sessions& sessions, Preparation& prepared) {
    const auto& [limit, on_limit] = prepared.concurrency;
    if (limit <= 0 || prepared.delayed) return std::nullopt;
    const StartRequest& request = prepared.request;
    const std::int64_t project_id = request.workflow.project.id;
    const std::string& workflow = request.workflow.name;
    const auto blocking = sessions.running_of_workflow(project_id, workflow);
    const bool reached = static_cast<std::int64_t>(blocking.size()) >= limit;
    if (on_limit == "wait") {
      // Where there is room, those that wait for an earlier session go first.
      prepared.delayed = reached || sessions.waiting_before({project_id, workflow, request.session_time}, last_id);
      prepared.wait = {.after_session = reached ? sessions.least_awaited(blocking) : 0, .in_turn = prepared.delayed};
    }
    if (!reached || prepared.delayed) return std::nullopt;
    // A session that has its attempt is answered with that one, whatever else runs.
    const auto session = sessions.find_session({project_id, workflow, request.session_time});
    if (session && sessions.conflicting(*session, request.retry_attempt_name.value_or("")))
      return SessionExists{*sessions.conflicting(*session, request.retry_attempt_name)};
    const std::string why = "Workflow '" + workflow + "' runs already. _concurrency limit: " + std::to_string(limit);
    if (on_limit == "skip") return SessionExists{blocking.front(), why};
    return StartRefused{StartRefused::Why::limit, why};
  }

  StartAnswer insert(store::Transaction& transaction, Preparation& prepared) {
    if (prepared.refusal) return *prepared.refusal;
    const StartRequest& request = prepared.request;
    const store::WorkflowDefinition& workflow = request.workflow;
    const std::int64_t site_id = workflow.project.site_id;
    store::Sessions sessions(transaction, site_id);
    if (prepared.concurrency.limit > 0) sessions.hold_count();
    prepared.delayed = request.after_session.has_value();
    if (!prepared.delayed || !was_below_limit(site_id)) {
      if (auto limit = limit_reached(sessions, site_id, !prepared.delayed)) return *limit;
    }
    prepared.wait = {.after_session = request.after_session.value_or(0)};
    if (auto answer = concurrency_reached(sessions, prepared)) return *std::move(answer);
    const auto session = sessions.put_session({workflow.project.id, workflow.name, request.session_time}, prepared.session_uuid);
    store::NewAttempt wanted;
    wanted.session_id = session.id;
    wanted.project_id = workflow.project.id;
    wanted.retry_attempt_name = request.retry_attempt_name;
    wanted.workflow_definition_id = workflow.id;
    wanted.timezone = workflow.timezone;
    wanted.params = prepared.params;
    const auto inserted = sessions.insert_attempt(wanted);
    if (!inserted) {
      auto existing = sessions.conflicting(session.id, request.retry_attempt_name);
      if (!existing) throw Error("internal", "a session has no attempt although one was in the way");
      return SessionExists{std::move(*existing)};
    }
    Started started{attempt_of(wanted, *inserted, session, request)};
    prepared.identity = identity_of(started.attempt, request.workflow);
    prepared.rows.attempt_id = inserted->id;
    prepared.rows.site_id = site_id;
    // Whoever makes the tasks later has nothing else to tell what was taken over.
    const bool has_rows = !prepared.delayed && has_first_rows(prepared);
    store::insert_resuming_tasks(transaction, inserted->id, has_rows ? engine::for_generated_tasks(prepared.resumed) : prepared.resumed);
    if (prepared.delayed) {
      sessions.insert_delayed(inserted->id, prepared.wait);
      if (prepared.attempt) write_monitor(transaction, prepared);
      transaction.notify(store::schedules_notice);
      return started;
    }
    write(transaction, prepared);
    return started;
  }

  static store::SessionAttempt attempt_of(const store::NewAttempt& wanted, const store::InsertedAttempt& inserted,
                                          const store::Sessions::Session& session, const StartRequest& request) {
    const store::Project& project = request.workflow.project;
    store::SessionAttempt attempt;
    attempt.id = inserted.id;
    attempt.index = inserted.index;
    attempt.site_id = project.site_id;
    attempt.project_id = project.id;
    attempt.project_name = project.name;
    attempt.workflow_name = request.workflow.name;
    attempt.workflow_definition_id = request.workflow.id;
    attempt.session_id = session.id;
    attempt.session_uuid = session.uuid;
    attempt.session_time = request.session_time;
    attempt.timezone = request.workflow.timezone;
    attempt.retry_attempt_name = request.retry_attempt_name;
    attempt.params = wanted.params;
    attempt.created_at = inserted.created_at;
    return attempt;
  }

  store::AttemptChange first_change(Preparation& prepared) const {
    return executor::first_change(prepared.rows, *prepared.attempt, prepared.outcome, prepared.given,
                                  prepared.executor && prepared.executor->has_agent(prepared.rows.site_id));
  }

  /// Else, for a large one, they come with the first commit of the loop.
  bool has_first_rows(const Preparation& prepared) const { return !prepared.executor || prepared.is_started; }

  /// Of one whose tasks come later.
  static void write_monitor(store::Transaction& transaction, Preparation& prepared) {
    store::write_first(transaction, {store::AttemptChange{&prepared.rows, &*prepared.attempt, {}, {}, {}, {}}});
  }

  void write(store::Transaction& transaction, Preparation& prepared) {
    prepared.rows.monitor_stored = prepared.monitor.has_value();
    if (!prepared.executor) {
      store::insert_ownership(transaction, prepared.rows, "");
      std::vector<store::AttemptChange> changes{first_change(prepared)};
      store::write_first(transaction, changes);
    } else if (has_first_rows(prepared)) {
      store::AttemptChange change = first_change(prepared);
      owned.write_new(transaction, change);
    } else {
      owned.own_new(transaction, prepared.rows);
      write_monitor(transaction, prepared);
    }
  }

  void committed(std::unique_ptr<Prepared> opaque) {
    auto& prepared = static_cast<Preparation&>(*opaque);
    if (options.remark && !prepared.remark.empty()) {
      options.remark("Attempt " + std::to_string(prepared.identity->attempt_id) + " resumes attempt " +
                     std::to_string(prepared.request.resume->attempt_id) + prepared.remark);
    }
    if (prepared.delayed) {
      if (options.delayed) options.delayed();
      return;
    }
    if (!prepared.executor) return;
    if (!prepared.is_started) {
      prepared.rows.monitor_stored = prepared.attempt->monitor().has_value();
      prepared.executor->add(std::move(*prepared.identity), std::move(*prepared.attempt), std::move(prepared.rows));
      return;
    }
    std::vector<store::AttemptChange> changes{first_change(prepared)};
    store::note_committed(changes);
    prepared.places = 0;
    prepared.executor->adopt(std::move(*prepared.identity), std::move(*prepared.attempt), std::move(prepared.rows),
                             std::move(prepared.outcome), std::move(prepared.given));
  }

  struct Known {
    store::SessionAttempt attempt;
    std::optional<store::WorkflowDefinition> workflow;
    engine::StoredAttempt stored;
  };
  std::optional<Known> look_up(std::int64_t attempt_id) {
    return database.read([&](store::Transaction& transaction) -> std::optional<Known> {
      const auto row = transaction.first("select site_id from session_attempts where id = $1", {attempt_id});
      if (!row) return std::nullopt;
      auto attempt = store::Sessions(transaction, row->integer(0)).attempt(attempt_id);
      if (!attempt) return std::nullopt;
      Known known{*std::move(attempt), {}, store::stored_attempts(transaction, {attempt_id}).at(attempt_id)};
      if (known.attempt.workflow_definition_id)
        known.workflow = store::Projects(transaction, row->integer(0)).workflow(*known.attempt.workflow_definition_id);
      return known;
    });
  }

  StartAnswer start_delayed(std::int64_t attempt_id) {
    const std::optional<Known> known = look_up(attempt_id);
    if (!known)
      return StartRefused{StartRefused::Why::not_found, "Resource does not exist: session attempt id=" + std::to_string(attempt_id)};
    const auto& workflow = known->workflow;
    if (!workflow) return StartRefused{StartRefused::Why::invalid, "The definition of the workflow is gone"};
    StartRequest request;
    request.workflow = *workflow;
    request.session_time = known->attempt.session_time;
    request.retry_attempt_name = known->attempt.retry_attempt_name;
    auto prepared = std::make_unique<Preparation>(request, executor_of(request));
    prepared->params = known->attempt.params;
    prepared->concurrency = concurrency_of(workflow->config);
    prepared->resumed = known->stored.resumed;
    prepared->monitor = known->stored.monitor;
    try {
      make_attempt(*prepared, prepared->monitor || options.backfill_sla);
    } catch (const store::DatabaseError&) {
      throw;
    } catch (const Error& error) {
      return refused(error, workflow->name);
    }
    StartAnswer answer = database.write([&](store::Transaction& transaction) -> StartAnswer {
      store::Sessions sessions(transaction, known->attempt.site_id);
      if (prepared->concurrency.limit > 0) sessions.hold_count();
      const auto locked = sessions.lock_attempt(attempt_id);
      if (!locked || locked->done() || !sessions.remove_delayed(attempt_id))
        return StartRefused{StartRefused::Why::not_found, "Attempt id=" + std::to_string(attempt_id) + " waits no longer"};
      if (auto limit = limit_reached(sessions, known->attempt.site_id)) throw Undo{*limit};
      if (prepared->concurrency.limit > 0) {
        auto blocking = sessions.running_of_workflow(locked->project_id, locked->workflow_name);
        std::erase_if(blocking, [&](const store::SessionAttempt& other) { return other.id == attempt_id; });
        if (static_cast<std::int64_t>(blocking.size()) >= prepared->concurrency.limit) {
          sessions.insert_delayed(attempt_id, {.after_session = sessions.least_awaited(blocking), .in_turn = true});
          return StartRefused{StartRefused::Why::not_its_turn,
                              "Attempt id=" + std::to_string(attempt_id) + " waits for its turn (_concurrency)"};
        }
        // An earlier one may wait for another session: the two change places.
        const store::SessionKey key{locked->project_id, locked->workflow_name, locked->session_time};
        while (const auto first = sessions.waiting_before(key, attempt_id)) {
          if (!sessions.let_go(first->attempt_id)) continue;  // it was killed
          sessions.insert_delayed(attempt_id, {.after_session = first->after_session, .in_turn = true});
          return StartRefused{StartRefused::Why::not_its_turn, "Attempt id=" + std::to_string(attempt_id) + " lets attempt id=" +
                                                                   std::to_string(first->attempt_id) + " go first (_concurrency)"};
        }
      }
      prepared->rows.attempt_id = attempt_id;
      prepared->rows.site_id = known->attempt.site_id;
      write(transaction, *prepared);
      return Started{*locked};
    });
    if (auto* started = std::get_if<Started>(&answer)) {
      prepared->identity = identity_of(started->attempt, workflow);
      committed(std::move(prepared));
    }
    return answer;
  }
  struct Undo {
    StartRefused why;
  };

  void resume(store::OwnedAttempt from) {
    AttemptIdentity identity = identity_of(from.attempt, from.workflow);
    if (!from.workflow)
      throw Error("resource not found", "The definition of the workflow of attempt " + std::to_string(from.attempt.id) + " is gone");
    engine::Params params = base_params(*from.workflow, from.attempt.params);
    go_on(*executor, std::move(identity), std::move(from), std::move(params), options.attempt, clock());
  }
};

Starter::Starter(Options options, store::Database& database, store::OwnedAttempts& owned, Executor* executor,
                 std::function<Instant()> clock)
    : impl_(new Impl{std::move(options), database, owned, executor, std::move(clock)}) {}
Starter::~Starter() = default;

std::unique_ptr<SessionStarter::Prepared> Starter::prepare(const StartRequest& request) { return impl_->prepare(request); }
StartAnswer Starter::insert(store::Transaction& transaction, Prepared& prepared) {
  return impl_->insert(transaction, static_cast<Preparation&>(prepared));
}
void Starter::committed(std::unique_ptr<Prepared> prepared) { impl_->committed(std::move(prepared)); }
StartAnswer Starter::start_delayed(std::int64_t attempt_id) {
  try {
    return impl_->start_delayed(attempt_id);
  } catch (const Impl::Undo& undo) {
    return undo.why;
  }
}
std::optional<AttemptIdentity> Starter::identify(std::int64_t attempt_id) {
  const auto known = impl_->look_up(attempt_id);
  if (!known) return std::nullopt;
  return identity_of(known->attempt, known->workflow);
}
void Starter::resume(store::OwnedAttempt owned) { impl_->resume(std::move(owned)); }
StartAnswer Starter::start(const StartRequest& request) {
  std::unique_ptr<Prepared> prepared = prepare(request);
  StartAnswer answer = impl_->database.write([&](store::Transaction& transaction) { return insert(transaction, *prepared); });
  if (std::holds_alternative<Started>(answer)) committed(std::move(prepared));
  return answer;
}

}  // namespace digdag::executor
