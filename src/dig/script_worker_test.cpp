#include "dig/script_worker.h"

#include <dirent.h>
#include <gmock/gmock.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "dig/script_sandbox.h"
#include "dig/template.h"

namespace digdag::dig {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TemplateOptions options_of(std::int64_t timeout_millis, std::int64_t memory_bytes = 64 << 20) {
  TemplateOptions options;
  options.timeout_millis = timeout_millis;
  options.memory_bytes = memory_bytes;
  return options;
}

/// The text that an expression gives, or the message of its error.
std::string outcome(ScriptWorker& worker, const std::string& text, TemplateOptions options = {}) {
  try {
    return TemplateEngine(worker, options).render(text, Value::object({{"n", 1}}), TimeZone());
  } catch (const Error& error) {
    return error.message_with_kind();
  }
}

std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> found;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  if (DIR* const directory = opendir(tasks.c_str())) {
    while (const dirent* const entry = readdir(directory)) {
      std::ifstream file(tasks + "/" + entry->d_name + "/children");
      for (pid_t child = 0; file >> child;) found.push_back(child);
    }
    closedir(directory);
  }
  return found;
}

/// Whether the process runs; what has ended and was not waited for does not.
bool runs(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string number, name, state;
  return (file >> number >> name >> state) && state != "Z" && state != "X";
}

bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 1000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(10ms);
  }
  return condition();
}

// ---- hostile expressions -----------------------------------------------------------------------------------------------

TEST(ScriptWorker, AnEndlessLoopEndsAtTheTimeLimit) {
  ScriptWorker worker;
  EXPECT_EQ(outcome(worker, "${(function(){ for (;;); })()}", options_of(300)),
            "Failed to evaluate a variable ${(function(){ for (;;); })()} (evaluation took longer than 300ms) (config)");
  EXPECT_THAT(outcome(worker, "${(function(){ for (;;) try { for (;;); } catch (e) {} })()}", options_of(1000)),
              HasSubstr("took longer than 1s"));
  EXPECT_THAT(outcome(worker, "${('a'.repeat(200) + 'b').matches('(a|aa)+')}", options_of(300)), HasSubstr("took longer than 300ms"));
  EXPECT_EQ(outcome(worker, "${n + 1}"), "2");
}

TEST(ScriptWorker, TheTimeLimitIsThatOfEachEvaluation) {  // decisions L-29
  ScriptWorker worker;
  const TemplateEngine engine(worker, options_of(2000));
  Value texts = Value::object();
  for (int i = 0; i < 5; ++i) {
    texts.mutable_object().set("k" + std::to_string(i), "${(function(){ var end = Date.now() + 500; while (Date.now() < end); return " +
                                                            std::to_string(i) + "; })()}");
  }
  EXPECT_EQ(to_json(engine.evaluate(Value::object(), texts, {}, TimeZone()).all), R"({"k0":"0","k1":"1","k2":"2","k3":"3","k4":"4"})");
}

TEST(ScriptWorker, AnInterruptEndsWhatRunsAndWhatComes) {
  ScriptWorker worker;
  const std::jthread interrupter([&] {
    eventually([] {
      const std::vector<pid_t> workers = children_of(getpid());
      return std::any_of(workers.begin(), workers.end(), [](pid_t pid) { return !children_of(pid).empty(); });
    });
    worker.interrupt();
  });
  EXPECT_THAT(outcome(worker, "${(function(){ for (;;); })()}", options_of(3'600'000)), HasSubstr("(evaluation was interrupted)"));
  EXPECT_THAT(outcome(worker, "${n + 1}"), HasSubstr("(evaluation was interrupted)"));
  EXPECT_EQ(outcome(worker, "${n}"), "1") << "needs no JavaScript";
}

TEST(ScriptWorker, AGreedyExpressionEndsAtTheMemoryLimit) {
  ScriptWorker worker;
  for (const char* const expression :
       {"${(function(){ var a = []; for (;;) a.push('x' + a.length); })()}", "${'x'.repeat(1e9)}", "${'x'.repeat(1e8)}",
        "${(function(){ var s = 'xx'; for (;;) s += s; })()}", "${new Uint8Array(1e9)}"}) {
    EXPECT_THAT(outcome(worker, expression, options_of(60'000)), HasSubstr("(evaluation needs more than 64 MiB)")) << expression;
  }
  EXPECT_THAT(outcome(worker, "${'x'.repeat(3e6).length}", options_of(10'000, 2 << 20)), HasSubstr("needs more than 2 MiB"));
  EXPECT_EQ(outcome(worker, "${'x'.repeat(3e6).length}"), "3000000");
}

TEST(ScriptWorker, AnErrorOfAJavaMethodIsAnErrorOfTheExpression) {
  ScriptWorker worker;
  EXPECT_THAT(outcome(worker, "${'a'.replaceAll('(', 'x')}"), HasSubstr("Unclosed group near index 1"));
  EXPECT_THAT(outcome(worker, "${java.lang.String.format('%d', 'x')}"),
              HasSubstr("IllegalFormatConversionException: d != java.lang.String"));
}

TEST(ScriptWorker, DeepRecursionIsAnErrorOfTheExpression) {
  ScriptWorker worker;
  EXPECT_THAT(outcome(worker, "${(function f(){ return f() + 1 })()}"), HasSubstr("RangeError"));
  EXPECT_THAT(outcome(worker, "${eval(new Array(20000).join('('))}"), HasSubstr("Error"));
  EXPECT_THAT(outcome(worker, "${JSON.parse(new Array(20000).join('['))}"), HasSubstr("Error"));
  EXPECT_THAT(outcome(worker, "${new RegExp(new Array(20000).join('('))}"), HasSubstr("Error"));
  EXPECT_EQ(outcome(worker, "${n + 1}"), "2");
}

TEST(ScriptWorker, NothingPassesFromOneTextToTheNext) {
  ScriptWorker worker;
  const TemplateEngine engine(worker, {});
  const Value texts = Value::object(
      {{"a",
        "${Object.prototype.leak = 1, Array.prototype.join = String.prototype.trim = null, moment = JSON = Date = Math = undefined, "
        "leaked = 2, 'done'}"},
       {"b", "${[typeof leaked, ({}).leak, [1,2].join('-'), ' x '.trim(), moment(0).year(), Math.max(1,2)]}"}});
  for (int round = 0; round < 2; ++round) {
    const Value all = engine.evaluate(Value::object({{"round", round}}), texts, {}, TimeZone()).all;
    EXPECT_EQ(to_json(*all.find("b")), R"j("[\"undefined\",null,\"1-2\",\"x\",1970,2]")j");
  }
}

TEST(ScriptWorker, TextsThatAreEvaluatedTogetherFailForThemselves) {
  ScriptWorker worker;
  const TemplateEngine engine(worker, options_of(2000));
  const auto outcome_of = [&](const std::string& last) {
    const Value texts = Value::object({{"a", "${n + 1}"}, {"b", {"${n + 2}"}}, {"c", last}, {"d", "${n + 3}"}});
    try {
      return to_json(engine.evaluate(Value::object({{"n", 1}}), texts, {}, TimeZone()).all);
    } catch (const Error& error) {
      return error.message();
    }
  };
  EXPECT_EQ(outcome_of("${a + n}"), R"({"n":1,"a":"2","b":"3","c":"21","d":"4"})");
  EXPECT_THAT(outcome_of("${missing + 1}"), HasSubstr("variable ${missing + 1} (ReferenceError: missing is not defined)"));
  EXPECT_THAT(outcome_of("${(function(){ for (;;); })()}"), HasSubstr("variable ${(function(){ for (;;); })()} (evaluation took longer"));
}

TEST(ScriptWorker, TextsThatNeedTooMuchTogetherAreEvaluatedOneByOne) {
  ScriptWorker worker;
  const TemplateEngine engine(worker, TemplateOptions());
  const std::string large(1 << 20, 'x');
  Value texts = Value::object();
  for (int i = 0; i < 40; ++i)
    texts.mutable_object().set("k" + std::to_string(i), "${large + large + large + large + " + std::to_string(i) + "}");
  const Value all = engine.evaluate(Value::object({{"large", large}}), texts, {}, TimeZone()).all;
  for (int i = 0; i < 40; ++i) {
    const std::string& text = all.find("k" + std::to_string(i))->as_string();
    ASSERT_GT(text.size(), large.size() * 4);
    EXPECT_EQ(text.substr(large.size() * 4), std::to_string(i));
  }
}

TEST(ScriptWorker, HarmlessTextsOfSeveralRequestsHaveTheirOwnZoneAndLimits) {
  ScriptWorker worker;
  const auto hour_in = [&](const char* zone) {
    return TemplateEngine(worker, {}).render("${moment(n).format('HH Z')}", Value::object({{"n", 0}}), *TimeZone::of(zone));
  };
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(hour_in("Asia/Tokyo"), "09 +09:00");
    EXPECT_EQ(hour_in("UTC"), "00 +00:00");
    EXPECT_EQ(outcome(worker, "${missing + n}"),
              "Failed to evaluate a variable ${missing + n} (ReferenceError: missing is not defined) (config)");
    EXPECT_EQ(outcome(worker, "${n.add(1)}").substr(0, 38), "Failed to evaluate a variable ${n.add(");
  }
  const Value large = Value::object({{"large", std::string(1 << 20, 'x')}});
  const auto length_of_four = [&](std::int64_t memory_bytes) {
    return TemplateEngine(worker, options_of(10'000, memory_bytes))
        .render("${(large + large + large + large).length + 0}", large, TimeZone());
  };
  EXPECT_EQ(length_of_four(64 << 20), "4194304");
  EXPECT_THROW(length_of_four(2 << 20), Error);
  // More in all than one may take.
  for (int i = 0; i < 40; ++i) EXPECT_EQ(length_of_four(16 << 20), "4194304");
}

TEST(ScriptWorker, AForkThatIsKilledWhileItWaitsIsReplaced) {
  ScriptWorker worker;
  EXPECT_EQ(outcome(worker, "${n + 1}"), "2");
  std::vector<pid_t> waiting;
  for (const pid_t child : children_of(getpid())) {
    for (const pid_t fork : children_of(child)) waiting.push_back(fork);
  }
  ASSERT_EQ(waiting.size(), 1u);
  kill(waiting.front(), SIGKILL);
  EXPECT_EQ(outcome(worker, "${n + 2}"), "3");
}

TEST(ScriptWorker, BreakingOutOfTheGeneratedCodeGainsNothing) {
  ScriptWorker worker;
  EXPECT_THAT(outcome(worker, "${0))]}});(function(){with({}){return [((1}"), HasSubstr("(SyntaxError: "));
  EXPECT_EQ(outcome(worker, "${(function(){ return typeof require + typeof process })()}"), "undefinedundefined");
  EXPECT_EQ(outcome(worker, "${n + 1}"), "2");
}

// ---- processes ---------------------------------------------------------------------------------------------------------

TEST(ScriptWorker, StartsAtTheFirstExpressionAndEndsWithItsOwner) {
  std::vector<pid_t> before = children_of(getpid()), during;
  {
    ScriptWorker worker;
    EXPECT_EQ(children_of(getpid()), before);
    EXPECT_EQ(outcome(worker, "${n}"), "1");
    EXPECT_EQ(children_of(getpid()), before) << "a plain path needs no JavaScript";
    EXPECT_EQ(outcome(worker, "${n + 1}"), "2");
    during = children_of(getpid());
    EXPECT_EQ(during.size(), before.size() + 1);
  }
  EXPECT_EQ(children_of(getpid()), before);
}

TEST(ScriptWorker, AWorkerThatWasKilledIsReplaced) {
  ScriptWorker worker;
  EXPECT_EQ(outcome(worker, "${n + 1}"), "2");
  for (const pid_t pid : children_of(getpid())) kill(pid, SIGKILL);
  EXPECT_EQ(outcome(worker, "${n + 2}"), "3");
}

TEST(ScriptWorker, SaysWhenAnEvaluationIsKilled) {
  ScriptWorker worker;
  std::thread killer([] {
    std::vector<pid_t> evaluating;
    eventually([&] {
      for (const pid_t child : children_of(getpid())) {
        for (const pid_t grandchild : children_of(child)) evaluating.push_back(grandchild);
      }
      return !evaluating.empty();
    });
    for (const pid_t pid : evaluating) kill(pid, SIGTERM);
  });
  EXPECT_THAT(outcome(worker, "${(function(){ for (;;); })()}"), HasSubstr("(evaluation died by signal 15)"));
  killer.join();
}

TEST(ScriptWorker, ServesSeveralThreads) {
  ScriptWorker worker;
  const TemplateEngine engine(worker, {});
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        const int n = t * 100 + i;
        if (engine.render("${n + 1}", Value::object({{"n", n}}), TimeZone()) == std::to_string(n + 1)) ++right;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 80);
}

TEST(ScriptWorker, NothingIsLeftWhenItsOwnerIsKilled) {
  const pid_t owner = fork();
  if (owner == 0) {
    ScriptWorker worker;
    (void)outcome(worker, "${(function(){ for (;;); })()}");
    _exit(0);
  }
  std::vector<pid_t> left;
  EXPECT_TRUE(eventually([&] {
    left.clear();
    for (const pid_t worker : children_of(owner)) {
      for (const pid_t evaluating : children_of(worker)) left = {worker, evaluating};
    }
    return !left.empty();
  }));
  kill(owner, SIGKILL);
  waitpid(owner, nullptr, 0);
  EXPECT_TRUE(eventually([&] { return std::none_of(left.begin(), left.end(), runs); }));
}

// ---- the sandbox -------------------------------------------------------------------------------------------------------

#ifndef DIGDAG_SANITIZED

TEST(ScriptSandbox, EndsAnEvaluationWithoutMemoryWhateverItCatches) {
  ScriptWorker worker;
  EXPECT_THAT(
      outcome(worker,
              "${(function(){ try { new Array(1e6).join('a').replaceAll('a', new Array(1000).join('b')) } catch (e) { return 1 } })()}",
              options_of(60'000)),
      HasSubstr("(evaluation needs more than 64 MiB)"));
}

/// Runs `work` in a sandboxed process that may write to a pipe; what it wrote. `before`: in that process before it is sandboxed.
std::string in_sandbox(
    const std::function<void(int)>& work, const std::function<void()>& before = [] {}) {
  int ends[2];
  if (pipe(ends) != 0) return "no pipe";
  const ScriptSandbox sandbox(ends[1]);
  const pid_t child = fork();
  if (child == 0) {
    before();
    if (!sandbox.enter({64 << 20, 10})) _exit(9);
    work(ends[1]);
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char buffer[256];
  for (ssize_t n = 0; (n = read(ends[0], buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<std::size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) text += "ended badly: " + std::to_string(status);
  return text;
}

TEST(ScriptSandbox, TheseSystemCallsArePossibleAndNoOthers) {
  const std::vector<int>& allowed = ScriptSandbox::allowed_system_calls();
  EXPECT_THAT(allowed,
              testing::UnorderedElementsAre(SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_madvise, SYS_clock_gettime, SYS_gettimeofday,
                                            SYS_read, SYS_write, SYS_futex, SYS_exit, SYS_exit_group, SYS_rt_sigreturn));
  // Every number of the kernel, with arguments that would fail otherwise. Those from 335 to 423 are none on amd64, but for the
  // kernel's own probes, which no filter sees.
  const std::string possible = in_sandbox([&](int output) {
    for (int call = 0; call < 470; ++call) {
      if ((call >= 335 && call < 424) || std::find(allowed.begin(), allowed.end(), call) != allowed.end()) continue;
      errno = 0;
      if (syscall(call, -1L, -1L, -1L, -1L, -1L, -1L) != -1 || errno != EPERM) {
        char text[16];
        const int length = snprintf(text, sizeof text, "%d ", call);
        if (write(output, text, static_cast<std::size_t>(length)) < 0) _exit(8);
      }
    }
  });
  EXPECT_EQ(possible, "");
}

TEST(ScriptSandbox, KeepsLimitsThatAreStricterThanItsOwn) {
  EXPECT_EQ(in_sandbox([](int output) { (void)!write(output, "good", 4); },
                       [] {
                         const rlimit one{1, 1};
                         setrlimit(RLIMIT_CPU, &one);
                         [[maybe_unused]] const int changed = setuid(65534);  // root may raise what it likes
                       }),
            "good");
}

TEST(ScriptSandbox, WakesButNeverWaits) {
  EXPECT_EQ(in_sandbox([](int output) {
              int word = 0;
              const bool wakes = syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0) == 0;
              const bool waits = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0) < 0 && errno == EPERM;
              if (write(output, wakes && !waits ? "bad" : wakes ? "good" : "none", 4) < 0) _exit(8);
            }),
            "good");
}

TEST(ScriptSandbox, ReadsAndWritesItsChannelOnlyAndMapsNothingThatRuns) {
  EXPECT_EQ(in_sandbox([](int output) {
              char byte;
              const bool other = write(2, "x", 1) < 0 && errno == EPERM && read(0, &byte, 1) < 0 && errno == EPERM;
              const bool runs =
                  mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EPERM;
              const bool file = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, 0, 0) == MAP_FAILED && errno == EPERM;
              const bool memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
              const bool greedy =
                  mmap(nullptr, 256 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == ENOMEM;
              if (write(output, other && runs && file && memory && greedy ? "good" : "bad", 4) < 0) _exit(8);
            }),
            "good");
}

#endif

}  // namespace
}  // namespace digdag::dig
