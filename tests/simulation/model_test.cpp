// The reference model against examples that were worked by hand or run on the original (spec/execution.md 31b, 32): it judges the
// engine, so something else has to judge it.
#include "model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/json.h"
#include "dig/compiler.h"
#include "dig/loader.h"
#include "generator.h"

namespace digdag::simulation {
namespace {

/// An attempt of a workflow written as text, driven by hand.
class ModelOf {
 public:
  explicit ModelOf(const std::string& text, Value params = Value::object(), engine::ResumedTasks resumed = {},
                   engine::AttemptOptions options = {})
      : model_(dig::compile(workflow_of(dig::load_yaml(text, {}))), std::move(params), TimeZone(), options, std::move(resumed)) {
    model_.start(now_);
  }

  /// The newest row of this name.
  int row(const std::string& name) const {
    for (int i = static_cast<int>(model_.rows().size()) - 1; i >= 0; --i) {
      if (model_.rows()[static_cast<std::size_t>(i)].full_name == "+wf" + name) return i;
    }
    ADD_FAILURE() << "no row +wf" << name;
    return 0;
  }
  const Row& operator[](const std::string& name) const { return model_.rows()[static_cast<std::size_t>(row(name))]; }

  void succeed(const std::string& name, engine::TaskResult result = {}) {
    model_.succeeded(row(name), (*this)[name].lease, result, Value(), now_);
  }
  void store(const std::string& name, Value values) {
    engine::TaskResult result;
    result.store_params = std::move(values);
    succeed(name, result);
  }
  void fail(const std::string& name, const char* message = "no", Value retry = {}) {
    model_.failed(row(name), (*this)[name].lease, Value::object({{"message", message}}), !retry.is_null(), retry, now_);
  }
  void kill() { model_.kill(now_); }
  void wait(int seconds) {
    now_ = now_.plus_seconds(seconds);
    model_.tick(now_);
  }
  void poll(const std::string& name, int seconds) {
    model_.retry_later(row(name), (*this)[name].lease, seconds * 1000, Value::object({{"polling", 1}}), Value(), now_);
  }

  /// `state name` of each row, in order of id.
  std::vector<std::string> states() const {
    std::vector<std::string> all;
    for (const Row& row : model_.rows()) all.push_back(std::string(engine::to_string(row.state)) + " " + row.full_name);
    return all;
  }
  std::string params(const std::string& name) const { return to_json(model_.params_of(row(name))); }
  std::int64_t waits(const std::string& name) const { return ((*this)[name].retry_at->millis - now_.millis) / 1000; }
  Model& model() { return model_; }

 private:
  Instant now_{1'000'000};
  Model model_;
};

std::string state(const Row& row) { return std::string(engine::to_string(row.state)); }

using States = std::vector<std::string>;

TEST(Model, GoesThroughTheWorkedExample) {  // 31b
  ModelOf run("_error: {echo>: e}\n+g:\n  _retry: 1\n  +a: {sh>: ok}\n  +b: {fail>: no}\n+z: {echo>: z}\n");
  EXPECT_EQ(run.states(), (States{"planned +wf", "planned +wf+g", "running +wf+g+a", "blocked +wf+g+b", "blocked +wf+z"}));
  run.succeed("+g+a");
  run.fail("+g+b");
  EXPECT_EQ(state(run["+g"]), "group_retry_waiting");
  EXPECT_EQ(to_json(run["+g"].state_params), R"({"retry_count":1})");
  run.wait(0);
  EXPECT_EQ(run.states(), (States{"planned +wf", "planned +wf+g", "success +wf+g+a", "error +wf+g+b", "blocked +wf+z", "running +wf+g+a",
                                  "blocked +wf+g+b"}));
  run.succeed("+g+a");
  run.fail("+g+b");
  EXPECT_EQ(run.states(), (States{"planned +wf", "group_error +wf+g", "success +wf+g+a", "error +wf+g+b", "blocked +wf+z",
                                  "success +wf+g+a", "error +wf+g+b", "running +wf^failure-alert", "running +wf^error"}));
  EXPECT_EQ(run[""].flags, engine::initial_task | engine::delayed_group_error);
  run.succeed("^failure-alert");
  run.succeed("^error");
  EXPECT_EQ(state(run[""]), "group_error");
  EXPECT_EQ(state(run["+z"]), "blocked");
}

TEST(Model, RunsOneAfterTheOther) {  // 32.1, 32.4
  ModelOf run("+a: {sh>: a}\n+b: {sh>: b}\n");
  EXPECT_EQ(run.states(), (States{"planned +wf", "running +wf+a", "blocked +wf+b"}));
  run.succeed("+a");
  EXPECT_EQ(state(run["+b"]), "running");
  run.succeed("+b");
  EXPECT_EQ(run.states(), (States{"success +wf", "success +wf+a", "success +wf+b"}));
}

TEST(Model, FailsTheAttemptWithAnAlert) {  // 32.2, 32.3
  ModelOf run("+a: {sh>: a}\n+b: {sh>: b}\n");
  run.fail("+a");
  EXPECT_EQ(state(run[""]), "planned");
  run.succeed("^failure-alert");
  EXPECT_EQ(run.states(), (States{"group_error +wf", "error +wf+a", "blocked +wf+b", "success +wf^failure-alert"}));
}

TEST(Model, RunsErrorHandlersInnermostFirst) {  // 32.5, 32.6, 32.7, 32.8
  ModelOf run("_error: {sh>: outer}\n+g:\n  _error: {sh>: inner}\n  +a: {sh>: a, _error: {sh>: own}}\n");
  run.fail("+g+a", "m1");
  EXPECT_EQ(run.params("+g+a^error"), R"({"error":{"message":"m1"}})");
  EXPECT_EQ(state(run["+g+a"]), "planned");
  run.succeed("+g+a^error");
  EXPECT_EQ(state(run["+g+a"]), "error");
  run.fail("+g^error", "m2");
  EXPECT_EQ(state(run["+g"]), "group_error");
  EXPECT_EQ(state(run["^error"]), "running");
  EXPECT_EQ(run.params("^error"), R"({"error":{"message":"m1"}})");  // E-13
}

TEST(Model, LetsIndependentTasksGoOn) {  // 32.9
  ModelOf run("_parallel: true\n+a: {sh>: a}\n+b: {sh>: b}\n+c: {sh>: c, _after: [+b]}\n+d: {sh>: d, _after: [+a]}\n");
  run.fail("+a");
  EXPECT_EQ(state(run["+b"]), "running");
  run.succeed("+b");
  EXPECT_EQ(state(run["+c"]), "running");
  EXPECT_EQ(state(run["+d"]), "blocked");
}

TEST(Model, RetriesAnOperator) {  // 32.10, 32.15, 32.16
  ModelOf run("+a: {sh>: a}\n");
  const Value retry = Value::object({{"limit", 3}, {"interval", 10}, {"interval_type", "exponential"}, {"max_interval", 15}});
  for (int seconds : {10, 15, 15}) {
    run.fail("+a", "no", retry);
    EXPECT_EQ(state(run["+a"]), "retry_waiting");
    EXPECT_EQ(run.waits("+a"), seconds);
    run.wait(seconds);
  }
  EXPECT_EQ(run["+a"].lease, 4u);
  run.fail("+a", "no", retry);
  EXPECT_EQ(state(run["+a"]), "error");
}

TEST(Model, RetriesNestedGroupsAnewInEachOuterRound) {  // 32.13 with E-01
  ModelOf run("+o:\n  _retry: 1\n  +i:\n    _retry: 2\n    +leaf: {fail>: no}\n");
  int runs = 0;
  while (state(run["+o"]) != "group_error") {
    run.fail("+o+i+leaf");
    ++runs;
    run.wait(0);
    run.wait(0);
  }
  EXPECT_EQ(runs, 6);
}

TEST(Model, GeneratesSubtasksAgainWhenTheyFail) {  // 32.19
  ModelOf run("+l: {loop>: 1, _retry: 1}\n");
  engine::TaskResult result;
  result.subtask_config = Value::object({{"+x", Value::object({{"sh>", "x"}})}});
  run.succeed("+l", result);
  run.fail("+l^sub+x");
  EXPECT_EQ(state(run["+l"]), "group_retry_waiting");
  run.wait(0);
  EXPECT_EQ(state(run["+l"]), "running");
  run.succeed("+l", result);
  run.succeed("+l^sub+x");
  EXPECT_EQ(state(run[""]), "success");
  const auto states = run.states();
  EXPECT_EQ(std::count(states.begin(), states.end(), "error +wf+l^sub+x"), 1);
}

TEST(Model, ChecksAfterTheSubtasks) {  // 32.20, 12.7
  ModelOf run("+a:\n  sh>: a\n  _check: {sh>: c}\n");
  engine::TaskResult result;
  result.subtask_config = Value::object({{"+x", Value::object({{"sh>", "x"}})}});
  run.succeed("+a", result);
  EXPECT_EQ(state(run["+a^check"]), "blocked");
  run.store("+a^sub+x", Value::object({{"v", 1}}));
  EXPECT_EQ(state(run["+a^check"]), "running");
  EXPECT_EQ(run.params("+a^check"), R"({"v":1})");
  run.fail("+a^check");
  EXPECT_EQ(state(run["+a"]), "group_error");
}

TEST(Model, CountsTheRootTwiceInTheLimit) {  // 32.27
  engine::AttemptOptions options;
  options.task_limit = 3;
  EXPECT_NO_THROW(ModelOf("+a: {sh>: a}\n", Value::object(), {}, options));
  try {
    ModelOf("+a: {sh>: a}\n+b: {sh>: b}\n", Value::object(), {}, options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "Too many tasks. Limit: 3, Current: 1, Adding: 3");
  }
}

TEST(Model, MergesParametersInFileOrder) {  // 32.35, 32.36, 32.38, 32.40
  ModelOf run("+p:\n  _parallel: true\n  _export: {e: 1}\n  +p1: {sh>: a}\n  +p2: {sh>: b}\n+q: {sh>: c}\n+r: {sh>: d}\n",
              Value::object({{"who", "s"}}));
  run.store("+p+p2", Value::object({{"who", "p2"}, {"m", Value::object({{"a", 2}})}}));
  EXPECT_EQ(run.params("+p+p1"), R"({"who":"s","e":1})");
  run.store("+p+p1", Value::object({{"who", "p1"}, {"m", Value::object({{"b", 1}})}}));
  EXPECT_EQ(run.params("+q"), R"({"who":"p2","m":{"b":1,"a":2}})");
  engine::TaskResult result;
  result.reset_store_params = {"m.a", "who"};
  run.succeed("+q", result);
  EXPECT_EQ(run.params("+r"), R"({"m":{"b":1}})");
}

TEST(Model, KillsWithoutHandlers) {  // 32.41, 32.43, 32.45 with E-02 and E-31
  ModelOf run(
      "_parallel: true\n+a: {sh>: a, _error: {sh>: e}}\n+g:\n  _retry: {limit: 1, interval: 60}\n  +x: {sh>: x}\n+w: {wait>: 9}\n+z: {sh>: "
      "z, _after: [+a]}\n");
  run.fail("+g+x");
  run.poll("+w", 60);
  run.kill();
  EXPECT_EQ(state(run["+a"]), "running");
  EXPECT_EQ(state(run["+g"]), "canceled");
  EXPECT_EQ(state(run["+w"]), "canceled");
  run.fail("+a");
  EXPECT_EQ(state(run["+a"]), "canceled");
  EXPECT_EQ(state(run["+z"]), "blocked");
  EXPECT_EQ(state(run[""]), "canceled");
  EXPECT_TRUE(run.model().cancel_was_requested());
}

TEST(Model, WaitsForItsChunk) {  // 32.66, 32.67
  ModelOf run("_parallel: {limit: 2}\n+a: {sh>: a}\n+b: {sh>: b}\n+c: {sh>: c}\n");
  run.succeed("+b");
  EXPECT_EQ(state(run["+c"]), "blocked");
  run.fail("+a");
  EXPECT_EQ(state(run["+c"]), "blocked");
  EXPECT_EQ(state(run["^failure-alert"]), "running");
}

TEST(Model, SlidesAWindow) {  // decisions.md 1, `mode: window`
  ModelOf run("_parallel: {limit: 2, mode: window}\n+a: {sh>: a}\n+b: {sh>: b}\n+c: {sh>: c}\n+d: {sh>: d}\n");
  run.succeed("+b");
  EXPECT_EQ(state(run["+c"]), "running");
  EXPECT_EQ(state(run["+d"]), "blocked");
}

TEST(Model, AddsTheTasksOfAMonitor) {  // 32.57
  ModelOf run("sla: {duration: '00:00:02', fail: true, +n: {sh>: n}}\n+a: {sh>: a}\n+b: {sh>: b}\n");
  run.wait(2);
  EXPECT_EQ(run.states(), (States{"planned +wf", "running +wf+a", "blocked +wf+b", "running +wf^sla^alert", "running +wf^sla^fail",
                                  "planned +wf^sla", "running +wf^sla+n"}));
}

TEST(Model, TakesOverResultsAndTheirSubtasks) {  // 16.5, E-22, E-24
  engine::ResumedTask stored;
  stored.local = Value::object({{"call>", "x"}});
  engine::ResumedTask sub;
  sub.local = Value::object();
  engine::ResumedTask inner;
  inner.local = Value::object({{"sh>", "x"}});
  inner.store_params = Value::object({{"v", 1}});
  stored.source_task_id = 1, sub.source_task_id = 2, inner.source_task_id = 3;
  ModelOf run("+g:\n  +a: {call>: x}\n  +new: {sh>: n}\n+z: {sh>: z}\n", Value::object(),
              {{"+wf+g", {}}, {"+wf+g+a", stored}, {"+wf+g+a^sub", sub}, {"+wf+g+a^sub+x", inner}});
  EXPECT_EQ(run.states(), (States{"planned +wf", "planned +wf+g", "success +wf+g+a", "running +wf+g+new", "blocked +wf+z",
                                  "success +wf+g+a^sub", "success +wf+g+a^sub+x"}));
  EXPECT_EQ(run.params("+g+new"), R"({"v":1})");
}

}  // namespace
}  // namespace digdag::simulation
