#pragma once

#include <deque>
#include <string>
#include <vector>

#include "store/database.h"
#include "store/postgresql_library.h"

namespace digdag::store {

/// Parameters as libpq takes them. Texts in the server's notation, bytes as they are; the server infers the types.
class PostgresqlParameters {
 public:
  /// `values` must outlive this object.
  explicit PostgresqlParameters(const SqlValues& values);
  /// Each column as one array, for `unnest($1::bigint[], …)`.
  explicit PostgresqlParameters(const std::vector<SqlValues>& columns);

  int count() const { return static_cast<int>(texts_.size()); }
  const char* const* texts() const { return texts_.data(); }
  const int* lengths() const { return lengths_.data(); }
  const int* formats() const { return formats_.data(); }

 private:
  void add(const char* text, std::size_t length, bool binary);
  void add_own(std::string text);

  std::vector<const char*> texts_;
  std::vector<int> lengths_, formats_;
  std::deque<std::string> own_;
};

/// A value of an answer in binary format. std::logic_error for a type that no statement of ours gives (numeric, float).
SqlValue postgresql_value(unsigned type, std::string_view bytes);

/// `2026-01-02 03:04:05.000678+00`, exact.
std::string postgresql_time(Timestamp time);

}  // namespace digdag::store
