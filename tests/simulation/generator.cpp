#include "generator.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace digdag::simulation {

std::uint64_t Random::next() {
  std::uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

Features Features::of(Random& random) {
  Features f{};
  auto half = [&random] { return random.chance(50); };
  f.parallel = half(), f.limit = half(), f.window = random.chance(30), f.background = half(), f.after = half(),
  f.disable = random.chance(20);
  f.subtasks = random.chance(60), f.broken_subtasks = random.chance(15);
  f.retry = random.chance(60), f.retry_templates = random.chance(25);
  f.error = half(), f.check = half(), f.group_check = random.chance(15);
  f.stores = random.chance(70), f.resets = half(), f.polls = half(), f.cleanup = half();
  f.timeout = random.chance(20), f.sla = random.chance(15), f.on_cancel = random.chance(15), f.task_limit = random.chance(10);
  const int fails[] = {0, 5, 15, 40, 80};
  f.fail_percent = fails[random.below(5)];
  f.kill_percent = random.chance(40) ? 60 : 0;
  f.size = random.between(2, random.chance(20) ? 40 : 14);
  f.late_ticks = random.chance(30);
  f.lost_percent = random.chance(30) ? random.between(5, 40) : 0;
  f.leave_percent = random.chance(60) ? random.between(2, 30) : 0;
  f.kill_grace = random.chance(20);
  f.chain = random.chance(2);
  if (f.chain) f.size = random.between(40, 120), f.fail_percent = std::min(f.fail_percent, 5), f.parallel = f.limit = false;
  return f;
}

namespace {

/// Writes workflows; `budget` tasks are left to write.
class Writer {
 public:
  Writer(Random& random, const Features& features, int budget) : random_(random), features_(features), budget_(budget) {}

  Value file() {
    Object top;
    group_keys(top, 0);
    if (features_.sla && random_.chance(70)) top.set("sla", sla());
    children(top, 0, features_.chain ? budget_ : random_.between(1, 5));
    return Value(std::move(top));
  }

  Value subtasks() {
    Object top;
    if (random_.chance(20)) {
      task_keys(top, 3);
    } else {
      parallel(top);
      children(top, 3, random_.between(1, 4));
      if (random_.chance(20)) add_export(top);
      if (random_.chance(10)) add_retry(top);
    }
    return Value(std::move(top));
  }

 private:
  static std::string task_name(int i) { return i < 26 ? std::string("+") + static_cast<char>('a' + i) : "+t" + std::to_string(i); }
  bool may(bool feature, int percent) { return feature && random_.chance(percent); }

  void children(Object& into, int depth, int count) {
    const Value* mode = into.find("_parallel");
    for (int i = 0; i < count && budget_ > 0; ++i) {
      const std::string name = task_name(i);
      Object child;
      if (mode == nullptr) {
        if (may(features_.background, 20)) child.set("_background", true);
      } else if (i > 0 && may(features_.after, 30)) {
        Array after;
        for (int n = random_.between(1, 2); n > 0; --n) after.emplace_back(task_name(random_.below(i)));
        child.set("_after", std::move(after));
      }
      node(child, depth + 1);
      into.set(name, Value(std::move(child)));
    }
  }

  void node(Object& into, int depth) {
    --budget_;
    if (may(features_.disable, 8)) into.set("_disable", true);
    if (depth < 4 && random_.chance(depth < 2 ? 40 : 25)) {
      group_keys(into, depth);
      children(into, depth, random_.chance(8) ? 0 : random_.between(1, 4));
    } else {
      task_keys(into, depth);
    }
  }

  void group_keys(Object& into, int depth) {
    parallel(into);
    if (random_.chance(30)) add_export(into);
    if (may(features_.retry, 30)) add_retry(into);
    if (may(features_.error, 30)) into.set("_error", handler(depth));
    if (may(features_.group_check, 40)) into.set("_check", handler(depth));
    if (may(features_.timeout, 30)) into.set("_timeout", timeout());
    if (may(features_.kill_grace, 30)) into.set("_kill_grace", kill_grace());
    if (may(features_.on_cancel, 50)) into.set("_error_on_cancel", true);
  }

  void task_keys(Object& into, int depth) {
    const char* type = may(features_.cleanup, 30) ? "job" : random_.chance(20) ? "fix" : "sim";
    if (random_.chance(90)) {
      into.set(std::string(type) + ">", random_.below(10));
    } else {
      into.set("_type", type);
    }
    if (random_.chance(20)) add_export(into);
    if (may(features_.retry, 30)) add_retry(into);
    if (may(features_.error, 25)) into.set("_error", handler(depth));
    if (may(features_.check, 25)) into.set("_check", handler(depth));
    if (may(features_.timeout, 25)) into.set("_timeout", may(features_.retry_templates, 40) ? Value("${n}") : timeout());
    if (may(features_.kill_grace, 20)) into.set("_kill_grace", may(features_.retry_templates, 20) ? Value("${n}") : kill_grace());
    if (may(features_.subtasks, depth < 3 ? 35 : 10)) {
      budget_ -= 2;
      into.set("_do", Writer(random_, features_, std::min(budget_, 4)).subtasks());
    }
    if (may(features_.on_cancel, 30)) into.set("_error_on_cancel", true);
  }

  /// An `_error` or `_check`.
  Value handler(int depth) {
    Object into;
    budget_ -= 1;
    if (random_.chance(50)) {
      task_keys(into, 4);
    } else {
      if (random_.chance(30)) add_export(into);
      if (may(features_.retry, 15)) add_retry(into);
      if (depth < 3 && random_.chance(10)) into.set("_error", handler(3));
      children(into, 4, random_.between(1, 2));
      if (into.empty()) task_keys(into, 4);
    }
    return Value(std::move(into));
  }

  void parallel(Object& into) {
    if (may(features_.limit, 35)) {
      Value limit = Value::object({{"limit", random_.between(1, 3)}});
      if (may(features_.window, 60)) limit.mutable_object().set("mode", "window");
      into.set("_parallel", limit);
    } else if (may(features_.parallel, 50)) {
      into.set("_parallel", random_.chance(80) ? Value(true) : Value("true"));
    }
  }

  void add_export(Object& into) {
    Value params = random_params(random_, counter_);
    if (may(features_.retry, 10)) params.mutable_object().set("_retry", random_.between(0, 2));  // as good as one beside `_export`
    // Nothing looks into these before they are needed (language.md 5.4).
    for (const char* key : {"_error", "_check"}) {
      if (budget_ <= 0 || !may(key[1] == 'e' ? features_.error : features_.check, 6)) continue;
      params.mutable_object().set(key, may(features_.broken_subtasks, 50) ? Value::object({{"strange", 1}}) : handler(4));
    }
    into.set("_export", params);
  }

  void add_retry(Object& into) {
    const int limit = random_.between(0, 2);
    if (may(features_.retry_templates, 40)) {
      into.set("_retry", random_.chance(50) ? Value("${n}") : Value::object({{"limit", "${n}"}, {"interval", 1}}));
    } else if (random_.chance(40)) {
      into.set("_retry", random_.chance(80) ? Value(limit) : Value(std::to_string(limit)));
    } else {
      Value retry = Value::object({{"limit", limit}});
      auto& members = retry.mutable_object();
      if (random_.chance(80)) members.set("interval", random_.between(0, 20));
      if (random_.chance(50)) members.set("interval_type", random_.chance(70) ? "exponential" : "constant");
      if (random_.chance(30)) members.set("max_interval", random_.between(1, 30));
      if (random_.chance(10)) members.set("on", Array{random_.chance(50) ? "failure" : "timeout"});
      if (random_.chance(5)) members.set("interval_type", "sometimes");
      into.set("_retry", retry);
    }
  }

  Value timeout() {
    const int seconds = random_.between(1, 60);
    if (random_.chance(50)) return seconds;
    if (random_.chance(50)) return std::to_string(seconds) + "s";
    return Value::object({{"limit", std::to_string(seconds) + "s"}, {"grace", random_.between(0, 5)}});
  }

  Value kill_grace() {
    const int seconds = random_.between(0, 20);
    return random_.chance(30) ? Value("never") : random_.chance(50) ? Value(seconds) : Value(std::to_string(seconds) + "s");
  }

  Value sla() {
    Object into;
    const std::string seconds = std::to_string(random_.between(10, 59));
    if (random_.chance(70)) {
      into.set("duration", "00:00:" + seconds);
    } else {
      into.set("time", random_.chance(70) ? "22:13:" + seconds : "00:01");  // the simulated clock starts at 22:13:20
    }
    if (random_.chance(40)) into.set("alert", random_.chance(50));
    if (random_.chance(40)) into.set("fail", random_.chance(60));
    if (random_.chance(50)) children(into, 3, random_.between(1, 2));
    if (random_.chance(10)) into.set("enable", true);
    return Value(std::move(into));
  }

  Random& random_;
  const Features& features_;
  int budget_;
  std::int64_t counter_ = 1000;
};

}  // namespace

Value random_params(Random& random, std::int64_t& counter) {
  Object into;
  for (int n = random.between(1, 3); n > 0; --n) {
    const std::string key = random.chance(50) ? "m" : "k" + std::to_string(random.below(4));
    Value value = ++counter;
    if (key == "m") {
      Object inner;
      for (int i = random.between(0, 2); i >= 0; --i) inner.set(std::string(1, static_cast<char>('a' + random.below(3))), ++counter);
      if (random.chance(20)) inner.set("deep", Value::object({{std::string(1, static_cast<char>('x' + random.below(2))), ++counter}}));
      value = Value(std::move(inner));
    } else if (random.chance(10)) {
      value = Value(Array{counter, "x"});
    } else if (random.chance(5)) {
      value = nullptr;
    }
    into.set(key, value);
  }
  if (random.chance(3)) into.set("m", ++counter);
  return Value(std::move(into));
}

Value random_workflow(Random& random, const Features& features) { return Writer(random, features, features.size).file(); }
Value random_subtasks(Random& random, const Features& features) { return Writer(random, features, 4).subtasks(); }

Value with_new_task(const Value& workflow, Random& random) {
  // Goes down into groups for as long as chance says so, and adds the task at the end of where it stops.
  Value content = workflow;
  Object* at = &content.mutable_object();
  for (;;) {
    std::vector<std::string> groups;
    for (const auto& each : *at) {
      if (each.key[0] != '+' || each.value.find("_disable")) continue;
      const auto& members = each.value.as_object();
      const bool group =
          std::none_of(members.begin(), members.end(), [](const auto& m) { return m.key == "_type" || m.key.back() == '>'; });
      if (group) groups.push_back(each.key);
    }
    if (groups.empty() || random.chance(30)) break;
    at = &at->find_mutable(groups[static_cast<std::size_t>(random.below(static_cast<int>(groups.size())))])->mutable_object();
  }
  at->set("+new", Value::object({{"sim>", 0}}));
  return content;
}

bool has_cleanup(std::string_view type) { return type == "job"; }

dig::Workflow workflow_of(const Value& content) {
  dig::Workflow workflow;
  workflow.name = "wf";
  workflow.config = content;
  workflow.file = "wf.dig";
  return workflow;
}

}  // namespace digdag::simulation
