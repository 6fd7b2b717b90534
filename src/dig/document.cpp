#include "dig/document.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "dig/yaml_reader.h"
#include "dig/yaml_resolver.h"

namespace digdag::dig {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_errors = 100;
constexpr std::size_t most_warnings = 1000;
constexpr std::size_t most_named = 20;  // keys in one message
constexpr std::string_view yaml_tags = "tag:yaml.org,2002:";
constexpr std::string_view include_tag = "!include";
constexpr std::string_view include_prefix = "!include:";  // what the original writes for the tag; texts that look so count too

/// How large something is when all aliases and includes are written out.
struct Extent {
  std::uint64_t nodes = 1;
  std::uint64_t bytes = 0;
  std::uint32_t depth = 1;

  void contain(const Extent& other) {
    constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max() / 4;
    nodes = std::min(nodes + other.nodes, most);
    bytes = std::min(bytes + other.bytes, most);
    depth = std::max(depth, other.depth + 1);
  }
};

struct Built {
  Value value;
  Extent extent;
  bool refused = false;  ///< an error was reported; the value means nothing
};

/// What all files of one document share.
struct Loading {
  const LoadLimits& limits;
  const Source& source;
  Document result;
  std::vector<std::pair<std::string, std::string>> chain;  ///< the files being loaded: path and display name, outermost first
  std::unordered_map<std::string, Built> included;         ///< by path
  std::size_t files = 0;
  std::size_t levels = 0;  ///< collections around the one being built
};

/// Thrown to leave a file whose remaining errors would only follow from the first.
struct GiveUp {};

/// One file: from its nodes to its value.
class FileBuilder {
 public:
  FileBuilder(Loading& loading, std::string_view text, fs::path directory, std::string display_name)
      : loading_(loading), text_(text), directory_(std::move(directory)), display_name_(std::move(display_name)) {}

  Built build();

 private:
  struct Entry {
    const YamlNode* key;
    const YamlNode* value;
  };
  /// One level of nesting while it is being built, over all files: bounds the recursion.
  class Level {
   public:
    Level(FileBuilder& builder, const YamlNode& node) : open_(builder.loading_.levels) {
      if (open_ >= builder.loading_.limits.depth) builder.refuse_depth(node);
      ++open_;
    }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    ~Level() { --open_; }

   private:
    std::size_t& open_;
  };
  struct Key {
    std::string text;
    Kind kind = Kind::string;  ///< what it was before it became text: `1` and `'1'` are different keys when maps are merged
  };

  /// After so many errors of all files together the rest is not worth reading.
  void report(Error error) {
    loading_.result.errors.push_back(with_source_line(std::move(error), text_));
    if (loading_.result.errors.size() >= most_errors) throw GiveUp();
  }
  void report(const YamlNode& node, std::string message) { report(config_error(std::move(message)).at(node.position, node.text)); }
  void warn(const YamlNode& node, std::string_view id, std::string message) {
    if (loading_.result.warnings.size() < most_warnings)
      loading_.result.warnings.push_back({node.position, std::string(id), std::move(message)});
  }

  void refuse_content(const Value& value, Position position);
  Built node(const YamlNode& node);
  Built collection(const YamlNode& node);
  Built scalar(const YamlNode& node);
  /// Nothing (and an error) where the text does not fit its tag or is no number.
  std::optional<Value> scalar_value(const YamlNode& node);
  Built sequence(const YamlNode& node);
  Built mapping(const YamlNode& node);
  Built set_of(const YamlNode& node);
  Built pairs(const YamlNode& node, bool as_object);
  void check_extent(const YamlNode& node, const Extent& extent);
  // Kept out of the functions that call themselves: the stack of an operator's thread is small.
  [[gnu::noinline]] void refuse_tag(const YamlNode& node);
  [[gnu::noinline, noreturn]] void refuse_recursion(const YamlNode& node);
  [[gnu::noinline, noreturn]] void refuse_depth(const YamlNode& node);

  std::vector<Entry> entries_of(const YamlNode& mapping);
  std::vector<Entry> merged_entries(const YamlNode& mapping);
  void merge_entries(const YamlNode& merged, std::vector<Entry>& entries, std::unordered_map<std::string, std::size_t>& places);
  /// False where there are some.
  bool check_duplicates(const YamlNode& mapping);
  std::optional<Key> key_of(const YamlNode& node);
  std::string identity_of(const YamlNode& key);

  void include_into(Object& object, Extent& extent, const YamlNode& name);
  std::optional<Built> include(const YamlNode& at, const std::string& name);
  Built load_included(const std::string& name, const fs::path& path, const std::string& display_name);

  Loading& loading_;
  std::string_view text_;
  fs::path directory_;
  std::string display_name_;
  std::unordered_map<std::uint32_t, Built> anchored_;             ///< values of nodes that aliases may name, by id
  std::unordered_set<std::uint32_t> open_;                        ///< the anchored nodes around the one being built
  std::unordered_map<std::uint32_t, std::vector<Entry>> merged_;  ///< of anchored maps
  std::uint64_t merge_steps_ = 0;
};

bool is_merge(const YamlNode& key) {
  return key.kind == YamlNode::Kind::scalar && ((key.plain && key.text == "<<") || key.tag == "tag:yaml.org,2002:merge");
}

bool is_include(const YamlNode& key) { return key.tag == include_tag; }

std::string_view name_of(YamlNode::Kind kind) {
  return kind == YamlNode::Kind::scalar ? "scalar" : kind == YamlNode::Kind::sequence ? "sequence" : "mapping";
}

/// A text of the file in a message, which it must not flood.
std::string shown(std::string_view text) {
  return visible(utf16_length(text) > 100 ? first_utf16_units(text, 97) + "..." : std::string(text));
}

/// The text of a key, or the name in an include: JSON text without quotes.
std::string text_of(const Value& value) { return value.is_string() ? value.as_string() : to_json(value); }

std::string_view warning_of(std::string_view id) {
  if (id == "W-octal") return "is read as an octal number";
  if (id == "W-sexagesimal") return "is read as a number to the base 60";
  return "is a text, not a number, because it begins with 0";
}

Built FileBuilder::build() {
  const LoadLimits& limits = loading_.limits;
  try {
    const YamlDocument document = read_yaml(text_, file_id(display_name_), limits.nodes, limits.depth);
    const YamlNode nothing{.plain = true, .position = {1, 1, file_id(display_name_)}};
    const YamlNode& root = document.root ? *document.root : nothing;
    Built built = node(root);
    if (!built.value.is_object()) {
      if (!built.refused) refuse_content(built.value, root.position);
      built.value = Value::object();
    }
    return built;
  } catch (const Error& error) {
    loading_.result.errors.push_back(error);
  } catch (const GiveUp&) {
  }
  loading_.result.complete = false;
  return {Value::object(), {}};
}

void FileBuilder::refuse_content(const Value& value, Position position) {
  std::string hint =
      value.is_null() ? "the file has no content: write `key: value` lines, or `{}` for none" : "a file consists of `key: value` lines";
  if (const auto& chain = loading_.chain; chain.size() > 1) hint += "; " + visible(chain[chain.size() - 2].second) + " includes it";
  report(config_error("Expected object to load Config but got " + shown(to_json(value))).at(position).hint(std::move(hint)));
}

Built FileBuilder::node(const YamlNode& node) {
  if (node.kind == YamlNode::Kind::scalar) return scalar(node);
  if (node.anchor.empty()) return collection(node);
  if (const auto known = anchored_.find(node.id); known != anchored_.end()) return known->second;
  if (!open_.insert(node.id).second) {
    refuse_recursion(node);
  }
  Built built = collection(node);
  open_.erase(node.id);
  return anchored_.emplace(node.id, std::move(built)).first->second;
}

void FileBuilder::refuse_recursion(const YamlNode& node) {
  report(config_error(fmt::format("recursive alias *{} at {}:{}", node.anchor, node.position.line, node.position.column))
             .at(node.position)
             .hint("what has this anchor contains an alias of itself"));
  throw GiveUp();
}

Built FileBuilder::collection(const YamlNode& node) {
  const Level level(*this, node);
  const bool is_mapping = node.kind == YamlNode::Kind::mapping;
  Built built;
  if (node.tag.empty() || node.tag == (is_mapping ? "tag:yaml.org,2002:map" : "tag:yaml.org,2002:seq")) {
    built = is_mapping ? mapping(node) : sequence(node);
  } else if (is_mapping && node.tag == "tag:yaml.org,2002:set") {
    built = set_of(node);
  } else if (!is_mapping && node.tag == "tag:yaml.org,2002:omap") {
    built = pairs(node, true);
  } else if (!is_mapping && node.tag == "tag:yaml.org,2002:pairs") {
    built = pairs(node, false);
  } else {
    refuse_tag(node);
  }
  check_extent(node, built.extent);
  return built;
}

void FileBuilder::refuse_tag(const YamlNode& node) {
  static const std::set<std::string_view> known{"str",   "null", "bool", "int", "float", "binary", "timestamp",
                                                "merge", "map",  "seq",  "set", "omap",  "pairs"};
  if (is_include(node)) {
    report(config_error("!include needs a file name").at(node.position).hint("write it as text: `!include : config/mysql.yml`"));
  } else if (node.tag.starts_with(yaml_tags) && known.contains(std::string_view(node.tag).substr(yaml_tags.size()))) {
    const std::string what = node.kind == YamlNode::Kind::scalar ? "`" + shown(node.text) + "`" : "a " + std::string(name_of(node.kind));
    report(node, fmt::format("{} does not fit the tag {}", what, node.tag));
  } else {
    Error error = config_error(fmt::format("could not determine a constructor for the tag {}", shown(node.tag))).at(node.position);
    report(node.tag == "!include:" ? std::move(error).hint("write a blank before the colon: `!include : file.yml`") : std::move(error));
  }
}

void FileBuilder::check_extent(const YamlNode& node, const Extent& extent) {
  const LoadLimits& limits = loading_.limits;
  if (extent.depth > limits.depth + 1) refuse_depth(node);
  if (extent.nodes > limits.nodes || extent.bytes > limits.bytes) {
    const std::string most = extent.nodes > limits.nodes ? fmt::format("{} values", limits.nodes) : fmt::format("{} bytes", limits.bytes);
    report(config_error(fmt::format("YAML document too large after alias expansion: more than {}", most)).at(node.position));
    throw GiveUp();
  }
}

void FileBuilder::refuse_depth(const YamlNode& node) {
  report(config_error(
             fmt::format("YAML document too deep after expansion of aliases and includes: more than {} levels", loading_.limits.depth))
             .at(node.position));
  throw GiveUp();
}

Built FileBuilder::scalar(const YamlNode& node) {
  Built built;
  if (node.tag == include_tag || (node.tag.empty() && node.text.starts_with(include_prefix))) {
    if (std::optional<Built> included = include(node, node.text)) return *std::move(included);
    built.refused = true;
    return built;
  }
  std::optional<Value> value = scalar_value(node);
  built.refused = !value;
  if (value) built.value = *std::move(value);
  if (built.value.is_string()) built.extent.bytes = built.value.as_string().size();
  return built;
}

std::optional<Value> FileBuilder::scalar_value(const YamlNode& node) {
  if (node.plain) {
    if (const std::string_view id = doubtful_scalar(node.text); !id.empty()) {
      warn(node, id, fmt::format("`{}` {}; quote it if it is meant as a text", node.text, warning_of(id)));
    }
    if (std::optional<Value> value = plain_value(node.text)) return value;
    report(node, fmt::format("`{}` is no number", shown(node.text)));
    return std::nullopt;
  }
  if (node.tag.empty()) return Value(node.text);
  if (node.tag.starts_with(yaml_tags)) {
    if (std::optional<Value> value = tagged_value(std::string_view(node.tag).substr(yaml_tags.size()), node.text)) return value;
  }
  refuse_tag(node);
  return std::nullopt;
}

Built FileBuilder::sequence(const YamlNode& node) {
  Extent extent;
  Array items;
  items.reserve(node.children.size());
  for (const YamlNode* child : node.children) {
    Built item = this->node(*child);
    extent.contain(item.extent);
    items.push_back(std::move(item.value));
  }
  return {Value(std::move(items)), extent};
}

Built FileBuilder::mapping(const YamlNode& node) {
  const bool unique = check_duplicates(node);
  Extent extent;
  Object object;
  bool included = false;
  for (const auto& [key_node, value_node] : entries_of(node)) {
    if (is_include(*key_node) ||
        (key_node->kind == YamlNode::Kind::scalar && !key_node->plain && key_node->text.starts_with(include_prefix))) {
      include_into(object, extent, *value_node);
      included = true;
      continue;
    }
    const std::optional<Key> key = key_of(*key_node);
    if (!key) continue;
    if (unique && !included && object.has(key->text)) {
      warn(*key_node, "W-duplicate-key",
           fmt::format("`{}` is the same key as an earlier one, `{}`; the last one counts", key_node->text, key->text));
    }
    Built value = this->node(*value_node);
    extent.contain(value.extent);
    extent.bytes += key->text.size();
    object.set(key->text, std::move(value.value), key_node->position);
  }
  return {Value(std::move(object)), extent};
}

Built FileBuilder::set_of(const YamlNode& node) {
  check_duplicates(node);
  Extent extent;
  Array items;
  for (const Entry& entry : entries_of(node)) {
    Built item = this->node(*entry.key);
    extent.contain(item.extent);
    items.push_back(std::move(item.value));
  }
  return {Value(std::move(items)), extent};
}

/// `!!omap` and `!!pairs`: a list of objects with one member each.
Built FileBuilder::pairs(const YamlNode& node, bool as_object) {
  Extent extent;
  Object object;
  Array list;
  for (const YamlNode* child : node.children) {
    if (child->kind != YamlNode::Kind::mapping || child->children.size() != 2) {
      report(*child, "expected a mapping of length 1");
      continue;
    }
    Built value = this->node(*child->children[1]);
    extent.contain(value.extent);
    if (as_object) {
      if (const std::optional<Key> key = key_of(*child->children[0]))
        object.set(key->text, std::move(value.value), child->children[0]->position);
      continue;
    }
    Built key = this->node(*child->children[0]);
    extent.contain(key.extent);
    list.emplace_back(Array{std::move(key.value), std::move(value.value)});
  }
  return {as_object ? Value(std::move(object)) : Value(std::move(list)), extent};
}

// ---- keys ---------------------------------------------------------------------------------------------------------------

/// Two keys of one map are duplicates when they were written alike, quotes aside.
bool FileBuilder::check_duplicates(const YamlNode& mapping) {
  std::unordered_set<std::string_view> seen;
  std::vector<std::string> duplicates;
  const YamlNode* first = nullptr;
  for (std::size_t i = 0; i + 1 < mapping.children.size(); i += 2) {
    const YamlNode& key = *mapping.children[i];
    if (key.kind != YamlNode::Kind::scalar || is_include(key) || seen.insert(key.text).second) continue;
    if (!first) first = &key;
    std::string name = shown(key.text);
    if (duplicates.size() < most_named && std::find(duplicates.begin(), duplicates.end(), name) == duplicates.end())
      duplicates.push_back(std::move(name));
  }
  if (first) report(*first, fmt::format("Duplicated keys: [{}]", join(duplicates, ", ")));
  return !first;
}

/// The JSON key of a key; nothing (and an error) where it cannot be one.
std::optional<FileBuilder::Key> FileBuilder::key_of(const YamlNode& node) {
  if (node.kind == YamlNode::Kind::scalar && !node.plain && node.tag.empty()) return Key{node.text, Kind::string};
  const Built built = this->node(node);
  if (built.refused) return std::nullopt;
  const Value& value = built.value;
  if (value.is_null()) {
    report(node, "Null key for a Map not allowed in JSON");
    return std::nullopt;
  }
  return Key{value.is_scalar() ? text_of(value) : java_text(value), value.kind()};
}

std::string FileBuilder::identity_of(const YamlNode& key) {
  if (is_include(key)) return fmt::format("\x01{}", key.id);
  const std::optional<Key> known = key_of(key);
  return known ? fmt::format("{}{}", static_cast<int>(known->kind), known->text) : std::string();
}

/// The members of a map, `<<` replaced by what it merges in.
std::vector<FileBuilder::Entry> FileBuilder::entries_of(const YamlNode& mapping) {
  bool merges = false;
  std::vector<Entry> entries;
  entries.reserve(mapping.children.size() / 2);
  for (std::size_t i = 0; i + 1 < mapping.children.size(); i += 2) {
    merges = merges || is_merge(*mapping.children[i]);
    entries.push_back({mapping.children[i], mapping.children[i + 1]});
  }
  if (!merges) return entries;
  if (mapping.anchor.empty()) return merged_entries(mapping);
  if (const auto known = merged_.find(mapping.id); known != merged_.end()) return known->second;
  return merged_.emplace(mapping.id, merged_entries(mapping)).first->second;
}

/// Explicit keys win over merged ones wherever they stand, at the place of whichever came first; of merged ones the first wins.
std::vector<FileBuilder::Entry> FileBuilder::merged_entries(const YamlNode& mapping) {
  std::vector<Entry> entries;
  std::unordered_map<std::string, std::size_t> places;
  for (std::size_t i = 0; i + 1 < mapping.children.size(); i += 2) {
    const Entry entry{mapping.children[i], mapping.children[i + 1]};
    if (!is_merge(*entry.key)) {
      const auto [place, fresh] = places.emplace(identity_of(*entry.key), entries.size());
      if (fresh) {
        entries.push_back(entry);
      } else {
        entries[place->second] = entry;
      }
    } else if (entry.value->kind == YamlNode::Kind::mapping) {
      merge_entries(*entry.value, entries, places);
    } else if (entry.value->kind == YamlNode::Kind::sequence) {
      for (const YamlNode* item : entry.value->children) {
        if (item->kind == YamlNode::Kind::mapping) {
          merge_entries(*item, entries, places);
        } else {
          report(*item, fmt::format("expected a mapping for merging, but found {}", name_of(item->kind)));
        }
      }
    } else {
      report(*entry.value, "expected a mapping or list of mappings for merging, but found scalar");
    }
  }
  return entries;
}

void FileBuilder::merge_entries(const YamlNode& merged, std::vector<Entry>& entries, std::unordered_map<std::string, std::size_t>& places) {
  if (open_.contains(merged.id)) {
    refuse_recursion(merged);
  }
  const bool opened = !merged.anchor.empty() && open_.insert(merged.id).second;
  const std::vector<Entry> others = entries_of(merged);
  if (opened) open_.erase(merged.id);
  merge_steps_ += others.size();
  if (merge_steps_ > loading_.limits.nodes) {
    report(merged, "YAML document too large after alias expansion: too many merged keys");
    throw GiveUp();
  }
  for (const Entry& entry : others) {
    if (places.emplace(identity_of(*entry.key), entries.size()).second) entries.push_back(entry);
  }
}

// ---- includes -----------------------------------------------------------------------------------------------------------

/// `!include : name` within a map: the members of the file are merged into what the map holds so far.
void FileBuilder::include_into(Object& object, Extent& extent, const YamlNode& name) {
  if (name.kind != YamlNode::Kind::scalar) {
    report(config_error("!include needs a file name").at(name.position).hint("write it as text: `!include : config/mysql.yml`"));
    return;
  }
  const std::optional<Value> value = scalar_value(name);
  if (!value) return;
  const std::optional<Built> included = include(name, name.tag == include_tag ? name.text : text_of(*value));
  if (!included) return;
  extent.contain(included->extent);
  check_extent(name, extent);
  for (const Object::Member& member : included->value.as_object()) {
    Value* existing = object.find_mutable(member.key);
    if (existing && existing->is_object() && member.value.is_object()) {
      merge(*existing, member.value);
    } else {
      object.set(member.key, member.value, member.position);
    }
  }
}

/// The content of another file; nothing (and an error) where it cannot be had.
std::optional<Built> FileBuilder::include(const YamlNode& at, const std::string& name) {
  const auto refuse = [&](std::string message, std::string hint = {}) {
    Error error = config_error(std::move(message)).at(at.position, at.text);
    loading_.result.complete = false;
    report(hint.empty() ? std::move(error) : std::move(error).hint(std::move(hint)));
    return std::nullopt;
  };
  if (name.empty() || name.find('\0') != std::string::npos) return refuse("!include needs a file name");
  const fs::path path = (directory_ / name).lexically_normal();
  if (!is_inside(path, loading_.source.root)) {
    return refuse("File name must not include ..: " + name, "a file can include files of its own project only");
  }
  const fs::path written(name);
  if (std::find(written.begin(), written.end(), "..") != written.end()) {
    warn(at, "W-include-parent", fmt::format("`{}` leaves the folder of the including file; older versions refuse that", name));
  }
  const std::string key = path.string();
  for (auto file = loading_.chain.begin(); file != loading_.chain.end(); ++file) {
    if (file->first != key) continue;
    std::string cycle;
    for (auto link = file; link != loading_.chain.end(); ++link) cycle += link->second + " -> ";
    return refuse("include cycle: " + cycle + file->second);
  }
  if (++loading_.files > loading_.limits.files) {
    refuse(fmt::format("too many includes: more than {} files", loading_.limits.files));
    throw GiveUp();
  }
  if (const auto known = loading_.included.find(key); known != loading_.included.end()) return known->second;
  try {
    const std::string display_name = (fs::path(display_name_).parent_path() / name).lexically_normal().string();
    return loading_.included.emplace(key, load_included(name, path, display_name)).first->second;
  } catch (const Error& error) {
    const bool missing = error.kind() == "no such file";
    return refuse(missing ? "included file does not exist: " + error.message() : error.message());
  }
}

Built FileBuilder::load_included(const std::string& name, const fs::path& path, const std::string& display_name) {
  if (std::error_code failure; fs::exists(path, failure) && !fs::is_regular_file(path, failure))
    throw config_error(name + " is no regular file");
  const std::string text = read_file(path, loading_.limits.bytes);
  loading_.chain.emplace_back(path.string(), display_name);
  Built built = FileBuilder(loading_, text, path.parent_path(), display_name.empty() ? name : display_name).build();
  loading_.chain.pop_back();
  return built;
}

/// Aliases and merged maps let the same place of a file be built, and told about, more than once.
void tell_each_once(Document& document) {
  std::set<std::string> told;
  std::erase_if(document.errors, [&](const Error& error) { return !told.insert(error.report()).second; });
  std::erase_if(document.warnings, [&](const Warning& w) { return !told.insert(to_string(w.position) + w.id + w.message).second; });
}

}  // namespace

Document load_document(std::string_view text, const Source& source, const LoadLimits& limits) {
  Loading loading{.limits = limits, .source = source};
  const fs::path path = (source.directory / fs::path(source.display_name).filename()).lexically_normal();
  loading.chain.emplace_back(path.string(), source.display_name);
  if (text.size() > limits.bytes) {
    loading.result.errors.push_back(
        config_error(fmt::format("{} is too large: {} bytes, at most {}", source.display_name, text.size(), limits.bytes)));
    loading.result.value = Value::object();
    loading.result.complete = false;
    return std::move(loading.result);
  }
  loading.result.value = FileBuilder(loading, text, source.directory, source.display_name).build().value;
  tell_each_once(loading.result);
  return std::move(loading.result);
}

}  // namespace digdag::dig
