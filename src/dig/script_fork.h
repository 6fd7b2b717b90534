#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/value.h"
#include "dig/script_engine.h"
#include "dig/script_sandbox.h"

namespace digdag::dig {

/// What is evaluated as one: expressions, and the object whose members are their variables.
struct ScriptText {
  std::vector<std::string> code;
  Value scope;
};

/// A sandboxed fork of the worker: it evaluates in the engine as the worker left it, and what an expression does to the engine
/// ends with the fork. One thread.
class ScriptFork {
 public:
  struct Limits {
    std::int64_t memory_bytes;    ///< of each text
    std::int64_t timeout_millis;  ///< of each call of `evaluate`
    bool operator==(const Limits&) const = default;
  };

  /// The descriptor of a fork to the worker.
  static constexpr int worker_fd = 4;

  /// `owner`: the connection to the process that asks; where it hangs up during an evaluation, this process ends.
  /// `sandbox` is one for `worker_fd`. The fork starts with its first evaluation.
  ScriptFork(ScriptEngine& engine, const ScriptSandbox& sandbox, const Limits& limits, int owner);
  ~ScriptFork();
  ScriptFork(const ScriptFork&) = delete;
  ScriptFork& operator=(const ScriptFork&) = delete;

  /// The result of each text, `{"values": ["2"], "pure": true}`, up to and with the first error: `{"error": "ReferenceError: …",
  /// "undefined_name": true}`. After an error of any other kind than `undefined_name` the fork is of no more use.
  Array evaluate(const std::vector<ScriptText>& texts);

  const Limits& limits() const { return limits_; }
  /// How many texts it was asked to evaluate.
  std::size_t texts() const { return texts_; }

 private:
  /// False with errno where it cannot.
  bool start(const std::vector<ScriptText>& first);

  ScriptEngine& engine_;
  const ScriptSandbox& sandbox_;
  const Limits limits_;
  const int owner_;
  std::size_t texts_ = 0;
  pid_t pid_ = -1;
  Fd fd_;
};

}  // namespace digdag::dig
