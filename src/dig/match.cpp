#include <fmt/format.h>

#include "base/text.h"
#include "dig/compiler.h"

namespace digdag::dig {
namespace {

/// A character that does not begin a new part of a pattern.
bool continues_part(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("_-=[]{}%&@,.").find(c) != std::string_view::npos;
}

/// Cuts a pattern before each sign: `a+b` are the parts `a` and `+b`.
std::vector<std::string> parts_of(std::string_view pattern) {
  std::vector<std::string> parts;
  for (const char c : pattern) {
    const bool inside_character = (static_cast<unsigned char>(c) & 0xC0U) == 0x80;
    if (parts.empty() || (!continues_part(c) && !inside_character)) parts.emplace_back();
    parts.back() += c;
  }
  return parts;
}

}  // namespace

std::size_t match_task(std::string_view pattern, const std::vector<std::string>& full_names) {
  const std::vector<std::string> parts = parts_of(pattern);
  if (parts.empty()) throw Error("syntax", fmt::format("Task match pattern is invalid: {}", pattern));
  for (const std::string& part : parts) {
    if (utf16_length(part) == 1) {
      throw Error("syntax", fmt::format("Match patterns excepting direct child (+name+name) is not supported: {}", pattern));
    }
  }
  std::vector<std::size_t> matches;
  for (std::size_t i = 0; i < full_names.size(); ++i) {
    if (full_names[i].ends_with(pattern)) matches.push_back(i);
  }
  if (matches.empty()) throw Error("no match", fmt::format("Task pattern '{}' doesn't match with any tasks.", pattern));
  if (matches.size() == 1) return matches.front();
  std::vector<std::string> candidates;
  candidates.reserve(matches.size());
  for (const std::size_t i : matches) candidates.push_back(full_names[i]);
  throw Error("multiple task match",
              fmt::format("Task pattern '{}' is ambiguous. Matching candidates are [{}]", pattern, join(candidates, ", ")));
}

TaskTree extract_subtree(const TaskTree& tree, std::size_t task) {
  if (task == 0) return tree;
  const auto top = static_cast<std::int32_t>(task);
  TaskTree subtree;
  subtree.tasks.push_back(tree.tasks.front());
  const std::int32_t shift = 1 - top;
  for (std::size_t i = task; i < tree.tasks.size() && (i == task || tree.tasks[i].parent >= top); ++i) {
    TaskDefinition& copy = subtree.tasks.emplace_back(tree.tasks[i]);
    if (i == task) {
      copy.parent = 0;
      copy.name = copy.full_name.substr(tree.tasks.front().full_name.size());  // parent's and own name make the full name
      copy.upstreams.clear();
      copy.barrier = {};
      continue;
    }
    copy.parent += shift;
    for (std::int32_t& upstream : copy.upstreams) upstream += shift;
    if (!copy.barrier.empty()) copy.barrier = {copy.barrier.first + shift, copy.barrier.last + shift};
  }
  return subtree;
}

}  // namespace digdag::dig
