#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "engine/attempt.h"
#include "generator.h"
#include "record.h"

namespace digdag::simulation {

/// Operators that answer each try of a task the same, however often, where and when it is run: so what becomes of an attempt does
/// not depend on what happened to its servers.
class FakeOperators {
 public:
  FakeOperators(std::uint64_t seed, const Features& features) : seed_(seed), features_(features) {}

  struct Answer {
    enum class Kind : std::uint8_t { success, failure, poll } kind = Kind::success;
    engine::TaskResult result;
    Value error, state;
    bool retryable = false;
    std::int64_t delay_millis = 0;
    Value retry;
  };
  /// `key`: full name and generation. `inherited_retry`: what it sees of `_retry` beside its own keys.
  Answer answer(const std::string& key, const Value& local, const Value& inherited_retry, std::int64_t retry_count) const;

 private:
  std::uint64_t seed_;
  const Features& features_;
};

/// What became of an attempt: its tasks by full name and generation.
struct Ends {
  struct Task {
    std::string state, result;
    std::int64_t retry_count = 0;
    auto operator<=>(const Task&) const = default;
  };
  bool success = false;
  std::map<std::string, Task> tasks;
};
/// Without what tells single runs apart.
Ends::Task end_of(engine::TaskState state, std::int64_t retry_count, Value store_params, const Value& error);

/// What becomes of an attempt by the reference model where nothing else happens. Nothing where it gets too large.
std::optional<Ends> ends_without_faults(const Setup& setup, const FakeOperators& operators);

}  // namespace digdag::simulation
