#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace digdag {

std::vector<std::string> split(std::string_view text, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string_view trim(std::string_view text);
bool is_blank(std::string_view text);
std::string lower(std::string_view text);  ///< ASCII only
std::string replace_all(std::string text, std::string_view what, std::string_view with);

void append_utf8(std::string& text, char32_t character);
/// The one character that the bytes are, which must be well-formed.
char32_t character_of(std::string_view utf8);
/// Malformed bytes become U+FFFD, as Java decodes UTF-8.
std::string to_valid_utf8(std::string_view bytes);
bool is_valid_utf8(std::string_view bytes);
/// The beginning of a UTF-8 text: its first characters that fit into `most` bytes.
std::string_view first_bytes(std::string_view text, std::size_t most);
/// A text as it may be shown: control characters, separators of lines and what turns the direction of writing become `\u001b`,
/// so that a name does nothing to a terminal and looks like no other. Characters in `kept` stay.
std::string visible(std::string_view text, std::string_view kept = {});
/// The first `units` UTF-16 code units of a UTF-8 text (Java's substring; a cut surrogate pair becomes `?`).
std::string first_utf16_units(std::string_view text, std::size_t units);
std::size_t utf16_length(std::string_view text);
/// application/x-www-form-urlencoded, as java.net.URLEncoder (blank → `+`).
std::string form_urlencode(std::string_view text);
std::string percent_decode(std::string_view text);

/// As Java's Integer.parseInt: 32 bits, an optional sign, digits.
std::optional<std::int32_t> parse_java_int(std::string_view text);

/// Edit distance.
std::size_t levenshtein(std::string_view a, std::string_view b);
/// The known words within half of their own length of `word`, nearest first, then by name (spec/language.md 5.1.4, L-13).
std::vector<std::string> similar_words(std::string_view word, const std::vector<std::string>& known);

/// Whether a parameter of this name becomes an environment variable: `[a-zA-Z_][a-zA-Z_0-9]*`.
bool is_environment_name(std::string_view name);
/// A random UUID, version 4, in lower case.
std::string random_uuid();

}  // namespace digdag
