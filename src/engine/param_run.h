#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/position.h"
#include "base/value.h"
#include "dig/template.h"

namespace digdag::engine {

/// A top-level parameter as it is from some layer on: merged with what lay below, or removed.
struct ParamEntry {
  std::string key;
  Value value;
  Position position;
  bool removed = false;
  /// Origins other than code, by JSON pointer relative to this value ("" = all of it); nothing where all of it is code.
  std::shared_ptr<const dig::Origins> origins;
};
using ParamEntryPointer = std::shared_ptr<const ParamEntry>;

/// Keys with their entries in the order in which they appeared; what is set later replaces and keeps the place, unless the
/// key was removed in between.
class ParamRun {
 public:
  struct Slot {
    ParamEntryPointer entry;  ///< nullptr: the key has moved to a later place
    std::uint64_t hash = 0;
    bool reappears = false;  ///< it was removed before: its place is after all keys of older runs
  };

  /// nullptr where the key does not stand here.
  const Slot* find(std::string_view key, std::uint64_t hash) const;
  void set(Slot slot);
  void reserve(std::size_t keys) { slots_.reserve(keys); }
  const std::vector<Slot>& slots() const { return slots_; }
  /// Keys, removed ones included.
  std::size_t size() const { return size_; }

  static std::uint64_t hash_of(std::string_view key) { return std::hash<std::string_view>{}(key); }

 private:
  std::size_t place_of(std::string_view key, std::uint64_t hash) const;
  void put_into_table(std::size_t slot);

  std::vector<Slot> slots_;
  std::vector<std::uint32_t> table_;  ///< open addressing: index into `slots_` + 1; empty while there are few
  std::size_t size_ = 0;
};

}  // namespace digdag::engine
