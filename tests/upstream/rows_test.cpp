#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "dig/compiler.h"
#include "engine/resume_source.h"
#include "engine/stored_task.h"
#include "engine/task_archive.h"

namespace digdag::engine {
namespace {

std::string text_of_file(const std::string& name) {
  std::ifstream file(std::string(UPSTREAM_DATA) + "/" + name);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// When the original's server was killed.
const Instant kill_time = Instant::of_seconds(1'795'225'514);

Value member(const Value& object, const char* key) {
  const Value* value = object.find(key);
  return value ? *value : Value();
}
std::int64_t number(const Value& object, const char* key) {
  const Value value = member(object, key);
  return value.is_integer() ? value.as_integer() : 0;
}
std::optional<Instant> instant(const Value& object, const char* key) {
  const Value value = member(object, key);
  return value.is_integer() ? std::optional(Instant{value.as_integer()}) : std::nullopt;
}
std::vector<ConfigKey> keys(const Value& list) {
  std::vector<ConfigKey> result;
  if (!list.is_array()) return result;
  for (const Value& key : list.as_array()) result.push_back(key.as_string());
  return result;
}

StoredTask task_of(const Value& row) {
  StoredTask task;
  task.id = number(row, "id");
  if (number(row, "parent_id") != 0) task.parent_id = number(row, "parent_id");
  task.is_group = number(row, "task_type") == 1;
  task.state = state_of_code(number(row, "state"));
  task.flags = static_cast<std::uint8_t>(number(row, "state_flags"));
  task.updated_at = instant(row, "updated_at").value();
  task.retry_at = instant(row, "retry_at");
  task.started_at = instant(row, "started_at");
  task.state_params = member(row, "state_params");
  task.retry_count = number(row, "retry_count");
  task.full_name = row.find("full_name")->as_string();
  task.local = member(row, "local_config");
  task.export_config = member(row, "export_config");
  task.subtask_config = member(row, "subtask_config");
  task.export_params = member(row, "export_params");
  task.store_params = member(row, "store_params");
  task.error = member(row, "error");
  task.reset_store_params = keys(member(row, "reset_store_params"));
  if (const Value* upstreams = row.find("upstreams")) {
    for (const Value& id : upstreams->as_array()) task.upstreams.push_back(id.as_integer());
  }
  return task;
}

StoredAttempt attempt_of(const Value& row) {
  StoredAttempt attempt;
  attempt.id = number(row, "id");
  attempt.killed = row.find("killed")->as_boolean();
  if (const Value* monitor = row.find("monitor"))
    attempt.monitor = StoredMonitor{"sla", *monitor->find("config"), number(*monitor, "next_run_time")};
  for (const Value& task : row.find("resumed")->as_array()) {
    ResumedTask& resumed = attempt.resumed[task.find("full_name")->as_string()];
    resumed.source_task_id = number(task, "source_task_id");
    resumed.updated_at = instant(task, "updated_at");
    resumed.local = member(task, "local_config");
    resumed.export_config = member(task, "export_config");
    resumed.subtask_config = member(task, "subtask_config");
  }
  return attempt;
}

/// An attempt that the original left behind, and a person who plays its agents until it ends: every task does what the
/// original recorded of it.
class Left {
 public:
  explicit Left(std::int64_t id) : row_(find(id)), restored_(restore()) {}

  static const Value& find(std::int64_t id) {
    static const Value all = parse_json(text_of_file("unfinished.json"));
    for (const Value& row : all.as_array()) {
      if (number(row, "id") == id) return row;
    }
    throw std::out_of_range("no attempt " + std::to_string(id));
  }

  Attempt& attempt() { return restored_.attempt; }
  const Outcome& outcome() const { return restored_.outcome; }

  std::string states() const {
    std::string text;
    for (std::size_t i = 0; i < restored_.attempt.size(); ++i) {
      const auto task = static_cast<TaskIndex>(i);
      text += (i > 0 ? ", " : "") + restored_.attempt.full_name(task) + " " + std::string(to_string(restored_.attempt.state(task)));
    }
    return text;
  }
  std::string running() const {
    std::string text;
    for (const Running& run : restored_.attempt.running()) {
      text += (text.empty() ? "" : ", ") + restored_.attempt.full_name(run.task) + " " + std::to_string(run.lease);
      if (run.cancel_requested) text += " killed";
    }
    return text;
  }

  /// Its agents are dead; time passes.
  void play() {
    for (const Running& run : attempt().running()) apply(Lost{run.task, run.lease});
    while (!attempt().done()) {
      if (!wanted_.empty()) {
        const Run run = wanted_.front();
        wanted_.pop_front();
        answer(run);
        continue;
      }
      const auto due = attempt().next_tick();
      ASSERT_TRUE(due) << "nothing moves any more: " << states();
      now_ = std::max(now_, *due);
      apply(Tick{});
    }
  }
  /// [full name, state] of all, sorted, as recorded.
  std::string final_states() const {
    std::vector<std::string> all;
    for (std::size_t i = 0; i < restored_.attempt.size(); ++i) {
      const auto task = static_cast<TaskIndex>(i);
      all.push_back(restored_.attempt.full_name(task) + " " + std::string(to_string(restored_.attempt.state(task))));
    }
    return sorted(all);
  }
  std::string expected_states() const {
    std::vector<std::string> all;
    for (const Value& pair : row_.find("final")->find("tasks")->as_array())
      all.push_back(pair.as_array()[0].as_string() + " " + pair.as_array()[1].as_string());
    return sorted(all);
  }
  std::string ran() const { return sorted({ran_.begin(), ran_.end()}); }
  std::string expected_ran() const {
    std::vector<std::string> all;
    for (const Value& name : row_.find("final")->find("ran")->as_array()) all.push_back(name.as_string());
    return sorted(all);
  }

 private:
  Restored restore() const {
    std::vector<StoredTask> tasks;
    for (const Value& task : row_.find("tasks")->as_array()) tasks.push_back(task_of(task));
    return Attempt::restore(attempt_of(row_), tasks, Params(), TimeZone(), AttemptOptions(), kill_time);
  }
  static std::string sorted(std::vector<std::string> lines) {
    std::sort(lines.begin(), lines.end());
    std::string text;
    for (const auto& line : lines) text += line + "\n";
    return text;
  }
  void apply(const Event& event) {
    const Outcome outcome = attempt().apply(event, now_);
    for (const Effect& effect : outcome.effects) {
      if (const auto* run = std::get_if<Run>(&effect)) wanted_.push_back(*run);
    }
  }
  void answer(const Run& run) {
    const std::string name = attempt().full_name(run.task);
    const std::string type = dig::operator_of(attempt().local(run.task));
    const bool alerts = name.ends_with("^failure-alert") || name.ends_with("^sla^alert") || name.ends_with("^sla^fail");
    if (type != "wait" && type != "require" && !alerts) ran_.insert(name);
    if (type == "fail") {
      apply(Failed{run.task, run.lease, Value::object({{"message", "SLA violation"}})});
      return;
    }
    TaskResult result;
    result.subtask_config = generated_below(name + "^sub");
    apply(Succeeded{run.task, run.lease, result});
  }
  /// The config that gives the recorded tasks below `root`.
  Value generated_below(const std::string& root) const {
    Value config = Value::object();
    for (const Value& pair : row_.find("final")->find("tasks")->as_array()) {
      const std::string& name = pair.as_array()[0].as_string();
      if (!name.starts_with(root + "+") || name.find_first_of("+^", root.size() + 1) != std::string::npos) continue;
      const Value children = generated_below(name);
      config.mutable_object().set(name.substr(root.size()), children.as_object().empty() ? Value::object({{"echo>", "x"}}) : children);
    }
    return config;
  }

  const Value& row_;
  Restored restored_;
  Instant now_ = kill_time;
  std::deque<Run> wanted_;
  std::set<std::string> ran_;
};

// Where the original left them, see the table of unfinished attempts that was recorded with the dump.

TEST(UpstreamRows, NothingMovesOfWhatOnlyWaits) {
  for (const std::int64_t id : {17, 23, 24, 25, 26, 27, 28, 29, 30, 32, 33, 34, 35, 36, 37, 38, 39, 41, 42, 48, 49}) {
    Left left(id);
    EXPECT_TRUE(left.outcome().changed.empty()) << id;
    EXPECT_TRUE(left.outcome().effects.empty()) << id;
    EXPECT_FALSE(left.attempt().done()) << id;
  }
}

TEST(UpstreamRows, TheRunsThatWereUnderWayAreTold) {
  EXPECT_EQ(Left(29).running(), "+requiring+r 3");  // the queue held `<task id>.r2`
  EXPECT_EQ(Left(32).running(), "+half+g+c 1");
  EXPECT_EQ(Left(33).running(), "+half_loop+l^sub+loop-1+second 1");
  EXPECT_EQ(Left(34).running(), "+generated+gen^sub+subtask0+g2 1");
  EXPECT_EQ(Left(36).running(), "+half_failed+par+slow 1");
  EXPECT_EQ(Left(38).running(), "+in_error+x^error 1");
  EXPECT_EQ(Left(40).running(), "+killing+long 1 killed");
  EXPECT_EQ(Left(41).running(), "+in_check+x^check 1");
  EXPECT_EQ(Left(48).running(), "+crowd+c1 1, +crowd+c2 1, +crowd+c3 1, +crowd+c4 1");
  EXPECT_EQ(Left(49).running(), "+resume_loop+l 1");
  EXPECT_EQ(Left(23).running(), "");
}

// decisions E-31: the original waits for the time of the next poll
TEST(UpstreamRows, AKilledWaitEndsAtOnce) {
  Left left(31);
  EXPECT_EQ(left.states(), "+waiting canceled, +waiting+w canceled, +waiting+after blocked");
  EXPECT_TRUE(left.outcome().finished);
}

TEST(UpstreamRows, AKilledRunIsStopped) {
  Left left(40);
  ASSERT_EQ(left.outcome().effects.size(), 1U);
  EXPECT_EQ(std::get<Stop>(left.outcome().effects[0]).task, 1);
}

TEST(UpstreamRows, WaitsGoOnFromTheStateOfTheOriginal) {
  Left left(28);
  EXPECT_EQ(to_json(left.attempt().state_params(1)), R"({"wait_start_time_millis":1795225509065})");
  EXPECT_EQ(left.attempt().next_tick(), left.attempt().retry_at(1));
  EXPECT_EQ(to_json(Left(23).attempt().state_params(1)), R"({"retry_count":1})");
}

TEST(UpstreamRows, TheMonitorIsDueWhenTheOriginalSaid) {
  Left left(25);
  EXPECT_EQ(left.attempt().next_tick(), Instant::of_seconds(1'795'225'658));
  ASSERT_TRUE(left.attempt().monitor());
  EXPECT_EQ(left.attempt().monitor()->next_run_time, 1'795'225'658);
}

TEST(UpstreamRows, StoresOfTheOriginalAreSeen) {
  Left left(32);
  EXPECT_EQ(to_json(left.attempt().params_of(5).find("big")), "9007199254740993");
}

// README of the recording: nothing that had succeeded runs again, everything else ends as with the original
TEST(UpstreamRows, EveryAttemptEndsAsWithTheOriginalAndRunsNoMoreThanThat) {
  for (const std::int64_t id : {17, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 48}) {
    Left left(id);
    left.play();
    EXPECT_EQ(left.final_states(), left.expected_states()) << id;
    EXPECT_EQ(left.ran(), left.expected_ran()) << id;
  }
}

// decisions E-22: what the first iteration generated comes along, too
TEST(UpstreamRows, AResumedLoopTakesOverWhatTheOriginalKeptForIt) {
  Left left(49);
  left.play();
  EXPECT_TRUE(left.attempt().success());
  EXPECT_EQ(left.ran(), left.expected_ran());
  EXPECT_NE(left.final_states().find("+loop-0+inner^sub+for-0=n=1=6+t success"), std::string::npos);
}

// execution 15.4
TEST(UpstreamRows, ArchivesAreReadAndWrittenByteForByte) {
  std::istringstream lines(text_of_file("archives.txt"));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const std::size_t blank = line.find(' ');
    const std::string archive = line.substr(blank + 1);
    EXPECT_EQ(to_archive(std::stoll(line), from_archive(archive)), archive);
  }
  EXPECT_EQ(count, 20);
}

TEST(UpstreamRows, FailedAttemptsOfTheOriginalAreResumed) {
  std::istringstream lines(text_of_file("archives.txt"));
  int failed = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto tasks = from_archive(line.substr(line.find(' ') + 1));
    if (tasks.front().state == TaskState::success) continue;
    ++failed;
    for (const auto& [name, task] : resume_failed(tasks)) EXPECT_NE(task.source_task_id, 0) << name;
  }
  EXPECT_GT(failed, 5);
}

}  // namespace
}  // namespace digdag::engine
