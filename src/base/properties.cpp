#include "base/properties.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/config.h"
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

namespace digdag {
namespace {

bool is_blank_character(char c) { return c == ' ' || c == '\t' || c == '\f'; }
bool is_line_end(char c) { return c == '\n' || c == '\r'; }

std::string utf8_of_latin1(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (const char c : bytes) append_utf8(text, static_cast<unsigned char>(c));
  return text;
}

/// Reads natural lines, joins continued ones and takes keys and values apart. Works on UTF-8.
class PropertiesReader {
 public:
  explicit PropertiesReader(std::string_view text) : text_(text) {}

  std::vector<std::pair<std::string, std::string>> entries() {
    std::vector<std::pair<std::string, std::string>> all;
    while (begin_line()) {
      std::string key = read(true);
      skip_separator();
      std::string value = read(false);
      all.emplace_back(std::move(key), std::move(value));
    }
    return all;
  }

 private:
  bool at_end() const { return at_ >= text_.size() || is_line_end(text_[at_]); }

  /// Moves to the first character of the next line that is neither blank nor a comment.
  bool begin_line() {
    for (;;) {
      while (at_ < text_.size() && (is_blank_character(text_[at_]) || is_line_end(text_[at_]))) ++at_;
      if (at_ >= text_.size()) return false;
      if (text_[at_] != '#' && text_[at_] != '!') return true;
      while (!at_end()) ++at_;
    }
  }

  /// Skips a backslash before a line end, the line end, and the blanks that the next line starts with.
  bool skip_continuation() {
    if (at_ >= text_.size() || text_[at_] != '\\') return false;
    if (at_ + 1 < text_.size() && !is_line_end(text_[at_ + 1])) return false;
    ++at_;
    if (at_ < text_.size() && text_[at_] == '\r' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n') ++at_;
    if (at_ < text_.size()) ++at_;
    while (at_ < text_.size() && is_blank_character(text_[at_])) ++at_;
    return true;
  }

  void skip_separator() {
    bool sign_seen = false;
    for (;;) {
      if (skip_continuation()) continue;
      if (at_end()) return;
      const char c = text_[at_];
      if (!sign_seen && (c == '=' || c == ':')) {
        sign_seen = true;
      } else if (!is_blank_character(c)) {
        return;
      }
      ++at_;
    }
  }

  std::string read(bool is_key) {
    std::string result;
    for (;;) {
      if (skip_continuation()) continue;
      if (at_end()) return result;
      const char c = text_[at_];
      if (is_key && (c == '=' || c == ':' || is_blank_character(c))) return result;
      if (c == '\\') {
        read_escape(result);
      } else {
        result += c;
        ++at_;
      }
    }
  }

  void read_escape(std::string& result) {
    const char c = text_[at_ + 1];
    if (c == 'u') {
      read_unicode(result);
      return;
    }
    static constexpr std::string_view letters = "tnrf";
    static constexpr std::string_view meanings = "\t\n\r\f";
    const std::size_t i = letters.find(c);
    result += i == std::string_view::npos ? c : meanings[i];
    at_ += 2;
  }

  void read_unicode(std::string& result) {
    unsigned unit = read_unit();
    if (unit >= 0xD800 && unit < 0xDC00 && text_.substr(at_).starts_with("\\u")) {
      const std::size_t second = at_;
      const unsigned low = read_unit();
      if (low >= 0xDC00 && low < 0xE000) {
        append_utf8(result, 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00));
        return;
      }
      at_ = second;
    }
    if (unit >= 0xD800 && unit < 0xE000) unit = 0xFFFD;
    append_utf8(result, unit);
  }

  /// The code unit of the `\uXXXX` that starts here.
  unsigned read_unit() {
    const std::string_view digits = text_.substr(at_ + 2, 4);
    unsigned unit = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), unit, 16);
    if (digits.size() != 4 || error != std::errc() || end != digits.data() + 4) {
      const std::string_view before = text_.substr(0, at_);
      const auto line = 1 + std::count(before.begin(), before.end(), '\n');
      throw Error("illegal argument", fmt::format("Malformed \\uxxxx encoding in line {}: four hexadecimal digits must follow \\u", line));
    }
    at_ += 6;
    return unit;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

std::vector<std::pair<std::string, std::string>> parse_properties(std::string_view text, bool latin1) {
  for (const std::string_view mark : {"\xFF\xFE", "\xFE\xFF"}) {
    if (text.starts_with(mark)) throw Error("illegal argument", "The text is UTF-16, it must be UTF-8 or ISO-8859-1");
  }
  if (constexpr std::string_view mark = "\xEF\xBB\xBF"; text.starts_with(mark)) {
    text.remove_prefix(mark.size());
    latin1 = false;
  }
  const std::string utf8 = latin1 ? utf8_of_latin1(text) : to_valid_utf8(text);
  return PropertiesReader(utf8).entries();
}

const SystemConfig& SystemConfig::empty() {
  static const SystemConfig nothing;
  return nothing;
}

std::optional<std::string> SystemConfig::get(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? std::nullopt : std::optional(found->second);
}

std::string SystemConfig::get_or(std::string_view key, std::string_view fallback) const { return get(key).value_or(std::string(fallback)); }

std::int64_t SystemConfig::integer_or(std::string_view key, std::int64_t fallback) const {
  const auto text = get(key);
  return text && !is_blank(*text) ? convert_to_long(Value(*text), key) : fallback;
}

bool SystemConfig::boolean_or(std::string_view key, bool fallback) const {
  const auto text = get(key);
  return text && !is_blank(*text) ? convert_to_boolean(Value(*text), key) : fallback;
}

std::vector<std::string> SystemConfig::list(std::string_view key) const {
  std::vector<std::string> parts;
  for (const std::string& part : split(get_or(key, ""), ',')) {
    if (!is_blank(part)) parts.emplace_back(trim(part));
  }
  return parts;
}

std::vector<std::pair<std::string, std::string>> SystemConfig::below(std::string_view prefix) const {
  std::vector<std::pair<std::string, std::string>> found;
  for (auto i = values_.lower_bound(prefix); i != values_.end() && i->first.starts_with(prefix); ++i) {
    found.emplace_back(i->first.substr(prefix.size()), i->second);
  }
  return found;
}

void set_nested(Value& object, std::string_view dotted_key, Value value) {
  constexpr auto deepest_nesting = 200;  // as in JSON and YAML
  if (std::count(dotted_key.begin(), dotted_key.end(), '.') >= deepest_nesting) {
    throw config_error(fmt::format("Parameter '{}...' has more than {} names between dots", dotted_key.substr(0, 40), deepest_nesting));
  }
  Value* place = &object;
  std::size_t begin = 0;
  for (;;) {
    const std::size_t end = dotted_key.find('.', begin);
    Object& members = place->mutable_object();
    const std::string_view name = dotted_key.substr(begin, end == std::string_view::npos ? end : end - begin);
    Value* existing = members.find_mutable(name);
    if (end == std::string_view::npos) {
      if (existing && existing->is_object() && !existing->as_object().empty() && !value.is_object()) {
        const std::string nested = fmt::format("{}.{}", dotted_key, existing->as_object()[0].key);
        throw config_error(fmt::format("Parameter '{}' is set but '{}' is not a object ({})", nested, dotted_key, to_json(value)));
      }
      members.set(name, std::move(value));
      return;
    }
    if (!existing) {
      members.set(name, Value::object());
      existing = members.find_mutable(name);
    }
    if (!existing->is_object()) {
      throw config_error(
          fmt::format("Parameter '{}' is set but '{}' is not a object ({})", dotted_key, dotted_key.substr(0, end), to_json(*existing)));
    }
    place = existing;
    begin = end + 1;
  }
}

}  // namespace digdag
