#pragma once

#include <optional>
#include <string>

#include "base/time.h"
#include "schedule/scheduler.h"

namespace digdag::schedule {

/// Whether a session that is due is passed over (spec/scheduling.md 6.2; decisions.md S-10, S-13, S-15): the options of the mapping
/// that gives it.
class SkipRules {
 public:
  /// `missed_after`: with `catch_up: none` a session that could not be started within this time of its run time was missed.
  static constexpr std::int64_t missed_after_seconds = 60;

  /// Throws Error(config) where an option has no valid value: the schedule is then put off.
  SkipRules(const Scheduler& scheduler, ScheduleTime due);

  /// The reasons that `now` alone gives, for a log line; nothing: none. The first one where both kinds hold is `late`.
  std::optional<std::string> late(Instant now) const;
  /// `skip_on_overtime`: it is passed over while an attempt of the workflow is active.
  bool unless_active() const { return unless_active_; }
  /// `catch_up`; asked after `unless_active`.
  std::optional<std::string> missed(Instant now) const;

 private:
  enum class CatchUp : std::uint8_t { all, latest, none };

  ScheduleTime due_;
  std::optional<std::int64_t> skip_delayed_by_;  ///< seconds
  bool unless_active_ = false;
  CatchUp catch_up_ = CatchUp::all;
  Instant following_run_;  ///< of the same mapping's next session
};

}  // namespace digdag::schedule
