#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "base/time.h"
#include "dig/frame.h"
#include "dig/harmless.h"
#include "dig/script_engine.h"
#include "dig/script_heap.h"
#include "dig/script_sandbox.h"
#include "dig/script_worker.h"

// The worker process. It answers requests one after the other:
//
//   {"zone": "Asia/Tokyo", "timeout_millis": 10000, "memory_bytes": 67108864,
//    "texts": [{"literals": ["a", "b"], "code": ["x + 1"], "scope": {"x": 1}, "outer": {}, "fill": [{"in": "scope", "path": ["y"], "from":
//    0}]}]}
//   → {"results": [{"values": ["2"], "pure": true}]}, or {"error": "ReferenceError: …"} for the last of them
//
// `scope` are the variables of a text, `outer` those that count where a name has no value else (decisions L-23). `fill` puts
// the result of an earlier text of this request into them. The first error ends the request. Nothing is evaluated in this
// process: a fork of it sees what was loaded before the first request. A text has one for itself, or shares it with others that
// can leave nothing behind either.

namespace digdag::dig {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int connection = 3;
constexpr int answer_fd = 4;  ///< of an evaluating process
/// What evaluation needs besides the engine's own memory: stack, the answer, this language's containers.
constexpr std::int64_t spare_bytes = 32 << 20;

struct Text {
  std::vector<std::string> code;
  Value scope;
};

struct Job {
  std::vector<Text> texts;
  std::int64_t memory_bytes;
  std::int64_t timeout_millis;
};

std::string memory_error(std::int64_t bytes) { return "evaluation needs more than " + std::to_string(bytes >> 20) + " MiB"; }

Value error_answer(std::string text) { return Value::object({{"error", Value(std::move(text))}}); }

Value result_of(const ScriptEngine::Result& result, std::int64_t memory_bytes) {
  if (result.out_of_memory) return error_answer(memory_error(memory_bytes));
  if (!result.error.empty()) return Value::object({{"error", result.error}, {"undefined_name", result.undefined_name}});
  Array values;
  for (const std::string& value : result.values) values.emplace_back(value);
  return Value::object({{"values", Value(std::move(values))}, {"pure", result.pure}});
}

/// The evaluating process, from its fork to its end.
[[noreturn]] void evaluate_and_exit(ScriptEngine& engine, const ScriptSandbox& sandbox, const Job& job, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) std::_Exit(1);
  close(connection);
  std::uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed) seed = static_cast<std::uint64_t>(getpid());
  engine.begin_fork();
  if (!sandbox.enter({job.memory_bytes + spare_bytes, job.timeout_millis / 1000 + 2})) {
    write_frame(answer_fd, to_json(Value(Array{error_answer("the sandbox of the JavaScript worker cannot be entered")})), Channel::pipe);
    std::_Exit(1);
  }
  try {
    Array results;
    for (const Text& text : job.texts) {
      results.push_back(result_of(engine.evaluate(text.code, text.scope, {job.memory_bytes, seed}), job.memory_bytes));
      if (results.back().find("error")) break;
    }
    write_frame(answer_fd, to_json(Value(std::move(results))), Channel::pipe);
  } catch (const std::bad_alloc&) {
    std::_Exit(ScriptHeap::exit_out_of_memory);
  } catch (const std::exception& error) {
    write_frame(answer_fd, to_json(Value(Array{error_answer(error.what())})), Channel::pipe);
  }
  std::_Exit(0);
}

std::string seconds_text(std::int64_t millis) {
  if (millis % 1000 == 0) return std::to_string(millis / 1000) + "s";
  return std::to_string(millis) + "ms";
}

Value failed_job(std::string text) { return Value(Array{error_answer(std::move(text))}); }

/// Runs one job in a fork: the results of its texts, up to the first error. Ends this process where the one that asks has gone.
Value evaluate_in_fork(ScriptEngine& engine, const ScriptSandbox& sandbox, const Job& job) {
  const auto deadline = Clock::now() + std::chrono::milliseconds(job.timeout_millis);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return failed_job("evaluation cannot be started: " + std::string(strerror(errno)));
  const pid_t self = getpid();
  const pid_t child = fork();
  if (child < 0) {
    const int why = errno;
    close(ends[0]);
    close(ends[1]);
    return failed_job("evaluation cannot be started: " + std::string(strerror(why)));
  }
  if (child == 0) {
    if (ends[1] != answer_fd) dup2(ends[1], answer_fd);
    syscall(SYS_close_range, answer_fd + 1, ~0u, 0);
    evaluate_and_exit(engine, sandbox, job, self);
  }
  close(ends[1]);
  std::string text;
  // What a hostile expression answers cannot fill our memory; escapes make texts longer than they were there.
  const FrameEnd end = read_frame(ends[0], text, deadline, connection, static_cast<std::size_t>(job.memory_bytes) * 6 + 4096);
  close(ends[0]);
  // It has said all that it has to say, or never will.
  int status = 0;
  if (end == FrameEnd::closed) {
    waitpid(child, &status, 0);
  } else {
    kill(child, SIGKILL);
    while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  if (end == FrameEnd::other_closed) std::_Exit(0);
  const std::string too_long = "evaluation took longer than " + seconds_text(job.timeout_millis);
  if (end == FrameEnd::timeout) return failed_job(too_long);
  if (end == FrameEnd::closed && WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    if (signal == SIGXCPU || (signal == SIGKILL && Clock::now() >= deadline)) return failed_job(too_long);
    return failed_job("evaluation died by signal " + std::to_string(signal));
  }
  if (end == FrameEnd::too_long || (end == FrameEnd::closed && WEXITSTATUS(status) == ScriptHeap::exit_out_of_memory)) {
    return failed_job(memory_error(job.memory_bytes));
  }
  if (end != FrameEnd::complete) return failed_job("evaluation ended without an answer");
  try {
    return parse_json(text);
  } catch (const Error&) {
    return failed_job("evaluation gave no answer that can be read");
  }
}

// ---- requests ----------------------------------------------------------------------------------------------------------

const Value& member(const Value& object, std::string_view key) {
  const Value* const found = object.find(key);
  if (!found) throw Error("runtime", "the request has no member " + std::string(key));
  return *found;
}

/// Sets the value at a path of keys and indexes that exists.
void set_at(Value& root, const Array& path, const std::string& text) {
  Value* at = &root;
  for (const Value& step : path) {
    at = at->is_array() ? &at->mutable_array().at(static_cast<std::size_t>(std::stoull(step.as_string())))
                        : at->mutable_object().find_mutable(step.as_string());
    if (!at) throw Error("runtime", "the request fills a place that is not there");
  }
  *at = Value(text);
}

/// Literals and values in turn.
std::string assemble(const Value& text, const Value& result) {
  std::string out;
  const Array& literals = member(text, "literals").as_array();
  const Array& values = member(result, "values").as_array();
  for (std::size_t i = 0; i < literals.size(); ++i) {
    out += literals[i].as_string();
    if (i < values.size()) out += values[i].as_string();
  }
  return out;
}

/// `outer` with the variables of `scope` over it.
Value widened(const Value& outer, const Value& scope) {
  Value all = scope;
  for (const auto& entry : outer.as_object()) {
    if (!all.find(entry.key)) all.mutable_object().set(entry.key, entry.value);
  }
  return all;
}

/// A text with the results of earlier ones where it needs them.
Text filled(const Value& asked, const std::vector<std::string>& evaluated) {
  Value text = asked;
  for (const Value& fill : member(asked, "fill").as_array()) {
    const auto from = static_cast<std::size_t>(member(fill, "from").as_integer());
    set_at(*text.mutable_object().find_mutable(member(fill, "in").as_string()), member(fill, "path").as_array(), evaluated.at(from));
  }
  Text made{{}, member(text, "scope")};
  for (const Value& code : member(text, "code").as_array()) made.code.push_back(code.as_string());
  return made;
}

/// The next texts that may be evaluated in one fork: those that leave nothing behind and need no result of each other, or one
/// of any kind; at most `most`.
std::vector<Text> texts_together(const Array& texts, const std::vector<std::string>& evaluated, std::size_t most) {
  std::vector<Text> together;
  for (std::size_t i = evaluated.size(); i < texts.size() && together.size() < most; ++i) {
    const Array& fills = member(texts[i], "fill").as_array();
    const bool needs_these = std::any_of(fills.begin(), fills.end(), [&](const Value& fill) {
      return member(fill, "from").as_integer() >= static_cast<std::int64_t>(evaluated.size());
    });
    if (needs_these) break;
    const Array& code = member(texts[i], "code").as_array();
    const bool harmless = std::all_of(code.begin(), code.end(), [](const Value& each) { return is_harmless(each.as_string()); });
    if (harmless || together.empty()) together.push_back(filled(texts[i], evaluated));
    if (!harmless) break;
  }
  return together;
}

bool is_undefined_name(const Value& result) {
  const Value* const undefined = result.find("undefined_name");
  return undefined && undefined->is_boolean() && undefined->as_boolean();
}

Value answer(ScriptEngine& engine, const ScriptSandbox& sandbox, const Value& request) {
  const auto zone = TimeZone::of(member(request, "zone").as_string());
  if (!zone) throw Error("runtime", "unknown time zone");
  engine.use_zone(*zone);
  Job job{{}, member(request, "memory_bytes").as_integer(), member(request, "timeout_millis").as_integer()};
  const Array& texts = member(request, "texts").as_array();
  Array results;
  std::vector<std::string> evaluated;
  std::size_t most_together = 64;
  while (evaluated.size() < texts.size()) {
    const std::size_t first = evaluated.size();
    job.texts = texts_together(texts, evaluated, most_together);
    Array some = evaluate_in_fork(engine, sandbox, job).as_array();
    if (some[0].find("error") && job.texts.size() > 1) {
      // It may have been the time or memory of all: from here on each has its own.
      most_together = 1;
      job.texts.resize(1);
      some = evaluate_in_fork(engine, sandbox, job).as_array();
    }
    if (is_undefined_name(some[0]) && !member(texts[first], "outer").as_object().empty()) {
      most_together = 1;  // others may need it as well, and each would have the whole batch evaluated again
      job.texts.resize(1);
      job.texts.front().scope = widened(member(texts[first], "outer"), job.texts.front().scope);
      some = evaluate_in_fork(engine, sandbox, job).as_array();
    }
    for (std::size_t i = 0; i < some.size(); ++i) {
      const bool failed = some[i].find("error") != nullptr;
      if (failed && i > 0) break;  // once more, as the first of the next ones
      if (!failed) evaluated.push_back(assemble(texts[first + i], some[i]));
      results.push_back(std::move(some[i]));
      if (failed) return Value::object({{"results", Value(std::move(results))}});
    }
  }
  return Value::object({{"results", Value(std::move(results))}});
}

}  // namespace

int script_worker_main() {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGINT, SIG_IGN);  // the one who started us decides when we end
  syscall(SYS_close_range, connection + 1, ~0u, 0);
  try {
    ScriptEngine engine;
    const ScriptSandbox sandbox(answer_fd);
    std::string text;
    while (read_frame(connection, text) == FrameEnd::complete) {
      Value reply;
      try {
        reply = answer(engine, sandbox, parse_json(text));
      } catch (const std::exception& error) {
        reply = Value::object({{"failed", Value(std::string(error.what()))}});
      }
      if (!write_frame(connection, to_json(reply), Channel::socket)) break;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "digdag --js-worker: %s\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace digdag::dig
