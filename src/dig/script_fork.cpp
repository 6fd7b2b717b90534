#include "dig/script_fork.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "dig/frame.h"
#include "dig/script_heap.h"

namespace digdag::dig {
namespace {

using Clock = std::chrono::steady_clock;
using Limits = ScriptFork::Limits;

/// What evaluation needs besides the engine's own memory: stack, the answer, this language's containers.
constexpr std::int64_t spare_bytes = 32 << 20;

std::string memory_error(std::int64_t bytes) { return "evaluation needs more than " + std::to_string(bytes >> 20) + " MiB"; }

Array failed(std::string error) { return {Value::object({{"error", Value(std::move(error))}})}; }

std::string seconds_text(std::int64_t millis) {
  if (millis % 1000 == 0) return std::to_string(millis / 1000) + "s";
  return std::to_string(millis) + "ms";
}

// ---- in the fork -------------------------------------------------------------------------------------------------------

Value result_of(const ScriptEngine::Result& result, std::int64_t memory_bytes) {
  if (result.out_of_memory) return failed(memory_error(memory_bytes)).front();
  if (!result.error.empty()) return Value::object({{"error", result.error}, {"undefined_name", result.undefined_name}});
  Array values;
  for (const std::string& value : result.values) values.emplace_back(value);
  return Value::object({{"values", Value(std::move(values))}, {"pure", result.pure}});
}

/// Texts as the worker sends them to a fork that runs already.
std::string encoded(const std::vector<ScriptText>& texts) {
  Array all;
  for (const ScriptText& text : texts) {
    Array code(text.code.begin(), text.code.end());
    all.push_back(Value::object({{"code", Value(std::move(code))}, {"scope", text.scope}}));
  }
  return to_json(Value(std::move(all)));
}

std::vector<ScriptText> decoded(const std::string& json) {
  std::vector<ScriptText> texts;
  const Value all = parse_json(json);
  for (const Value& text : all.as_array()) {
    ScriptText& made = texts.emplace_back();
    for (const Value& code : text.find("code")->as_array()) made.code.push_back(code.as_string());
    made.scope = *text.find("scope");
  }
  return texts;
}

Array evaluate_here(ScriptEngine& engine, const std::vector<ScriptText>& texts, const Limits& limits, std::uint64_t seed) {
  Array results;
  for (const ScriptText& text : texts) {
    results.push_back(result_of(engine.evaluate(text.code, text.scope, {limits.memory_bytes, seed}), limits.memory_bytes));
    if (results.back().find("error")) break;
  }
  return results;
}

/// A worker that has gone takes the fork with it.
void answer(const Array& results) { (void)write_frame(ScriptFork::worker_fd, to_json(Value(results)), Channel::sandboxed); }

/// The fork, from its start until the worker closes its end.
[[noreturn]] void serve(ScriptEngine& engine, const ScriptSandbox& sandbox, const Limits& limits, const std::vector<ScriptText>& first,
                        pid_t worker) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != worker) std::_Exit(1);
  std::uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed) seed = static_cast<std::uint64_t>(getpid());
  engine.begin_fork();
  if (!sandbox.enter({limits.memory_bytes + spare_bytes, limits.timeout_millis / 1000 + 2})) {
    answer(failed("the sandbox of the JavaScript worker cannot be entered"));
    std::_Exit(1);
  }
  try {
    answer(evaluate_here(engine, first, limits, seed));
    for (std::string more; read_frame(ScriptFork::worker_fd, more) == FrameEnd::complete;) {
      answer(evaluate_here(engine, decoded(more), limits, seed));
    }
  } catch (const std::bad_alloc&) {
    std::_Exit(ScriptHeap::exit_out_of_memory);
  } catch (const std::exception& error) {
    answer(failed(error.what()));
  }
  std::_Exit(0);
}

}  // namespace

// ---- in the worker -----------------------------------------------------------------------------------------------------

ScriptFork::ScriptFork(ScriptEngine& engine, const ScriptSandbox& sandbox, const Limits& limits, int owner)
    : engine_(engine), sandbox_(sandbox), limits_(limits), owner_(owner) {}

ScriptFork::~ScriptFork() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

bool ScriptFork::start(const std::vector<ScriptText>& first) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return false;
  fd_ = Fd(ends[0]);
  const Fd other(ends[1]);
  const pid_t worker = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    if (other.get() != worker_fd) dup2(other.get(), worker_fd);
    serve(engine_, sandbox_, limits_, first, worker);
  }
  return pid_ > 0;
}

Array ScriptFork::evaluate(const std::vector<ScriptText>& texts) {
  const auto deadline = Clock::now() + std::chrono::milliseconds(limits_.timeout_millis);
  texts_ += texts.size();
  if (pid_ < 0) {
    if (!start(texts)) return failed("evaluation cannot be started: " + std::string(strerror(errno)));
  } else {
    // Where it is gone, the answer is missing too.
    (void)write_frame(fd_.get(), encoded(texts), Channel::socket);
  }
  std::string text;
  // What a hostile expression answers cannot fill our memory; escapes make texts longer than they were there.
  const FrameEnd end = read_frame(fd_.get(), text, deadline, owner_, static_cast<std::size_t>(limits_.memory_bytes) * 6 + 4096);
  if (end == FrameEnd::other_closed) std::_Exit(0);
  if (end == FrameEnd::complete) {
    try {
      const Value results = parse_json(text);
      if (results.is_array() && !results.as_array().empty() && results.as_array().size() <= texts.size()) return results.as_array();
    } catch (const Error&) {
      // The same as an answer that is none.
    }
    return failed("evaluation gave no answer that can be read");
  }
  const std::string too_long = "evaluation took longer than " + seconds_text(limits_.timeout_millis);
  if (end == FrameEnd::timeout) return failed(too_long);
  if (end == FrameEnd::too_long) return failed(memory_error(limits_.memory_bytes));
  int status = 0;
  waitpid(std::exchange(pid_, -1), &status, 0);
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    if (signal == SIGXCPU || (signal == SIGKILL && Clock::now() >= deadline)) return failed(too_long);
    return failed("evaluation died by signal " + std::to_string(signal));
  }
  if (WEXITSTATUS(status) == ScriptHeap::exit_out_of_memory) return failed(memory_error(limits_.memory_bytes));
  return failed("evaluation ended without an answer");
}

}  // namespace digdag::dig
