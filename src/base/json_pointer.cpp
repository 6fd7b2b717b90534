#include "base/json_pointer.h"

#include <utility>

#include "base/text.h"

namespace digdag {

std::string pointer_step(std::string_view key) {
  if (key.find_first_of("~/") == std::string_view::npos) return std::string(key);
  return replace_all(replace_all(std::string(key), "~", "~0"), "/", "~1");
}

std::string pointer_to(std::string_view parent, std::string_view key) {
  std::string pointer(parent);
  pointer += '/';
  pointer += pointer_step(key);
  return pointer;
}

std::vector<std::string> pointer_keys(std::string_view pointer) {
  std::vector<std::string> keys;
  if (pointer.empty()) return keys;
  for (std::string& step : split(pointer.substr(1), '/')) keys.push_back(replace_all(replace_all(std::move(step), "~1", "/"), "~0", "~"));
  return keys;
}

bool is_at_or_below(std::string_view pointer, std::string_view above) {
  return pointer.starts_with(above) && (pointer.size() == above.size() || pointer[above.size()] == '/');
}

}  // namespace digdag
