#include "dig/keys.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace digdag::dig {
namespace {

constexpr std::size_t most_named = 20;  // keys in one message

bool contains(const std::vector<std::string>& keys, std::string_view key) { return std::find(keys.begin(), keys.end(), key) != keys.end(); }

}  // namespace

const std::vector<std::string>& file_keys() {
  static const std::vector<std::string> keys{"schedule", "sla",         "_error",           "_check",       "_retry",  "_parallel",
                                             "_timeout", "_kill_grace", "_error_on_cancel", "_concurrency", "_params", "trigger"};
  return keys;
}

const std::vector<std::string>& group_keys() {
  static const std::vector<std::string> keys{"timezone", "schedule", "sla",         "_parallel",       "_background",
                                             "_after",   "_error",   "_check",      "_retry",          "_export",
                                             "_secrets", "_timeout", "_kill_grace", "_error_on_cancel"};
  return keys;
}

const std::vector<std::string>& task_keys() {
  static const std::vector<std::string> keys{
      "_type", "_command", "_export",  "_error",      "_check",           "_retry", "_parallel", "_background", "_after",  "_disable",
      "_env",  "_secrets", "_timeout", "_kill_grace", "_error_on_cancel", "_pool",  "_priority", "_cache",      "_finally"};
  return keys;
}

bool is_file_only_key(std::string_view key) { return key == "_params" || key == "_concurrency" || key == "trigger"; }

bool is_reserved_key(std::string_view key) {
  static const std::vector<std::string> keys{"_pool", "_priority", "_cache", "_finally"};
  return contains(keys, key);
}

std::string_view name_of_subtasks(std::string_view key) {
  if (key == "_do" || key == "_else_do") return "^sub";
  if (key == "_check") return "^check";
  if (key == "_error") return "^error";
  return {};
}

std::string list_names(const std::vector<std::string>& names) {
  if (names.size() <= most_named) return visible(join(names, ", "));
  return visible(join({names.begin(), names.begin() + most_named}, ", ")) + ", ...";
}

std::string name_with_suggestions(const std::vector<std::string>& unknown, const std::vector<std::string>& known) {
  std::string text;
  std::size_t named = 0;
  for (const std::string& key : unknown) {
    if (!text.empty()) text += ", ";
    if (named++ == most_named) return text + "...";
    text += fmt::format("'{}'", visible(key));
    if (is_reserved_key(key)) {
      text += " (is reserved)";
    } else if (const std::vector<std::string> similar = similar_words(key, known); !similar.empty()) {
      text += fmt::format(" (did you mean [{}]?)", join(similar, ", "));
    }
  }
  return text;
}

}  // namespace digdag::dig
