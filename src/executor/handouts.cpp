#include "executor/handouts.h"

#include <algorithm>

namespace digdag::executor {

void Handouts::wait(std::int64_t site, std::int64_t attempt, const engine::Run& run) {
  const std::lock_guard lock(mutex_);
  const auto place = sites_.try_emplace(site).first;
  place->second.runs.push(attempt, run);
  ++waiting_;
  changed(place);
}

std::optional<std::pair<std::int64_t, engine::Run>> Handouts::next() {
  const std::lock_guard lock(mutex_);
  if (line_.empty() || !can_give()) return std::nullopt;
  const auto place = sites_.find(line_.front());
  Site& site = place->second;
  line_.pop_front();
  site.stands_in_line = false;
  auto next = site.runs.pop();
  --waiting_;
  take(site, 1);
  changed(place);
  return next;
}

bool Handouts::remove(std::int64_t site, std::int64_t attempt, engine::TaskIndex task, engine::Lease lease) {
  const std::lock_guard lock(mutex_);
  const auto place = sites_.find(site);
  if (place == sites_.end()) return false;
  const auto is_it = [&](const engine::Run& run) { return run.task == task && run.lease == lease; };
  if (!place->second.runs.remove(attempt, is_it)) return false;
  --waiting_;
  changed(place);
  return true;
}

std::deque<engine::Run> Handouts::take_out(std::int64_t site, std::int64_t attempt) {
  const std::lock_guard lock(mutex_);
  const auto place = sites_.find(site);
  if (place == sites_.end()) return {};
  auto runs = place->second.runs.take_line(attempt);
  waiting_ -= runs.size();
  changed(place);
  return runs;
}

std::size_t Handouts::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_;
}

bool Handouts::has_next() const {
  const std::lock_guard lock(mutex_);
  return !line_.empty() && can_give();
}

void Handouts::free_place(std::int64_t site) {
  const std::lock_guard lock(mutex_);
  const auto place = sites_.find(site);
  --place->second.taken;
  --taken_;
  ++free_;
  changed(place);
}

std::int64_t Handouts::try_take(std::int64_t site, std::int64_t wanted) {
  const std::lock_guard lock(mutex_);
  if (!line_.empty() || !can_give()) return 0;
  const auto place = sites_.try_emplace(site).first;
  const std::int64_t given = std::min({wanted, free_, places_left(*place)});
  take(place->second, given);
  changed(place);
  return given;
}

void Handouts::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

bool Handouts::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

void Handouts::hold(bool held) {
  const std::lock_guard lock(mutex_);
  held_ = held;
}

std::int64_t Handouts::taken() const {
  const std::lock_guard lock(mutex_);
  return taken_;
}

/// Of those that one site may have.
std::int64_t Handouts::places_left(const Sites::value_type& site) const {
  return serves(site.first) ? limits_.of_site - site.second.taken : 0;
}

void Handouts::take(Site& site, std::int64_t places) {
  site.taken += places;
  taken_ += places;
  free_ -= places;
}

/// Puts the site where it belongs: in line, or out of it.
void Handouts::changed(Sites::iterator place) {
  auto& [id, site] = *place;
  const bool wants = !site.runs.empty() && places_left(*place) > 0;
  if (wants && !site.stands_in_line) line_.push_back(id);
  if (!wants && site.stands_in_line) line_.erase(std::find(line_.begin(), line_.end(), id));
  site.stands_in_line = wants;
}

}  // namespace digdag::executor
