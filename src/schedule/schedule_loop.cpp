#include "schedule/schedule_loop.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <iterator>
#include <limits>
#include <mutex>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/thread.h"
#include "schedule/delayed_attempts.h"
#include "schedule/start_batch.h"
#include "schedule/triggered_starts.h"

namespace digdag::schedule {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t most_batch_starts = 100;
constexpr int most_batches = 10;  ///< in a round: then others have their turn
constexpr std::int64_t busy_delay_millis = 200;
constexpr std::chrono::seconds net_period{5}, error_pause{1};
/// A schedule that is finished is due in the year 9999, which no clock of nanoseconds can wait for.
constexpr std::int64_t longest_wait_millis = 3'600'000;
/// When to look for what waits for the ends of attempts. A look reads all that waits, which may be thousands: it is taken again after so
/// many times of what it took, when an attempt has ended, and when nothing has been said.
class Lookout {
 public:
  bool wanted = false;

  void want_now() { next_ = Clock::now(); }
  Clock::time_point next() const { return wanted ? std::min(next_, next_wanted_) : next_; }
  bool is_due() const { return Clock::now() >= next(); }
  /// `look` gives how many it started.
  template <typename Look>
  void take(const Look& look) {
    const Clock::time_point begin = Clock::now();
    const Clock::duration took = look() == 0 ? Clock::now() - begin : Clock::duration::zero();
    next_wanted_ = Clock::now() + std::max<Clock::duration>(after_end * took, least_period);
    next_ = Clock::now() + std::clamp<Clock::duration>(after_nothing * took, net_period, most_period);
    wanted = false;
  }

 private:
  static constexpr int after_end = 20, after_nothing = 2000;
  static constexpr std::chrono::milliseconds least_period{20};
  static constexpr std::chrono::seconds most_period{60};
  Clock::time_point next_, next_wanted_;
};

/// How many sessions may be started: `rate` each second, and none saved up.
class StartAllowance {
 public:
  explicit StartAllowance(std::int64_t rate) : rate_(rate) {}

  std::int64_t at(Instant now) {
    if (rate_ <= 0) return std::numeric_limits<std::int64_t>::max();
    if (const std::int64_t second = now.seconds(); second != second_) {
      second_ = second;
      left_ = rate_;
    }
    return left_;
  }
  void use(std::int64_t starts) { left_ -= starts; }
  /// When more may be.
  static Instant refilled(Instant now) { return Instant::of_seconds(now.seconds() + 1); }

 private:
  const std::int64_t rate_;
  std::int64_t second_ = std::numeric_limits<std::int64_t>::min(), left_ = 0;
};

void keep_earlier(std::optional<Instant>& next, std::optional<Instant> other) {
  if (other && (!next || *other < *next)) next = other;
}

}  // namespace

ScheduleLoop::Options ScheduleLoop::Options::of(const SystemConfig& system, std::function<Instant()> clock) {
  return {.clock = std::move(clock),
          .sites = store::SiteSelection::of(system, "scheduler"),
          .max_starts_per_second = system.integer_or("schedule.max_starts_per_second", 0),
          .attempt_limit = system.integer_or("executor.attempt_max_run", 100)};
}

struct ScheduleLoop::Impl {
  Impl(Options the_options, store::Database& the_database, executor::SessionStarter& the_starter, Log& the_log)
      : options(std::move(the_options)),
        database(the_database),
        starter(the_starter),
        log(the_log),
        delayed(database, starter, log, options.sites),
        triggered(database, starter, log, options.sites),
        allowance(options.max_starts_per_second) {}

  // ---- Work, on one thread at a time ----

  /// Frees schedules that wait because of the attempt limit, as many as there is room for.
  /// Gives their number.
  std::int64_t wake_waiting(const std::set<std::int64_t>& sites, Instant now) {
    std::int64_t freed = 0;
    for (const std::int64_t site : sites) {
      freed += database.write(
          [&](store::Transaction& transaction) { return store::wake_waiting_schedules(transaction, site, options.attempt_limit, now); });
    }
    return freed;
  }
  void look_for_waiting() {
    const auto sites =
        database.read([&](store::Transaction& transaction) { return store::sites_with_waiting_schedules(transaction, options.sites); });
    full_sites = {sites.begin(), sites.end()};
  }

  void start_sessions(Instant now, Round& round) {
    for (int batches = 0; batches < most_batches; ++batches) {
      const std::int64_t allowed = allowance.at(now);
      if (allowed <= 0) return keep_earlier(round.next, StartAllowance::refilled(now));
      StartBatch batch(database, starter, log, options.sites, now, std::min(most_batch_starts, allowed));
      if (batch.empty()) {
        return keep_earlier(round.next, database.read([&](store::Transaction& transaction) {
          return store::earliest_run_time(transaction, options.sites);
        }));
      }
      const StartBatch::Result result = batch.run();
      allowance.use(result.started);
      round.started += result.started;
      round.skipped += result.skipped;
      full_sites.insert(result.full_sites.begin(), result.full_sites.end());
      // Another server has those at the head in hand.
      if (!result.moved) return keep_earlier(round.next, now.plus_millis(busy_delay_millis));
    }
    keep_earlier(round.next, now);
  }

  // ---- The thread ----

  /// What others have said since the last turn.
  struct Changes {
    bool schedules = false, starts = false;  ///< starts: delayed and triggered ones
    std::set<std::int64_t> ended_sites;      ///< of which attempts have ended
    bool any() const { return schedules || starts; }
  };

  void main() {
    std::unique_lock lock(mutex);
    while (!stopping) {
      const Changes told = std::exchange(changes, {});
      lock.unlock();
      const Clock::time_point until = turn(told);
      lock.lock();
      changed.wait_until(lock, until, [&] { return stopping || changes.any(); });
    }
  }

  /// Does what is due and gives the time of the next turn.
  Clock::time_point turn(const Changes& told) {
    try {
      for (Lookout* lookout : {&for_delayed, &for_triggered}) lookout->wanted = lookout->wanted || told.starts;
      const Instant now = options.clock();
      const bool net = Clock::now() >= next_net;
      if (net) {
        next_net = Clock::now() + net_period;
        look_for_waiting();
      }
      std::set<std::int64_t> to_wake = full_sites;
      if (!net) std::erase_if(to_wake, [&](std::int64_t site) { return !told.ended_sites.contains(site); });
      if (wake_waiting(to_wake, now) > 0 || net || told.schedules || (next_due && *next_due <= now)) {
        Round round;
        start_sessions(now, round);
        next_due = round.next;
      }
      if (for_triggered.is_due()) for_triggered.take([&] { return triggered.start_ready(now); });
      if (for_delayed.is_due()) for_delayed.take([&] { return delayed.start_ready(now); });

      Clock::time_point until = std::min({next_net, for_delayed.next(), for_triggered.next()});
      if (next_due) {
        const std::int64_t millis = std::min(next_due->millis - options.clock().millis, longest_wait_millis);
        until = std::min(until, Clock::now() + std::chrono::milliseconds(millis));
      }
      return until;
    } catch (const std::exception& error) {
      const auto* ours = dynamic_cast<const Error*>(&error);
      log.write(LogLevel::error, "scheduler", "schedule",
                "The schedules cannot be looked at, they are again in 1 second: " + (ours != nullptr ? ours->chain() : error.what()));
      look_at_all();
      return Clock::now() + error_pause;
    }
  }

  void look_at_all() {
    next_net = Clock::now();
    for_delayed.want_now();
    for_triggered.want_now();
  }

  void tell(const std::function<void()>& change) {
    {
      const std::lock_guard lock(mutex);
      change();
    }
    changed.notify_all();
  }

  const Options options;
  store::Database& database;
  executor::SessionStarter& starter;
  Log& log;

  DelayedAttempts delayed;
  TriggeredStarts triggered;
  StartAllowance allowance;
  std::set<std::int64_t> full_sites;  ///< that have, or may have, waiting schedules
  std::optional<Instant> next_due;    ///< of the last look at the schedules
  Lookout for_delayed, for_triggered;
  Clock::time_point next_net;

  std::mutex mutex;
  std::condition_variable changed;
  bool stopping = false;
  Changes changes;
  Thread thread;
};

ScheduleLoop::ScheduleLoop(Options options, store::Database& database, executor::SessionStarter& starter, Log& log)
    : impl_(std::make_unique<Impl>(std::move(options), database, starter, log)) {}

ScheduleLoop::~ScheduleLoop() { stop(); }

void ScheduleLoop::start() {
  if (impl_->thread.running()) return;
  impl_->stopping = false;
  impl_->look_at_all();
  impl_->thread = Thread("the schedules", [this] { impl_->main(); });
}

void ScheduleLoop::stop() {
  impl_->tell([&] { impl_->stopping = true; });
  impl_->thread.join();
}

void ScheduleLoop::wake() {
  impl_->tell([&] { impl_->changes.schedules = impl_->changes.starts = true; });
}

void ScheduleLoop::attempt_ended(std::int64_t site_id) {
  impl_->tell([&] {
    impl_->changes.starts = true;
    impl_->changes.ended_sites.insert(site_id);
  });
}

ScheduleLoop::Round ScheduleLoop::run_once(Instant now) {
  Round round;
  impl_->look_for_waiting();
  impl_->wake_waiting(impl_->full_sites, now);
  impl_->start_sessions(now, round);
  round.triggered_started = impl_->triggered.start_ready(now);
  round.delayed_started = impl_->delayed.start_ready(now);
  return round;
}

}  // namespace digdag::schedule
