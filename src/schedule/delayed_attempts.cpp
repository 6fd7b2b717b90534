#include "schedule/delayed_attempts.h"

#include <algorithm>
#include <set>
#include <string>

#include "base/error.h"
#include "store/schedules.h"

namespace digdag::schedule {

namespace {

constexpr std::int64_t most_at_once = 100;
constexpr std::int64_t error_delay_seconds = 300;

}  // namespace

std::int64_t DelayedAttempts::start_ready(Instant now) {
  std::int64_t started = 0;
  std::set<std::int64_t> left;  // that somebody else has in hand
  std::vector<std::int64_t> full_sites;
  for (bool moved = true; moved;) {
    moved = false;
    const store::SiteSelection sites = sites_.without(full_sites);
    const auto ready = database_.read(
        [&](store::Transaction& transaction) { return store::ready_delayed_attempts(transaction, sites, now, most_at_once); });
    for (const store::DelayedAttempt& attempt : ready) {
      if (std::find(full_sites.begin(), full_sites.end(), attempt.site_id) != full_sites.end() || left.contains(attempt.attempt_id))
        continue;
      const Became became = start(attempt.attempt_id, now);
      started += became == Became::started ? 1 : 0;
      if (became == Became::limited) full_sites.push_back(attempt.site_id);
      if (became == Became::left || became == Became::passed) left.insert(attempt.attempt_id);
      moved = moved || became != Became::left;
    }
  }
  return started;
}

DelayedAttempts::Became DelayedAttempts::start(std::int64_t attempt_id, Instant now) {
  std::string trouble;
  try {
    const executor::StartAnswer answer = starter_.start_delayed(attempt_id);
    const auto* refused = std::get_if<executor::StartRefused>(&answer);
    if (refused == nullptr) return Became::started;
    if (refused->why == executor::StartRefused::Why::site_limit) return Became::limited;
    if (refused->why == executor::StartRefused::Why::not_found) return Became::left;
    if (refused->why == executor::StartRefused::Why::not_its_turn) return Became::passed;
    return fail(attempt_id, refused->message);
  } catch (const store::DatabaseError& error) {
    if (error.why() == store::DatabaseError::Cause::unavailable) throw;
    trouble = error.chain();
  } catch (const Error& error) {
    return fail(attempt_id, error.chain());
  }
  // The database does not take it, which says nothing about the attempt.
  const Instant until = now.plus_seconds(error_delay_seconds);
  log_.write(LogLevel::error, "scheduler", "schedule",
             "Cannot start delayed attempt " + std::to_string(attempt_id) + ", put off to " + format_instant(until) + ": " + trouble);
  database_.write([&](store::Transaction& transaction) { store::put_off_delayed_attempt(transaction, attempt_id, until); });
  return Became::put_off;
}

DelayedAttempts::Became DelayedAttempts::fail(std::int64_t attempt_id, const std::string& why) {
  const bool ended =
      database_.write([&](store::Transaction& transaction) { return store::end_delayed_attempt(transaction, attempt_id, 0); });
  if (!ended) return Became::left;
  log_.write(LogLevel::error, "scheduler", "schedule",
             "Delayed attempt " + std::to_string(attempt_id) + " cannot be started and ends as failed: " + why);
  return Became::ended;
}

}  // namespace digdag::schedule
