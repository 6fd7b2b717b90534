#include "dig/yaml_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "base/text.h"
#include "dig/yaml_scanner.h"

namespace digdag::dig {
namespace {

using Kind = YamlToken::Kind;

/// Builds the nodes from the tokens: the grammar of YAML 1.1.
class Parser {
 public:
  Parser(std::string_view text, std::uint16_t file, std::size_t most_nodes, std::size_t most_depth)
      : scanner_(text, file), most_nodes_(most_nodes), most_depth_(most_depth) {}

  YamlDocument parse();

 private:
  struct Properties {
    YamlMark start;
    std::string anchor, tag;
    bool any = false;
  };

  bool next_is(Kind kind) { return scanner_.next_is(kind); }
  bool next_is(std::initializer_list<Kind> kinds) { return scanner_.next_is(kinds); }
  bool next_is_directive() { return next_is({Kind::version_directive, Kind::tag_directive, Kind::other_directive}); }
  /// The place behind a token of one character.
  static YamlMark behind(YamlMark mark) {
    ++mark.offset;
    ++mark.index;
    ++mark.column;
    return mark;
  }
  bool take_if(Kind kind) { return next_is(kind) && (scanner_.take_mark(), true); }
  [[noreturn]] void fail_at_next(std::string problem, std::string_view context, const YamlMark& begin) {
    scanner_.fail(std::move(problem), scanner_.peek().start, context, begin, scanner_.peek().length);
  }
  // Kept out of the functions that call themselves: the stack of an operator's thread is small.
  [[gnu::noinline, noreturn]] void fail_for_block_end(std::string_view context, const YamlMark& begin) {
    fail_at_next(fmt::format("expected <block end>, but found '{}'", name_of(scanner_.peek().kind)), context, begin);
  }
  [[gnu::noinline, noreturn]] void fail_for_comma(char end, std::string_view context, const YamlMark& begin) {
    fail_at_next(fmt::format("expected ',' or '{}', but got {}", end, name_of(scanner_.peek().kind)), context, begin);
  }

  /// False where the text ends instead.
  bool read_document_start();
  void read_directives();
  Properties read_properties();
  std::string resolve_tag(const YamlToken& token) const;

  const YamlNode* block_node() { return node(true, false); }
  const YamlNode* block_node_or_dashes() { return node(true, true); }
  const YamlNode* flow_node() { return node(false, false); }
  const YamlNode* node(bool block, bool dashes);
  [[gnu::noinline]] YamlNode* start_node(bool block, bool dashes);
  const YamlNode* alias();
  const YamlNode* empty_scalar(const YamlMark& at);
  YamlNode* make(YamlNode::Kind kind, const Properties& properties);

  void read_block_sequence(YamlNode& node);
  void read_dashes(YamlNode& node);
  void read_block_mapping(YamlNode& node);
  void read_flow_sequence(YamlNode& node);
  const YamlNode* read_pair();
  const YamlNode* read_flow_value(Kind end);
  void read_flow_mapping(YamlNode& node);

  YamlScanner scanner_;
  std::size_t most_nodes_;
  std::size_t most_depth_;
  std::size_t depth_ = 0;
  YamlDocument document_;
  std::unordered_map<std::string, const YamlNode*> anchors_;
  std::unordered_map<std::string, std::string> tag_prefixes_{{"!", "!"}, {"!!", "tag:yaml.org,2002:"}};
};

YamlDocument Parser::parse() {
  if (next_is(Kind::stream_end)) return std::move(document_);
  const YamlMark begin = scanner_.peek().start;
  const bool marked = next_is_directive() || next_is(Kind::document_start);
  if (marked && !read_document_start()) return std::move(document_);
  const bool empty = marked && (next_is_directive() || next_is({Kind::document_start, Kind::document_end, Kind::stream_end}));
  document_.root = empty ? empty_scalar(scanner_.peek().start) : block_node();
  while (take_if(Kind::document_end)) continue;
  if (!next_is(Kind::stream_end)) {
    const YamlMark second = scanner_.peek().start;
    if (!read_document_start()) return std::move(document_);
    scanner_.fail("expected a single document in the stream, but found another document", second, "after the document", begin);
  }
  return std::move(document_);
}

bool Parser::read_document_start() {
  read_directives();
  if (next_is(Kind::stream_end)) return false;
  if (!next_is(Kind::document_start)) {
    fail_at_next(fmt::format("expected '<document start>', but found '{}'", name_of(scanner_.peek().kind)), {}, {});
  }
  scanner_.take();
  return true;
}

void Parser::read_directives() {
  bool version = false;
  std::unordered_map<std::string, std::string> prefixes;
  while (next_is_directive()) {
    const YamlToken token = scanner_.take();
    if (token.kind == Kind::other_directive) continue;
    if (token.kind == Kind::version_directive) {
      if (std::exchange(version, true)) scanner_.fail("found duplicate YAML directive", token.start, {}, {});
      if (token.text != "1") scanner_.fail("found incompatible YAML document (version 1.* is required)", token.start, {}, {});
    } else if (!prefixes.emplace(token.handle, token.text).second) {
      scanner_.fail(fmt::format("duplicate tag handle {}", token.handle), token.start, {}, {});
    }
  }
  for (auto& [handle, prefix] : prefixes) tag_prefixes_[handle] = std::move(prefix);
}

Parser::Properties Parser::read_properties() {
  Properties properties{.start = scanner_.peek().start};
  const auto read_anchor = [&] {
    if (!next_is(Kind::anchor)) return;
    properties.anchor = scanner_.take().text;
    properties.any = true;
  };
  const auto read_tag = [&] {
    if (!next_is(Kind::tag)) return;
    properties.tag = resolve_tag(scanner_.take());
    properties.any = true;
  };
  if (next_is(Kind::tag)) {
    read_tag();
    read_anchor();
  } else {
    read_anchor();
    read_tag();
  }
  return properties;
}

std::string Parser::resolve_tag(const YamlToken& token) const {
  if (token.handle.empty()) return token.text;
  const auto prefix = tag_prefixes_.find(token.handle);
  if (prefix == tag_prefixes_.end())
    scanner_.fail(fmt::format("found undefined tag handle {}", token.handle), token.start, {}, {}, token.length);
  return prefix->second + token.text;
}

const YamlNode* Parser::alias() {
  const YamlToken token = scanner_.take();
  const auto named = anchors_.find(token.text);
  if (named == anchors_.end()) scanner_.fail(fmt::format("found undefined alias {}", token.text), token.start, {}, {}, token.length);
  return named->second;
}

YamlNode* Parser::make(YamlNode::Kind kind, const Properties& properties) {
  if (document_.nodes.size() >= most_nodes_) {
    scanner_.fail(fmt::format("YAML document too large: more than {} values", most_nodes_), properties.start, {}, {});
  }
  YamlNode& node = document_.nodes.emplace_back();
  node.id = static_cast<std::uint32_t>(document_.nodes.size() - 1);
  node.kind = kind;
  node.position = scanner_.position(properties.start);
  if (properties.tag != "!") node.tag = properties.tag;
  node.anchor = properties.anchor;
  if (!node.anchor.empty()) anchors_[node.anchor] = &node;
  return &node;
}

const YamlNode* Parser::empty_scalar(const YamlMark& at) {
  YamlNode* node = make(YamlNode::Kind::scalar, {.start = at});
  node->plain = true;
  return node;
}

/// `dashes`: as the value of a block mapping a list may stand at the indent of its key.
const YamlNode* Parser::node(bool block, bool dashes) {
  if (next_is(Kind::alias)) return alias();
  YamlNode* made = start_node(block, dashes);
  if (made->kind == YamlNode::Kind::scalar) return made;
  ++depth_;
  switch (scanner_.peek().kind) {
    case Kind::block_entry: read_dashes(*made); break;
    case Kind::flow_sequence_start: read_flow_sequence(*made); break;
    case Kind::flow_mapping_start: read_flow_mapping(*made); break;
    case Kind::block_sequence_start: read_block_sequence(*made); break;
    default: read_block_mapping(*made);
  }
  --depth_;
  return made;
}

/// Anchor, tag and kind of a node; of a scalar all of it.
YamlNode* Parser::start_node(bool block, bool dashes) {
  const Properties properties = read_properties();
  const Kind kind = scanner_.peek().kind;
  const bool sequence =
      kind == Kind::flow_sequence_start || (block && kind == Kind::block_sequence_start) || (dashes && kind == Kind::block_entry);
  const bool mapping = kind == Kind::flow_mapping_start || (block && kind == Kind::block_mapping_start);
  if (sequence || mapping) {
    if (depth_ >= most_depth_)
      scanner_.fail(fmt::format("YAML document too deep: more than {} levels", most_depth_), properties.start, {}, {});
    return make(sequence ? YamlNode::Kind::sequence : YamlNode::Kind::mapping, properties);
  }
  if (kind != Kind::scalar && !properties.any) {
    fail_at_next(fmt::format("expected the node content, but found '{}'", name_of(kind)), {}, {});
  }
  YamlNode* made = make(YamlNode::Kind::scalar, properties);
  made->plain = properties.tag.empty() || properties.tag == "!";
  if (kind == Kind::scalar) {
    YamlToken token = scanner_.take();
    made->plain = (token.plain && properties.tag.empty()) || properties.tag == "!";
    made->text = std::move(token.text);
  }
  return made;
}

void Parser::read_block_sequence(YamlNode& node) {
  const YamlMark begin = scanner_.take_mark();
  while (next_is(Kind::block_entry)) {
    const YamlMark at = behind(scanner_.take_mark());
    node.children.push_back(next_is({Kind::block_entry, Kind::block_end}) ? empty_scalar(at) : block_node());
  }
  if (!next_is(Kind::block_end)) fail_for_block_end("in the list", begin);
  scanner_.take();
}

void Parser::read_dashes(YamlNode& node) {
  while (next_is(Kind::block_entry)) {
    const YamlMark at = behind(scanner_.take_mark());
    const bool empty = next_is({Kind::block_entry, Kind::key, Kind::value, Kind::block_end});
    node.children.push_back(empty ? empty_scalar(at) : block_node());
  }
}

void Parser::read_block_mapping(YamlNode& node) {
  const YamlMark begin = scanner_.take_mark();
  const auto part = [&](const YamlMark& at) {
    return next_is({Kind::key, Kind::value, Kind::block_end}) ? empty_scalar(at) : block_node_or_dashes();
  };
  while (next_is(Kind::key)) {
    node.children.push_back(part(behind(scanner_.take_mark())));
    if (next_is(Kind::value)) {
      node.children.push_back(part(behind(scanner_.take_mark())));
    } else {  // `? "a" b` is a: b for the original
      node.children.push_back(next_is(Kind::scalar) ? block_node() : empty_scalar(scanner_.peek().start));
    }
  }
  if (!next_is(Kind::block_end)) fail_for_block_end("in the block", begin);
  scanner_.take();
}

void Parser::read_flow_sequence(YamlNode& node) {
  const YamlMark begin = scanner_.take_mark();
  for (bool first = true; !next_is(Kind::flow_sequence_end); first = false) {
    if (!first) {
      if (!take_if(Kind::flow_entry)) fail_for_comma(']', "in the list", begin);
      if (next_is(Kind::flow_sequence_end)) break;
    }
    node.children.push_back(next_is(Kind::key) ? read_pair() : flow_node());
  }
  scanner_.take();
}

/// `a: 1` within `[ ]`: an object of one member.
const YamlNode* Parser::read_pair() {
  const YamlMark begin = scanner_.take_mark();
  YamlNode* pair = make(YamlNode::Kind::mapping, {.start = begin});
  const bool no_key = next_is({Kind::value, Kind::flow_entry, Kind::flow_sequence_end});
  pair->children.push_back(no_key ? empty_scalar(begin) : flow_node());
  pair->children.push_back(read_flow_value(Kind::flow_sequence_end));
  return pair;
}

/// The value of a key within `{ }` or `[ ]`, which may be missing, with or without its colon.
const YamlNode* Parser::read_flow_value(Kind end) {
  if (!next_is(Kind::value)) return empty_scalar(scanner_.peek().start);
  const YamlMark at = behind(scanner_.take_mark());
  return next_is({Kind::flow_entry, end}) ? empty_scalar(at) : flow_node();
}

void Parser::read_flow_mapping(YamlNode& node) {
  const YamlMark begin = scanner_.take_mark();
  for (bool first = true; !next_is(Kind::flow_mapping_end); first = false) {
    if (!first) {
      if (!take_if(Kind::flow_entry)) fail_for_comma('}', "in the object", begin);
      if (next_is(Kind::flow_mapping_end)) break;
    }
    const YamlMark at = scanner_.peek().start;
    if (!take_if(Kind::key)) {
      node.children.push_back(flow_node());
      node.children.push_back(empty_scalar(scanner_.peek().start));
      continue;
    }
    const bool no_key = next_is({Kind::value, Kind::flow_entry, Kind::flow_mapping_end});
    node.children.push_back(no_key ? empty_scalar(at) : flow_node());
    node.children.push_back(read_flow_value(Kind::flow_mapping_end));
  }
  scanner_.take();
}

/// What may stand in a YAML text; everything else is refused wherever it stands, in comments too.
bool is_printable(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t ahead) { return at + ahead < text.size() ? static_cast<unsigned char>(text[at + ahead]) : 0U; };
  const unsigned c = byte(0);
  if (c < 0x80) {
    ++at;
    return (c >= 0x20 && c <= 0x7E) || c == '\n' || c == '\r' || c == '\t';
  }
  if (c < 0xE0) {
    const unsigned code = ((c & 0x1FU) << 6U) | (byte(1) & 0x3FU);
    at += 2;
    return code == 0x85 || code >= 0xA0;
  }
  if (c < 0xF0) {
    const unsigned code = ((c & 0x0FU) << 12U) | ((byte(1) & 0x3FU) << 6U) | (byte(2) & 0x3FU);
    at += 3;
    return code <= 0xFFFD;
  }
  at += 4;
  return true;
}

/// The line of a text (from 1), without its line end; empty where there is no such line.
std::string_view line_of(std::string_view text, std::uint32_t line) {
  for (; line > 1; --line) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  text = text.substr(0, text.find('\n'));
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

void check_characters(std::string_view text, std::uint16_t file) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t start = at;
    if (is_printable(text, at)) continue;
    const std::string_view before = text.substr(0, start);
    const auto line = static_cast<std::uint32_t>(std::count(before.begin(), before.end(), '\n') + 1);
    const std::size_t column = start - (before.rfind('\n') + 1) + 1;
    Position position{line, static_cast<std::uint16_t>(std::min<std::size_t>(column, 65535)), file};
    throw Error("parser", fmt::format("special characters are not allowed: 0x{:02X}", static_cast<unsigned char>(text[start])))
        .at(position)
        .hint("in double quotes it can be written as \\x or \\u with its number");
  }
}

}  // namespace

YamlDocument read_yaml(std::string_view text, std::uint16_t file, std::size_t most_nodes, std::size_t most_depth) {
  if (!is_valid_utf8(text)) {
    const std::string repaired = to_valid_utf8(text);
    check_characters(repaired, file);
    return Parser(repaired, file, most_nodes, most_depth).parse();
  }
  check_characters(text, file);
  return Parser(text, file, most_nodes, most_depth).parse();
}

Error with_source_line(Error error, std::string_view text) {
  if (!error.position().known() || !error.source_line().empty()) return error;
  const unsigned caret = error.caret_length();
  std::string line(line_of(text, error.position().line));
  return std::move(error).source(std::move(line), caret);
}

}  // namespace digdag::dig
