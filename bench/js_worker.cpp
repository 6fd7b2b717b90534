// What JavaScript in `${…}` costs: the first expression of a run, each later task that needs one, tasks that share the same
// expressions, and what the worker survives. CPU is that of all processes.
//
//   bench_js_worker [TASKS]      1,000 by default

#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/time.h"
#include "base/value.h"
#include "dig/script_engine.h"
#include "dig/script_worker.h"
#include "dig/template.h"

namespace {

using Clock = std::chrono::steady_clock;
using digdag::Object;
using digdag::TimeZone;
using digdag::Value;
using namespace digdag::dig;  // NOLINT(google-build-using-namespace): a program of one page

double millis(Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

double cpu_millis(int who) {
  rusage used{};
  getrusage(who, &used);
  const auto of = [](const timeval& t) { return 1000.0 * static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1000.0; };
  return of(used.ru_utime) + of(used.ru_stime);
}

/// Of this process and of all that it has waited for.
double cpu_millis() { return cpu_millis(RUSAGE_SELF) + cpu_millis(RUSAGE_CHILDREN); }

/// Waits for what a worker that has ended left to its subreaper, which is this process, so that its CPU counts.
void wait_for_forks() {
  while (wait(nullptr) > 0) {
  }
}

/// PSS in kB of the children of a process, and of theirs.
long pss_of_children(long parent) {
  long kilobytes = 0;
  std::ifstream children(fmt::format("/proc/{0}/task/{0}/children", parent));
  for (long pid = 0; children >> pid;) {
    std::ifstream smaps(fmt::format("/proc/{}/smaps_rollup", pid));
    for (std::string word; smaps >> word;) {
      if (word != "Pss:") continue;
      long pss = 0;
      smaps >> pss;
      kilobytes += pss;
    }
    kilobytes += pss_of_children(pid);
  }
  return kilobytes;
}

TimeZone tokyo() { return *TimeZone::of("Asia/Tokyo"); }

Value task_params(int task) {
  return Value::object({{"session_time", "2026-01-02T03:04:05+09:00"}, {"n", task}, {"name", "orders"}, {"tables", Value::array()}});
}

/// Evaluates one task of these keys `tasks` times; each task has another `n`.
void row(std::string_view name, int tasks, const Value& local, const std::function<Value(int)>& params = task_params) {
  const double cpu_before = cpu_millis();
  const auto start = Clock::now();
  long pss = 0;
  {
    ScriptWorker worker;
    const TemplateEngine templates(worker, {});
    const Origins origins;
    for (int i = 0; i < tasks; ++i) (void)templates.evaluate(params(i), local, origins, tokyo());
    pss = pss_of_children(getpid());
  }
  wait_for_forks();
  const double wall = millis(Clock::now() - start);
  fmt::print("  {:<58} {:>9.3f} ms {:>9.3f} ms CPU {:>8} kB\n", name, wall / tasks, (cpu_millis() - cpu_before) / tasks, pss);
}

void survives(std::string_view name, const std::string& text, TemplateOptions options) {
  ScriptWorker worker;
  const TemplateEngine templates(worker, options);
  const auto start = Clock::now();
  std::string answer = "no error";
  try {
    (void)templates.evaluate(task_params(0), Value::object({{"x", Value(text)}}), {}, tokyo());
  } catch (const digdag::Error& error) {
    answer = error.message().substr(error.message().rfind('(') + 1);
  }
  const double wall = millis(Clock::now() - start);
  const bool works = *templates.evaluate(task_params(0), Value::object({{"x", "${n + 1}"}}), {}, tokyo()).all.find("x") == Value("1");
  fmt::print("  {:<58} {:>9.0f} ms: {} Then {}.\n", name, wall, answer, works ? "it works on" : "IT IS BROKEN");
}

/// 20 templates, 3 of them JavaScript, under a root `_export`.
Value export_of_20(bool megabyte) {
  Object exported;
  exported.set("session_time", "2026-01-02T03:04:05+09:00");
  exported.set("env", "prod");
  for (int i = 0; i < 17; ++i) exported.set(fmt::format("path{}", i), "s3://bucket/${env}/${session_time}/part");
  exported.set("day", "${moment(session_time).format('YYYYMMDD')}");
  exported.set("month", "${moment(session_time).startOf('month').format('YYYY-MM-DD')}");
  exported.set("upper", "${env.toUpperCase()}");
  if (megabyte) {
    digdag::Array rows;
    for (int i = 0; i < 10'000; ++i) rows.push_back(Value::object({{"id", i}, {"name", std::string(80, 'x')}}));
    exported.set("rows", Value(std::move(rows)));
  }
  return Value(std::move(exported));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--js-worker") == 0) return script_worker_main();
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  const int tasks = argc > 1 ? std::atoi(argv[1]) : 1000;
  fmt::print("JavaScript worker: for each task wall and CPU, memory (PSS) of the worker and its fork\n");

  const Value plus = Value::object({{"x", "${n + 1}"}});
  const Value moment = Value::object({{"x", "${moment(session_time).add(n, 'days').format('YYYY-MM-DD')}"}});
  const Value alone = Value::object({{"x", "${(function(day){ return day.format('YYYY-MM-DD') })(moment(session_time).add(n, 'days'))}"}});
  const Value three = Value::object({{"x", "${moment(session_time).add(n, 'days').format('YYYY-MM-DD')}"},
                                     {"y", "${moment(session_time).add(n, 'hours').format()}"},
                                     {"z", "${moment(session_time).add(n, 'weeks').format('gggg-ww')}"}});
  row("first expression of a run, worker started and ended", 1, plus);
  row("a new expression", tasks, plus);
  row("a new expression with moment", tasks, moment);
  row("a new one with moment that needs a fork of its own", tasks, alone);
  row("three new expressions with moment", tasks, three);

  const Value shared = export_of_20(false), big = export_of_20(true);
  const Value echo = Value::object({{"echo>", "${day} ${upper}"}});
  const auto with_n = [](const Value& exported) {
    return [exported](int i) {
      Value params = exported;
      params.mutable_object().set("n", i);
      return params;
    };
  };
  row("20 templates of a root _export, 3 of them JavaScript", 10'000, echo, with_n(shared));
  row("the same beside a parameter of 1 MB", 10'000, echo, with_n(big));
  row("the same, the parameter used by an expression", 200, Value::object({{"echo>", "${rows[n].id + 1}"}}), with_n(big));

  const auto start = Clock::now();
  for (int i = 0; i < 20; ++i) const ScriptEngine fresh;
  fmt::print("  {:<58} {:>9.3f} ms\n", "instead of a fork: a fresh engine with moment", millis(Clock::now() - start) / 20);

  TemplateOptions quick;
  quick.timeout_millis = 300;
  survives("an endless loop (eval.timeout 300ms)", "${(function(){for(;;);})()}", quick);
  survives("a memory bomb", "${(function(){var a=[];for(;;)a.push('x'+a.length)})()}", {});
  survives("tampering", "${(Object.prototype.toString = Array.prototype.push = moment = JSON = null) + n.nope()}", {});
  return 0;
}
