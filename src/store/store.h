#pragma once

#include <cstdint>
#include <vector>

#include "engine/attempt.h"

namespace digdag::store {

/// The changes of one attempt that must become durable together (design rule 2).
struct AttemptChange {
  std::int64_t attempt_id = 0;
  const engine::Attempt* attempt = nullptr;  ///< the draft: rows are read from it
  std::vector<engine::TaskIndex> changed_tasks;
  bool finished = false;
};

/// What must survive. The executor calls it from one thread.
class Store {
 public:
  virtual ~Store() = default;
  /// Makes all changes durable in one transaction, or throws and changes nothing. Effects happen only afterwards.
  virtual void commit(const std::vector<AttemptChange>& changes) = 0;
};

/// Keeps nothing: `digdag run`, where the attempt in memory is the truth.
class MemoryStore : public Store {
 public:
  void commit(const std::vector<AttemptChange>&) override {}
};

}  // namespace digdag::store
