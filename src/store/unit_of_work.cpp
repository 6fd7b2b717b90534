#include "store/unit_of_work.h"

#include <stdexcept>

#include "base/text.h"

namespace digdag::store {
namespace {

thread_local bool running = false;

}  // namespace

UnitOfWork::UnitOfWork() {
  must_not_be_nested();
  running = true;
}
UnitOfWork::~UnitOfWork() { running = false; }

void UnitOfWork::must_not_be_nested() {
  if (running) throw std::logic_error("a piece of work opens another one inside of itself");
}

const std::string& storable(const std::string& text) {
  using Cause = DatabaseError::Cause;
  if (text.find('\0') != std::string::npos) throw DatabaseError(Cause::refused, "a text with a NUL character cannot be stored");
  if (!is_valid_utf8(text)) throw DatabaseError(Cause::refused, "a text that is not UTF-8 cannot be stored");
  return text;
}

std::string shown(const char* sql) {
  constexpr std::size_t most = 160;
  const std::string text = replace_all(sql, "\n", " ");
  return text.size() <= most ? text : std::string(first_bytes(text, most)) + "...";
}

DatabaseError unexpected_rows(const char* sql, std::int64_t expected, std::int64_t changed) {
  return {DatabaseError::Cause::unexpected_rows,
          "a statement changed " + std::to_string(changed) + " rows, not " + std::to_string(expected) + ": " + shown(sql)};
}

std::size_t row_count(const std::vector<SqlValues>& columns) {
  const std::size_t rows = columns.empty() ? 0 : columns.front().size();
  for (const SqlValues& column : columns) {
    if (column.size() != rows) throw std::logic_error("the columns of a batch have different lengths");
  }
  return rows;
}

}  // namespace digdag::store
