#include "dig/source_lines.h"

#include <utility>

#include "base/file.h"

namespace digdag::dig {
namespace {

constexpr std::size_t longest_file = 64u << 20;

std::vector<std::size_t> line_starts(std::string_view text) {
  std::vector<std::size_t> starts{0};
  for (std::size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n', end + 1)) starts.push_back(end + 1);
  return starts;
}

}  // namespace

void SourceLines::add(std::string_view display_name, std::string_view text) {
  texts_[file_id(display_name)] = {std::string(text), line_starts(text)};
}

const SourceLines::Text& SourceLines::text_of(std::uint16_t file) {
  const auto [known, fresh] = texts_.try_emplace(file);
  if (fresh) {
    try {
      known->second.content = read_file(root_ / file_name(file), longest_file);
      known->second.starts = line_starts(known->second.content);
    } catch (const Error&) {
      // The line is an extra: the error itself says where.
    }
  }
  return known->second;
}

Error SourceLines::complete(Error error) {
  const Position& position = error.position();
  if (!position.known() || position.file == 0 || !error.source_line().empty()) return error;
  const Text& text = text_of(position.file);
  if (position.line > text.starts.size()) return error;
  const std::size_t start = text.starts[position.line - 1];
  std::string_view line = std::string_view(text.content).substr(start, text.content.find('\n', start) - start);
  if (line.ends_with('\r')) line.remove_suffix(1);
  const unsigned caret = error.caret_length();
  return std::move(error).source(std::string(line), caret);
}

}  // namespace digdag::dig
