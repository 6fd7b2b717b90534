#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace digdag {

/// Where a value was written: a file, a line and a column (both from 1; 0 = unknown). 8 bytes, so that every key of a
/// configuration can carry one through includes, `_do`, `call>` and generated tasks.
struct Position {
  std::uint32_t line = 0;
  std::uint16_t column = 0;  ///< saturates at 65535
  std::uint16_t file = 0;    ///< see file_id(); 0 = no file

  bool known() const { return line != 0; }
  friend bool operator==(const Position&, const Position&) = default;
};

/// The number of a file name in the process-wide table of names that positions refer to. Names are never removed; after
/// 65,535 different names further ones share "(too many files)". Thread-safe.
std::uint16_t file_id(std::string_view name);
/// The name behind a number; "" for 0. Thread-safe.
std::string file_name(std::uint16_t id);

/// `FILE:LINE:COLUMN`, without the parts that are unknown; "" where nothing is.
std::string to_string(const Position& position);

}  // namespace digdag
