#include "dig/ignore_rules.h"

#include <cstddef>

#include "base/text.h"

namespace digdag::dig {
namespace {

/// Whether `[…]` at `at` in the pattern takes the character; `at` moves behind it. A bracket without its end is an ordinary character.
bool takes_bracket(std::string_view pattern, std::size_t& at, char c) {
  std::size_t i = at + 1;
  const bool negated = i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^');
  if (negated) ++i;
  bool found = false;
  for (const std::size_t first = i; i < pattern.size() && (pattern[i] != ']' || i == first); ++i) {
    if (pattern[i] == '\\' && i + 1 < pattern.size()) ++i;
    const char low = pattern[i];
    char high = low;
    if (i + 2 < pattern.size() && pattern[i + 1] == '-' && pattern[i + 2] != ']') {
      high = pattern[i + 2];
      i += 2;
    }
    found = found || (low <= c && c <= high);
  }
  if (i >= pattern.size()) {
    ++at;
    return c == '[';
  }
  at = i + 1;
  return found != negated;
}

/// Whether a pattern without `/` takes a whole name. `*` goes back at most to the last star, so the cost is a product of lengths.
bool takes_name(std::string_view pattern, std::string_view name) {
  std::size_t p = 0;
  std::size_t n = 0;
  std::size_t star = std::string_view::npos;
  std::size_t star_name = 0;
  while (n < name.size()) {
    bool taken = false;
    std::size_t next = p + 1;
    if (p < pattern.size()) {
      if (pattern[p] == '*') {
        star = p++;
        star_name = n;
        continue;
      }
      if (pattern[p] == '?') {
        taken = true;
      } else if (pattern[p] == '[') {
        next = p;
        taken = takes_bracket(pattern, next, name[n]);
      } else {
        if (pattern[p] == '\\' && p + 1 < pattern.size()) ++next;
        taken = pattern[next - 1] == name[n];
      }
    }
    if (taken) {
      p = next;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++star_name;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

/// Whether pattern parts take path parts; `**` stands for any number of them (at the end for at least one).
bool takes_path(const std::vector<std::string>& pattern, const std::vector<std::string>& path) {
  std::vector<bool> reached(path.size() + 1, false);  // path parts that the pattern so far can take
  reached[0] = true;
  for (std::size_t p = 0; p < pattern.size(); ++p) {
    std::vector<bool> next(path.size() + 1, false);
    if (pattern[p] == "**") {
      bool any = false;
      for (std::size_t i = 0; i <= path.size(); ++i) {
        if (any || (reached[i] && p + 1 < pattern.size())) next[i] = true;
        any = any || reached[i];
      }
    } else {
      for (std::size_t i = 0; i < path.size(); ++i) next[i + 1] = reached[i] && takes_name(pattern[p], path[i]);
    }
    reached = std::move(next);
  }
  return reached.back();
}

}  // namespace

IgnoreRules::IgnoreRules(std::string_view text) {
  for (std::string& line : split(text, '\n')) {
    if (line.ends_with('\r')) line.pop_back();
    while (line.ends_with(' ') && !line.ends_with("\\ ")) line.pop_back();
    if (line.empty() || line[0] == '#') continue;
    Rule rule;
    std::string_view pattern = line;
    if (pattern[0] == '!') {
      rule.negated = true;
      pattern.remove_prefix(1);
    }
    if (pattern.ends_with('/')) {
      rule.only_folders = true;
      pattern.remove_suffix(1);
    }
    if (pattern.empty()) continue;
    rule.anchored = pattern.find('/') != std::string_view::npos;
    if (pattern.starts_with('/')) pattern.remove_prefix(1);
    rule.parts = split(pattern, '/');
    rules_.push_back(std::move(rule));
  }
}

bool IgnoreRules::ignores(std::string_view path, bool is_folder) const {
  const std::vector<std::string> parts = split(path, '/');
  for (auto rule = rules_.rbegin(); rule != rules_.rend(); ++rule) {
    if (rule->only_folders && !is_folder) continue;
    if (rule->anchored ? takes_path(rule->parts, parts) : takes_name(rule->parts.front(), parts.back())) return !rule->negated;
  }
  return false;
}

}  // namespace digdag::dig
