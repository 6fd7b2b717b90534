#pragma once

#include <cstddef>
#include <string_view>

#include "store/database.h"

namespace digdag::store {

/// A text of the program as a parameter of a template.
template <std::size_t N>
struct SqlText {
  consteval explicit(false) SqlText(const char (&literal)[N]) {
    for (std::size_t i = 0; i < N; ++i) text[i] = literal[i];
  }
  char text[N];
};

/// The same with the types that SQLite has: an id must be `integer primary key` to be the number of the row itself.
template <SqlText source>
struct SqliteTypes {
  static constexpr std::string_view types[][2] = {
      {"bigserial primary key", "integer primary key autoincrement"},
      {"serial primary key", "integer primary key autoincrement"},
      {"bigint primary key", "integer primary key"},
      {" bytea", " blob"},
      {" uuid ", " text "},
  };
  struct Buffer {
    char text[sizeof source.text + 64] = {};
  };
  static consteval Buffer translated() {
    Buffer out;
    std::size_t length = 0;
    for (std::string_view rest(source.text, sizeof source.text - 1); !rest.empty();) {
      std::string_view piece = rest.substr(0, 1);
      std::size_t taken = 1;
      for (const auto& [theirs, ours] : types) {
        if (!rest.starts_with(theirs)) continue;
        piece = ours;
        taken = theirs.size();
        break;
      }
      for (const char c : piece) out.text[length++] = c;
      rest.remove_prefix(taken);
    }
    return out;
  }
  static constexpr Buffer buffer = translated();
};

template <SqlText source>
struct PostgresqlText {
  static constexpr SqlText text = source;
};

/// A statement that makes something, written with the types of PostgreSQL.
template <SqlText source>
consteval Sql for_both() {
  return {PostgresqlText<source>::text.text, SqliteTypes<source>::buffer.text};
}

}  // namespace digdag::store
