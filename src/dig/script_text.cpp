#include "base/text.h"
#include "dig/script_state.h"

namespace digdag::dig {
namespace {

/// A code point below U+10000 in three bytes, surrogates too.
void append_three_bytes(std::string& out, unsigned unit) {
  out += static_cast<char>(0xe0 | (unit >> 12));
  out += static_cast<char>(0x80 | ((unit >> 6) & 0x3f));
  out += static_cast<char>(0x80 | (unit & 0x3f));
}

/// The surrogate in three bytes at the start of `text`; 0 where there is none.
unsigned surrogate_at(std::string_view text) {
  if (text.size() < 3 || text[0] != '\xed' || (static_cast<unsigned char>(text[1]) & 0xe0) != 0xa0) return 0;
  return 0xd000u | (static_cast<unsigned>(text[1] & 0x3f) << 6) | static_cast<unsigned>(text[2] & 0x3f);
}

bool has_byte_from(std::string_view text, unsigned char least) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= least) return true;
  }
  return false;
}

}  // namespace

void push_text(duk_context* js, std::string_view utf8) {
  if (!has_byte_from(utf8, 0xf0)) {
    duk_push_lstring(js, utf8.data(), utf8.size());
    return;
  }
  std::string out;
  out.reserve(utf8.size() + utf8.size() / 2);
  for (std::size_t i = 0; i < utf8.size(); ++i) {
    const auto lead = static_cast<unsigned char>(utf8[i]);
    if (lead < 0xf0 || i + 3 >= utf8.size()) {
      out += utf8[i];
      continue;
    }
    unsigned point = lead & 0x07u;
    for (std::size_t k = 1; k <= 3; ++k) point = (point << 6) | (static_cast<unsigned char>(utf8[i + k]) & 0x3fu);
    append_three_bytes(out, 0xd800u + ((point - 0x10000) >> 10));
    append_three_bytes(out, 0xdc00u + ((point - 0x10000) & 0x3ff));
    i += 3;
  }
  duk_push_lstring(js, out.data(), out.size());
}

std::string text_at(duk_context* js, duk_idx_t index) {
  duk_size_t size = 0;
  const char* const bytes = duk_get_lstring(js, index, &size);
  const std::string_view text(bytes ? bytes : "", size);
  if (!has_byte_from(text, 0x80)) return std::string(text);
  std::string out;
  out.reserve(size);
  for (std::size_t i = 0; i < text.size();) {
    const unsigned high = surrogate_at(text.substr(i));
    if (high == 0) {
      out += text[i++];
      continue;
    }
    const unsigned low = high < 0xdc00 ? surrogate_at(text.substr(i + 3)) : 0;
    if (low < 0xdc00) {
      out += "\ufffd";
      i += 3;
      continue;
    }
    const unsigned point = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    out += static_cast<char>(0xf0 | (point >> 18));
    out += static_cast<char>(0x80 | ((point >> 12) & 0x3f));
    out += static_cast<char>(0x80 | ((point >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (point & 0x3f));
    i += 6;
  }
  return to_valid_utf8(out);
}

}  // namespace digdag::dig
