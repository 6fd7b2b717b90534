#include "executor/round.h"

#include <variant>

namespace digdag::executor {

std::optional<std::pair<engine::TaskIndex, engine::Lease>> ended_run(const engine::Event& event) {
  if (const auto* succeeded = std::get_if<engine::Succeeded>(&event)) return std::pair(succeeded->task, succeeded->lease);
  if (const auto* failed = std::get_if<engine::Failed>(&event)) return std::pair(failed->task, failed->lease);
  if (const auto* later = std::get_if<engine::RetryLater>(&event)) return std::pair(later->task, later->lease);
  return std::nullopt;
}

void forget_stored_events(std::vector<QueuedEvent>& events, std::int64_t attempt_id) {
  std::erase_if(events, [&](const QueuedEvent& event) { return event.attempt_id == attempt_id && event.stored_event != 0; });
}

}  // namespace digdag::executor
