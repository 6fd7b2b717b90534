#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "store/database.h"

namespace digdag::store {

/// What is said (Transaction::notify) when there is something for the executor of some server to look for: an event, or an attempt that
/// nobody owns.
inline constexpr const char* attempts_notice = "attempts";

/// Asks whoever owns the attempt to kill it: an event that the owner applies and deletes in one commit (design "Whoever is not the
/// owner never changes a task row"). Returns its id.
std::int64_t insert_kill(Transaction& transaction, std::int64_t attempt_id);
/// Whether its owner has not come to a kill yet.
bool kill_is_due(Transaction& transaction, std::int64_t attempt_id);
/// `insert_kill` with the attempt's flag. Nothing where it is done or was asked before.
std::optional<std::int64_t> request_kill(Transaction& transaction, std::int64_t attempt_id);

/// Attempts that run and were created so long ago (spec/execution.md 19.2), the oldest first.
std::vector<std::int64_t> attempts_older_than(Transaction& transaction, std::int64_t seconds, std::int64_t most);
/// Attempts with tasks that run, or wait for a retry, since so long ago, with the ids of those tasks: `12,15` (19.3).
std::vector<std::pair<std::int64_t, std::string>> attempts_with_tasks_older_than(Transaction& transaction, std::int64_t seconds,
                                                                                 std::int64_t most);

}  // namespace digdag::store
