#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/fair_queue.h"
#include "engine/attempt.h"
#include "store/site_selection.h"

namespace digdag::executor {

/// Which runs get a place at the agent, and which wait for one: sites take turns, of a site its attempts, each in the order of its runs
/// (spec/decisions.md E-47). A site that has no place left keeps no other one back. Thread-safe.
class Handouts {
 public:
  struct Limits {
    std::int64_t places;                           ///< runs at the same time; 0: there is no agent here
    std::int64_t of_site = std::int64_t{1} << 40;  ///< of one site (E-46)
    store::SiteSelection served = {};              ///< runs of other sites get no place here
  };
  explicit Handouts(Limits limits) : limits_(std::move(limits)), free_(limits_.places) {}

  /// Whether runs of the site can get a place at all.
  bool serves(std::int64_t site) const { return limits_.places > 0 && limits_.served.has(site); }

  void wait(std::int64_t site, std::int64_t attempt, const engine::Run& run);
  /// The run whose turn it is, of which attempt, with a place; nothing where none that waits can have one.
  std::optional<std::pair<std::int64_t, engine::Run>> next();
  /// Takes out a run that waits; false where it does not.
  bool remove(std::int64_t site, std::int64_t attempt, engine::TaskIndex task, engine::Lease lease);
  /// All runs of an attempt that wait, in their order.
  std::deque<engine::Run> take_out(std::int64_t site, std::int64_t attempt);

  std::size_t waiting() const;
  /// Whether `next` has one.
  bool has_next() const;

  /// A run of the site has ended.
  void free_place(std::int64_t site);
  /// Takes up to `wanted` places at once, past the line where nobody stands in it.
  std::int64_t try_take(std::int64_t site, std::int64_t wanted);
  /// From now on nothing gets a place.
  void close();
  bool closed() const;
  /// While held nothing gets a place.
  void hold(bool held);
  std::int64_t taken() const;

 private:
  struct Site {
    FairQueue<engine::Run> runs = {};  ///< that wait, by attempt
    std::int64_t taken = 0;
    bool stands_in_line = false;
  };
  using Sites = std::unordered_map<std::int64_t, Site>;
  bool can_give() const { return free_ > 0 && !closed_ && !held_; }
  std::int64_t places_left(const Sites::value_type& site) const;
  void take(Site& site, std::int64_t places);
  void changed(Sites::iterator site);

  const Limits limits_;
  mutable std::mutex mutex_;       ///< of what follows
  Sites sites_;                    ///< that have had runs here
  std::deque<std::int64_t> line_;  ///< sites with runs that wait and a place left for them, each once
  std::int64_t free_, taken_ = 0;
  std::size_t waiting_ = 0;
  bool closed_ = false, held_ = false;
};

}  // namespace digdag::executor
