#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/position.h"

namespace digdag::dig {

/// A node of a YAML document as it was written: nothing is resolved, merged or included yet.
struct YamlNode {
  enum class Kind : std::uint8_t { scalar, sequence, mapping };

  std::uint32_t id = 0;  ///< its number in the document, from 0
  Kind kind = Kind::scalar;
  bool plain = false;  ///< a scalar whose text decides its type: unquoted without a tag, or with the tag `!`
  std::string anchor;  ///< by which aliases may name it; empty where it has none
  std::string tag;     ///< `tag:yaml.org,2002:int`, `!include`; empty where it has none
  std::string text;    ///< of a scalar
  /// Of a sequence its items; of a mapping keys and values alternating. An alias is the pointer to the node that it names,
  /// which may be a node around it (a recursive alias).
  std::vector<const YamlNode*> children;
  Position position;
};

/// One parsed document. The nodes live as long as it does.
struct YamlDocument {
  std::deque<YamlNode> nodes;
  const YamlNode* root = nullptr;  ///< nullptr where the text holds no document
};

/// Parses one YAML document (spec/language.md 2.1). `file` is the number of its name (file_id). Throws Error(config) with the
/// position, its line and a hint at the first fault; also where there are more than `most_nodes` nodes or they lie deeper
/// than `most_depth`.
YamlDocument read_yaml(std::string_view text, std::uint16_t file, std::size_t most_nodes, std::size_t most_depth);

/// `error` with the line of `text` that it points into. Nothing changes where the position is unknown or outside.
Error with_source_line(Error error, std::string_view text);

}  // namespace digdag::dig
