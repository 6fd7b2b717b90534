#include "engine/param_run.h"

#include <utility>

namespace digdag::engine {

namespace {
constexpr std::size_t few = 8;
constexpr std::size_t nowhere = static_cast<std::size_t>(-1);
}  // namespace

std::size_t ParamRun::place_of(std::string_view key, std::uint64_t hash) const {
  const auto is_here = [&](const Slot& slot) { return slot.entry && slot.hash == hash && slot.entry->key == key; };
  if (table_.empty()) {
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (is_here(slots_[i])) return i;
    }
    return nowhere;
  }
  const std::size_t mask = table_.size() - 1;
  for (std::size_t at = hash & mask; table_[at] != 0; at = (at + 1) & mask) {
    if (is_here(slots_[table_[at] - 1])) return table_[at] - 1;
  }
  return nowhere;
}

const ParamRun::Slot* ParamRun::find(std::string_view key, std::uint64_t hash) const {
  const std::size_t place = place_of(key, hash);
  return place == nowhere ? nullptr : &slots_[place];
}

void ParamRun::set(Slot slot) {
  const std::size_t place = place_of(slot.entry->key, slot.hash);
  if (place != nowhere && !slot.reappears) {
    slots_[place].entry = std::move(slot.entry);
    return;
  }
  if (place == nowhere) {
    ++size_;
  } else {
    slots_[place].entry = nullptr;
  }
  slots_.push_back(std::move(slot));
  put_into_table(slots_.size() - 1);
}

void ParamRun::put_into_table(std::size_t slot) {
  if (slots_.size() <= few) return;
  const bool full = slots_.size() * 2 > table_.size();
  if (full) table_.assign(table_.empty() ? 4 * few : table_.size() * 2, 0);
  const std::size_t mask = table_.size() - 1;
  for (std::size_t i = full ? 0 : slot; i <= slot; ++i) {
    std::size_t at = slots_[i].hash & mask;
    while (table_[at] != 0) at = (at + 1) & mask;
    table_[at] = static_cast<std::uint32_t>(i + 1);
  }
}

}  // namespace digdag::engine
