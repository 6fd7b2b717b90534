#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/time.h"
#include "base/value.h"
#include "schedule/scheduler.h"
#include "store/database.h"
#include "store/schedules.h"

namespace digdag::schedule {

/// A workflow as a push brings it.
struct PushedWorkflow {
  std::string name;
  TimeZone timezone;
  Value config;
};

/// What `PUT /api/projects` says about schedules (spec/rest-api.md 5.1).
struct PushOptions {
  Instant schedule_from;           ///< `schedule_from`, else now
  std::vector<std::string> clear;  ///< `clear_schedule`
  bool clear_all = false;          ///< `clear_schedule_all`
  Instant now;
};

/// The schedules of a revision that is being pushed (spec/scheduling.md 4). Made before the transaction, where it finds all errors.
class PushedSchedules {
 public:
  /// Throws Error(config), whose message is the original's text of the 400: a wrong schedule, a key that means nothing, a name of `clear`
  /// that is no workflow.
  PushedSchedules(const std::vector<PushedWorkflow>& workflows, const PushOptions& options);
  static constexpr std::int64_t most_counted = 1000;
  PushedSchedules(PushedSchedules&& other) noexcept;
  ~PushedSchedules();

  /// In the transaction of the push, after its workflow definitions are inserted, with the project's row locked. `definition_ids`:
  /// by workflow name. May be called again where the transaction is repeated. After the commit the ScheduleLoop is to be woken.
  /// Gives how many sessions are due already and start then (S-18); counted to `most_counted`.
  std::int64_t apply(store::Transaction& transaction, std::int64_t project_id,
                     const std::map<std::string, std::int64_t, std::less<>>& definition_ids) const;

 private:
  struct Entry;
  std::int64_t missed(const Scheduler& scheduler, ScheduleTime time) const;
  static void follow(store::Transaction& transaction, store::ScheduleRow& row, const Entry& entry);

  std::vector<Entry> entries_;
  Instant now_;
};

/// `Invalid schedule_from= parameter format. …` as Error(config) where the text is none; the clock's time where it is empty.
Instant parse_schedule_from(std::string_view text, Instant now);

}  // namespace digdag::schedule
