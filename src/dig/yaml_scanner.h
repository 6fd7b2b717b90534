#pragma once

#include <cstdint>
#include <deque>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/position.h"

namespace digdag::dig {

/// A place in a YAML text; line and column from 0, counted in characters.
struct YamlMark {
  std::size_t offset = 0;  ///< in bytes
  std::size_t index = 0;   ///< in characters
  std::uint32_t line = 0;
  std::uint32_t column = 0;
};

struct YamlToken {
  enum class Kind : std::uint8_t {
    stream_end,
    version_directive,
    tag_directive,
    other_directive,
    document_start,
    document_end,
    block_sequence_start,
    block_mapping_start,
    block_end,
    flow_sequence_start,
    flow_mapping_start,
    flow_sequence_end,
    flow_mapping_end,
    block_entry,
    flow_entry,
    key,
    value,
    alias,
    anchor,
    tag,
    scalar,
  };

  Kind kind = Kind::stream_end;
  bool plain = false;  ///< an unquoted scalar
  YamlMark start;
  std::string text;        ///< of a scalar; the name of an anchor or alias; the suffix of a tag; the prefix of a tag directive
  std::string handle;      ///< of a tag or a tag directive
  std::size_t length = 1;  ///< in bytes, as far as it lies on its first line
};

/// How an error names a token: `<scalar>`, `?`, `<block end>`.
std::string_view name_of(YamlToken::Kind kind);

/// Cuts a YAML 1.1 text into tokens and finds the block structure in its indentation.
///
/// Own code, because the texts that are accepted must be those of the original (spec/language.md 2.1): libyaml takes a TAB
/// between `:` and a value and refuses a TAB at the start of a block scalar, a surrogate pair written as
/// `\ud83c\udf89` and unknown directives, where it is the other way round.
class YamlScanner {
 public:
  /// `text` is valid UTF-8 and must outlive the scanner; `file` is the number of its name (file_id).
  YamlScanner(std::string_view text, std::uint16_t file);

  const YamlToken& peek();
  YamlToken take();
  /// Takes the next token for its place alone.
  YamlMark take_mark();
  bool next_is(YamlToken::Kind kind) { return peek().kind == kind; }
  bool next_is(std::initializer_list<YamlToken::Kind> kinds);

  /// Throws Error(config) with the position, its line and a hint. `context` says what began where, for the hint.
  [[noreturn]] void fail(std::string problem, const YamlMark& at, std::string_view context, const YamlMark& begin,
                         std::size_t length = 1) const;
  Position position(const YamlMark& mark) const;

 private:
  /// A token that becomes the key of a mapping if a `:` follows on the same line, within 1024 characters.
  struct PossibleKey {
    std::size_t token_number;
    bool required;  ///< it stands at the indent of a block mapping: nothing else than a key can stand there
    YamlMark mark;
  };
  enum class Chomping { clip, strip, keep };

  // ---- characters ----
  char at(std::size_t ahead = 0) const { return mark_.offset + ahead < text_.size() ? text_[mark_.offset + ahead] : '\0'; }
  bool at_end(std::size_t ahead = 0) const { return mark_.offset + ahead >= text_.size(); }
  /// How many bytes the line break there has; 0 where there is none.
  std::size_t break_length(std::size_t ahead = 0) const;
  bool is_break_or_end(std::size_t ahead) const { return at_end(ahead) || break_length(ahead) > 0; }
  bool is_blank_or_end(std::size_t ahead, std::string_view others = {}) const;
  bool at_document_mark() const;
  void forward(std::size_t bytes);
  void skip_blanks();
  std::string take_break();
  std::string character_here() const;
  [[noreturn]] void fail_here(std::string problem, std::string_view context, const YamlMark& begin) const;

  // ---- structure ----
  bool need_more_tokens();
  void fetch_more_tokens();
  void skip_to_token();
  void remove_stale_keys();
  void save_possible_key();
  void remove_possible_key();
  void unwind_indent(std::int64_t column);
  bool add_indent(std::int64_t column);
  YamlToken& add(YamlToken::Kind kind, std::size_t length);
  void insert(std::size_t token_number, YamlToken::Kind kind, const YamlMark& mark);

  // ---- tokens ----
  void fetch_stream_end();
  void fetch_directive();
  void fetch_version(const YamlMark& begin);
  void fetch_tag_directive(const YamlMark& begin);
  void fetch_document_mark(YamlToken::Kind kind);
  void fetch_flow_start(YamlToken::Kind kind);
  void fetch_flow_end(YamlToken::Kind kind);
  void fetch_flow_entry();
  void fetch_block_entry();
  void fetch_key();
  void fetch_value();
  void fetch_anchor(YamlToken::Kind kind);
  void fetch_tag();
  void fetch_block_scalar(bool folded);
  void fetch_quoted_scalar(bool double_quoted);
  void fetch_plain_scalar();
  [[noreturn]] void fail_at_unknown_character() const;

  std::string scan_tag_handle(std::string_view context, const YamlMark& begin);
  std::string scan_tag_uri(std::string_view context, const YamlMark& begin);
  unsigned scan_escaped_byte(std::string_view context, const YamlMark& begin);
  void scan_rest_of_line(std::string_view context, const YamlMark& begin);
  std::pair<Chomping, std::int64_t> scan_block_header(const YamlMark& begin);
  std::string scan_block_indentation(std::int64_t& deepest);
  std::string scan_block_breaks(std::int64_t indent);
  void scan_escape(std::string& text, const YamlMark& begin);
  void scan_quoted_text(std::string& text, bool double_quoted, const YamlMark& begin);
  void scan_quoted_spaces(std::string& text, const YamlMark& begin);
  std::string scan_quoted_breaks(const YamlMark& begin);
  std::string scan_plain_spaces();

  std::string_view text_;
  std::uint16_t file_;
  YamlMark mark_;
  bool done_ = false;
  std::deque<YamlToken> tokens_;
  std::size_t tokens_taken_ = 0;
  std::size_t flow_level_ = 0;
  std::int64_t indent_ = -1;
  std::vector<std::int64_t> indents_;
  bool allow_key_ = true;                                  ///< whether a key may start here
  std::vector<std::optional<PossibleKey>> possible_keys_;  ///< by flow level
};

}  // namespace digdag::dig
