#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "store/attempt_store.h"

namespace digdag::store {

/// A part of a large change: one transaction.
struct ChangeStep {
  AttemptChange part;
  /// Tasks from this id on do not count until a later step completes the change: whoever reads the attempt back removes them.
  std::optional<std::int64_t> pending_from = {};
  bool completes = false;  ///< from now on they do
};

/// Cuts up a change that does not end its attempt: first the new tasks; then, in one, what brought them forth and
/// everything else that must not be torn from it; then what that released, which follows from it; at last the runs, given to nobody yet.
/// Valid while the rows are changed by these steps alone.
std::vector<ChangeStep> steps_of(const AttemptChange& change, std::size_t rows_in_a_step);

}  // namespace digdag::store
