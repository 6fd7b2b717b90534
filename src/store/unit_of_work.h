#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "store/database.h"

namespace digdag::store {

// What the drivers share.

/// While it lives, this thread runs a piece of work; a second one inside of the first is a std::logic_error, because with few connections
/// the two would wait for each other for ever.
class UnitOfWork {
 public:
  UnitOfWork();
  ~UnitOfWork();
  UnitOfWork(const UnitOfWork&) = delete;
  UnitOfWork& operator=(const UnitOfWork&) = delete;
  /// Throws where this thread is inside of a piece of work.
  static void must_not_be_nested();
};

/// A text as both databases take it: DatabaseError(refused) for one with a NUL character or that is not UTF-8.
const std::string& storable(const std::string& text);

/// A statement as an error shows it: on one line, cut.
std::string shown(const char* sql);

/// DatabaseError(unexpected_rows).
DatabaseError unexpected_rows(const char* sql, std::int64_t expected, std::int64_t changed);

/// The columns of `send_rows` have equal lengths: that length. Else std::logic_error.
std::size_t row_count(const std::vector<SqlValues>& columns);

}  // namespace digdag::store
