#pragma once

#include <string_view>

namespace digdag::dig {

// Kinds of characters in a YAML text; all are ASCII. '\0' stands for the end of the text and belongs to none.

inline bool is_digit(char c) { return c >= '0' && c <= '9'; }

inline bool is_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '-' || c == '_'; }

inline bool is_one_of(char c, std::string_view set) { return c != '\0' && set.find(c) != std::string_view::npos; }

/// -1 where it is none.
inline int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace digdag::dig
