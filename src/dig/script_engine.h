#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/time.h"
#include "base/value.h"

namespace digdag::dig {

/// The JavaScript engine with all that an expression finds in it: ES5.1, moment, Java's String methods, and dates of one time
/// zone (spec/language.md 8.4, 8.5). Lives in the worker process only; one thread.
///
/// Expressions change it as they like, so it is evaluated by a fork of the process that made it.
class ScriptEngine {
 public:
  /// Loads the prelude and moment (some milliseconds). Throws Error(runtime).
  ScriptEngine();
  ~ScriptEngine();
  ScriptEngine(const ScriptEngine&) = delete;
  ScriptEngine& operator=(const ScriptEngine&) = delete;

  struct Limits {
    std::int64_t memory_bytes;  ///< that may be added to what is allocated now; beyond it the process may end (script_heap.h)
    std::uint64_t random_seed;
  };
  /// To be called by a process that was forked from the one that made this, before it evaluates.
  void begin_fork();

  struct Result {
    std::vector<std::string> values;  ///< of each expression, as a template prints it
    std::string error;                ///< `ReferenceError: x is not defined`; empty where there is none
    bool undefined_name = false;      ///< the error is that a name has no value
    bool out_of_memory = false;
    bool pure = true;  ///< neither the clock nor chance was asked: the same again gives the same
  };

  /// The local time zone from now on, UTC at first. Reads time zone files, so it comes before a sandbox; sets TZ for the
  /// abbreviations of libc.
  void use_zone(const TimeZone& zone);

  /// Evaluates the expressions of one text, in order, with `scope` (an object) as their variables.
  Result evaluate(const std::vector<std::string>& expressions, const Value& scope, const Limits& limits);

  /// The names that stand in the global object.
  std::vector<std::string> global_names();

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace digdag::dig
