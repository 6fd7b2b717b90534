// YAML as the original's state files and `check` print it.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/text.h"

namespace digdag {
namespace {

/// Words that YAML 1.1 reads as something else than a text.
bool is_reserved(std::string_view key) {
  static constexpr std::array<std::string_view, 8> words{"y", "yes", "n", "no", "on", "off", "true", "false"};
  const std::string word = lower(key);
  return word == "null" || std::find(words.begin(), words.end(), word) != words.end();
}

/// U+0085, U+2028, U+2029 (line ends to YAML), U+FEFF and other C1 control characters must be escaped.
std::size_t special_character(std::string_view text, std::string& escaped) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(i < text.size() ? text[i] : '\0'); };
  if (byte(0) == 0xC2 && byte(1) < 0xA0) {
    escaped = fmt::format("\\x{:02X}", byte(1));
    return 2;
  }
  const std::string_view three = text.substr(0, 3);
  if (three == "\xE2\x80\xA8" || three == "\xE2\x80\xA9" || three == "\xEF\xBB\xBF") {
    escaped = three == "\xE2\x80\xA8" ? "\\L" : three == "\xE2\x80\xA9" ? "\\P" : "\\uFEFF";
    return 3;
  }
  return 0;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    std::string escaped;
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\0': out += "\\0"; break;
      case '\a': out += "\\a"; break;
      case '\b': out += "\\b"; break;
      case '\t': out += "\\t"; break;
      case '\n': out += "\\n"; break;
      case '\v': out += "\\v"; break;
      case '\f': out += "\\f"; break;
      case '\r': out += "\\r"; break;
      case '\x1B': out += "\\e"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
          out += fmt::format("\\x{:02X}", static_cast<unsigned char>(c));
        } else if (const std::size_t length = special_character(text.substr(i), escaped); length > 0) {
          out += escaped;
          i += length - 1;
        } else {
          out += c;
        }
    }
  }
  return out + "\"";
}

/// Whether a key can stand without quotes and is read back as this text. Keys that start like a number, `+a` too, are quoted.
bool is_plain_key(std::string_view key) {
  if (key.empty() || is_reserved(key)) return false;
  static constexpr std::string_view not_first = "-?:,[]{}#&*!|>'\"%@`+.~=<0123456789";
  if (not_first.find(key.front()) != std::string_view::npos) return false;
  if (key.front() == ' ' || key.back() == ' ' || key.back() == ':') return false;
  if (key.find(": ") != std::string_view::npos || key.find(" #") != std::string_view::npos) return false;
  return quoted(key) == fmt::format("\"{}\"", key);  // nothing in it needs an escape
}

std::string scalar(const Value& value) {
  if (value.is_string()) return quoted(value.as_string());
  if (value.is_array()) return "[]";
  if (value.is_object()) return "{}";
  return to_json(value);
}

bool is_block(const Value& value) {
  return (value.is_array() && !value.as_array().empty()) || (value.is_object() && !value.as_object().empty());
}

/// Writes a non-empty list or object. Its first line continues one that is already indented.
void write_block(std::string& out, const Value& value, std::size_t indent) {
  const std::string margin(indent, ' ');
  bool first = true;
  const auto begin_line = [&] {
    if (!first) out += margin;
    first = false;
  };
  if (value.is_array()) {
    for (const Value& element : value.as_array()) {
      begin_line();
      out += "- ";
      if (is_block(element)) {
        write_block(out, element, indent + 2);
      } else {
        out += scalar(element) + "\n";
      }
    }
    return;
  }
  constexpr std::size_t longest_simple_key = 1000;  // YAML reads no longer ones without `? `
  for (const Object::Member& member : value.as_object()) {
    begin_line();
    const std::string key = is_plain_key(member.key) ? member.key : quoted(member.key);
    const bool simple = key.size() <= longest_simple_key;
    if (!simple) out += "? ";
    out += key;
    if (!simple) out.append("\n").append(margin);
    out += ':';
    if (is_block(member.value)) {
      const std::size_t inner = member.value.is_array() ? indent : indent + 2;
      out += '\n' + std::string(inner, ' ');
      write_block(out, member.value, inner);
    } else {
      out += ' ' + scalar(member.value) + "\n";
    }
  }
}

}  // namespace

std::string to_yaml(const Value& value, int indent) {
  std::string out(static_cast<std::size_t>(indent), ' ');
  if (is_block(value)) {
    write_block(out, value, static_cast<std::size_t>(indent));
  } else {
    out += scalar(value) + "\n";
  }
  return out;
}

}  // namespace digdag
