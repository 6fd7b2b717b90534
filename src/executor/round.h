#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "engine/attempt.h"
#include "executor/attempt_identity.h"
#include "store/attempt_store.h"

/// What the executor's loop works on in a round: what arrives, the attempts, and what a round does to each of them.
namespace digdag::executor {

struct QueuedEvent {
  std::int64_t attempt_id;
  engine::Event event;
  std::optional<std::int64_t> wakes_after = std::nullopt;  ///< of a RetryLater: the attempt whose end it waits for
  std::string hint = {};                                   ///< of a Failed: what to do about it
  std::int64_t stored_event = 0;                           ///< the row in which it is kept until it is applied
};

/// Task and lease of the run that ends by this event.
std::optional<std::pair<engine::TaskIndex, engine::Lease>> ended_run(const engine::Event& event);

/// Takes out the events of the attempt that its rows held as well: who reads it back hands them over again, but for those that another
/// owner has applied.
void forget_stored_events(std::vector<QueuedEvent>& events, std::int64_t attempt_id);

/// An attempt that comes to us: new, started by somebody who stored it, or read back.
struct Added {
  AttemptIdentity identity;
  engine::Attempt attempt;
  store::AttemptRows rows;
  std::optional<engine::Outcome> outcome = {};  ///< of one that was started already
  bool stored = false;                          ///< the outcome is
  std::vector<engine::Run> given = {};
  bool read_back = false;
  std::vector<engine::TaskIndex> untaken = {};
};

/// An attempt that is under way here.
struct Owned {
  AttemptIdentity identity;
  engine::Attempt attempt;
  store::AttemptRows rows;
  std::optional<Instant> due = {};                                ///< as it stands in the loop's timers
  std::size_t work = 0;                                           ///< its place in this round's work, counted from 1; 0 = none yet
  std::unordered_map<engine::TaskIndex, std::string> hints = {};  ///< of failed tasks
  std::unordered_map<engine::TaskIndex, engine::Lease> at_agent = {};
  bool doomed = false;                        ///< to be forgotten as soon as its rows are written
  bool busy = false;                          ///< its rows are being written beside the loop: nobody else touches it
  std::vector<QueuedEvent> deferred = {};     ///< what came meanwhile
  std::deque<engine::Run> waiting = {};       ///< runs that wait for a place, out of the line meanwhile
  std::set<std::int64_t> stored_events = {};  ///< applied: who hands one over may have read it before it was
};

/// What all events of a round did to one attempt.
struct Work {
  Owned* owned = nullptr;
  engine::Outcome outcome = {};
  std::vector<store::QueuedRun> runs = {};  ///< that begin, or get their place
  std::vector<engine::Run> given = {};      ///< those of them that go to the agent
  std::vector<QueuedEvent> events = {};     ///< applied
};

/// Why an attempt cannot be stored. `refused`: it never can be, also when it is read back.
struct Trouble {
  Error error;
  bool refused;
};

/// A large change that was written, or could not be.
struct Written {
  std::shared_ptr<Work> work;
  std::optional<Trouble> trouble;
};

}  // namespace digdag::executor
