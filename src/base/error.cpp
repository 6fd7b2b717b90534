#include "base/error.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/text.h"

namespace digdag {

Error::Error(std::string_view kind, std::string message) : std::runtime_error(message), details_(std::make_shared<Details>()) {
  details_->kind = kind;
  details_->message = std::move(message);
}

Error::Details& Error::own_details() {
  if (details_.use_count() > 1) details_ = std::make_shared<Details>(*details_);
  return *details_;
}

Error&& Error::at(Position position) && {
  own_details().position = position;
  return std::move(*this);
}

Error&& Error::hint(std::string text) && {
  own_details().hint = std::move(text);
  return std::move(*this);
}

Error&& Error::at(Position position, std::string_view what) && {
  Details& details = own_details();
  details.position = position;
  details.caret_length = static_cast<unsigned>(utf16_length(what));
  return std::move(*this);
}

Error&& Error::source(std::string line, unsigned caret_length) && {
  Details& details = own_details();
  details.source_line = std::move(line);
  details.caret_length = caret_length;
  return std::move(*this);
}

Error&& Error::because(Error cause) && {
  own_details().cause = std::make_shared<const Error>(std::move(cause));
  return std::move(*this);
}

std::string Error::message_with_kind() const {
  const Error* speaking = this;  // the first one of the chain that says something
  while (speaking->message().empty() && speaking->cause()) speaking = speaking->cause();
  if (speaking->message().empty()) return kind();
  if (kind().empty()) return speaking->message();
  return speaking->message() + " (" + kind() + ")";
}

namespace {

void append_causes(std::string& text, const Error& error) {
  for (const Error* cause = error.cause(); cause; cause = cause->cause()) {
    if (!cause->message().empty() && text.find(cause->message()) == std::string::npos) text += "\n> " + cause->message_with_kind();
  }
}

/// Columns that a character takes in a terminal.
unsigned width_of(char32_t c) {
  if ((c >= 0x300 && c <= 0x36F) || (c >= 0x200B && c <= 0x200F) || (c >= 0xFE00 && c <= 0xFE0F) || c == 0xFEFF) return 0;
  const bool wide = (c >= 0x1100 && c <= 0x115F) || (c >= 0x2E80 && c <= 0xA4CF && c != 0x303F) || (c >= 0xAC00 && c <= 0xD7A3) ||
                    (c >= 0xF900 && c <= 0xFAFF) || (c >= 0xFE30 && c <= 0xFE6F) || (c >= 0xFF00 && c <= 0xFF60) ||
                    (c >= 0xFFE0 && c <= 0xFFE6) || (c >= 0x1F300 && c <= 0x1FAFF) || (c >= 0x20000 && c <= 0x3FFFD);
  return wide ? 2 : 1;
}

struct Glyph {
  std::string bytes;
  unsigned width;
};

/// The characters of a line; what is not visible becomes a blank, so that nothing moves the caret.
std::vector<Glyph> glyphs_of(const std::string& line) {
  const std::string text = to_valid_utf8(line);
  std::vector<Glyph> glyphs;
  for (std::size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    const std::size_t length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    const std::string bytes = text.substr(i, length);
    const bool unseen = visible(bytes) != bytes;
    glyphs.push_back({unseen ? " " : bytes, unseen ? 1 : width_of(character_of(bytes))});
    i += length;
  }
  while (!glyphs.empty() && glyphs.back().bytes == " ") glyphs.pop_back();
  return glyphs;
}

constexpr std::size_t widest_line = 160;
constexpr std::string_view ellipsis = "...";
const std::string caret_gutter = "      | ";

/// The part of a line that is shown: all of it, or what surrounds the caret.
struct Window {
  std::size_t begin = 0, end = 0;
};

Window window_around(const std::vector<Glyph>& glyphs, std::size_t caret) {
  std::size_t width = 0;
  for (const Glyph& glyph : glyphs) width += glyph.width;
  if (width + caret_gutter.size() <= widest_line) return {0, glyphs.size()};

  const std::size_t room = widest_line - caret_gutter.size() - 2 * ellipsis.size();
  Window window{caret, caret};
  std::size_t used = 0;
  while (window.begin > 0 && used + glyphs[window.begin - 1].width <= room / 2) used += glyphs[--window.begin].width;
  while (window.end < glyphs.size() && used + glyphs[window.end].width <= room) used += glyphs[window.end++].width;
  while (window.begin > 0 && used + glyphs[window.begin - 1].width <= room) used += glyphs[--window.begin].width;
  return window;
}

/// The source line behind its number and, where the column is known, a caret line.
std::string excerpt(const Error& error) {
  const std::vector<Glyph> glyphs = glyphs_of(error.source_line());
  const Position& position = error.position();
  const std::size_t caret = std::min<std::size_t>(position.column == 0 ? 0 : position.column - 1, glyphs.size());
  const Window window = window_around(glyphs, caret);

  const std::string number = std::to_string(position.line);
  std::string text(number.size() < 5 ? 5 - number.size() : 0, ' ');
  text += number + " | ";
  std::string carets = std::string(text.size() - 2, ' ') + "| ";
  if (window.begin > 0) {
    text += ellipsis;
    carets.append(ellipsis.size(), ' ');
  }
  const std::size_t caret_end = std::min<std::size_t>(caret + std::max(1U, error.caret_length()), std::max(window.end, caret + 1));
  for (std::size_t i = window.begin; i < window.end; ++i) {
    text += glyphs[i].bytes;
    if (i < caret_end) carets.append(glyphs[i].width, i < caret ? ' ' : '^');
  }
  if (caret >= window.end) carets += '^';
  if (window.end < glyphs.size()) text += ellipsis;
  return position.column == 0 ? text : text + "\n" + carets;
}

}  // namespace

std::string Error::chain() const {
  std::string text = message_with_kind();
  append_causes(text, *this);
  return text;
}

std::string Error::report() const {
  const std::string place = to_string(position());
  std::string text = place.empty() ? message_with_kind() : place + ": " + message();
  if (position().known() && !source_line().empty()) text += "\n" + excerpt(*this);
  append_causes(text, *this);
  if (!hint_text().empty()) text += "\nhint: " + hint_text();
  return text;
}

Error config_error(std::string message) { return Error("config", std::move(message)); }
Error task_error(std::string message) { return Error("", std::move(message)); }

}  // namespace digdag
