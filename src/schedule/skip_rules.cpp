#include "schedule/skip_rules.h"

#include "base/config.h"

namespace digdag::schedule {

SkipRules::SkipRules(const Scheduler& scheduler, ScheduleTime due) : due_(due) {
  const Scheduler& entry = scheduler.entry_of(due.session);
  const Config config(entry.config());
  skip_delayed_by_ = config.optional_duration("skip_delayed_by");
  unless_active_ = config.boolean_or("skip_on_overtime", false);
  const std::string catch_up = config.string_or("catch_up", "all");
  catch_up_ = catch_up == "latest" ? CatchUp::latest : catch_up == "none" ? CatchUp::none : CatchUp::all;
  following_run_ = catch_up_ == CatchUp::all ? due.run : entry.next(due.session).run;
}

std::optional<std::string> SkipRules::late(Instant now) const {
  if (!skip_delayed_by_ || now <= due_.run.plus_seconds(*skip_delayed_by_)) return std::nullopt;
  return "it is later than skip_delayed_by " + format_duration(*skip_delayed_by_);
}

std::optional<std::string> SkipRules::missed(Instant now) const {
  if (catch_up_ == CatchUp::all) return std::nullopt;
  if (following_run_ <= now) {
    return catch_up_ == CatchUp::latest ? "a later session is due too (catch_up: latest)" : "it was missed (catch_up: none)";
  }
  if (catch_up_ == CatchUp::none && now > due_.run.plus_seconds(missed_after_seconds)) return "it was missed (catch_up: none)";
  return std::nullopt;
}

}  // namespace digdag::schedule
