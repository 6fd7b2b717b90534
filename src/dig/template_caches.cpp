#include "dig/template_caches.h"

namespace digdag::dig {
namespace {

/// From so many bytes (a value counts as 16) a scan is remembered.
constexpr std::size_t worth_remembering = 8192;

bool scan(const Value& value, std::size_t& cost) {
  cost += 16;
  if (value.is_string()) {
    const std::string& text = value.as_string();
    cost += text.size();
    return text.find('$') != std::string::npos;
  }
  if (value.is_array()) {
    for (const Value& item : value.as_array()) {
      if (scan(item, cost)) return true;
    }
  } else if (value.is_object()) {
    for (const auto& member : value.as_object()) {
      if (scan(member.value, cost)) return true;
    }
  }
  return false;
}

/// The address of the content names it, as long as something holds it.
std::string_view name_of(const void*& content, const Value& value) {
  content = value.is_string()  ? static_cast<const void*>(&value.as_string())
            : value.is_array() ? static_cast<const void*>(&value.as_array())
                               : static_cast<const void*>(&value.as_object());
  return {reinterpret_cast<const char*>(&content), sizeof content};
}

}  // namespace

std::shared_ptr<const Template> TemplateEngine::Caches::template_of(std::string_view text, bool extended) {
  if (auto found = templates.find(text)) return *found;
  auto scanned = std::make_shared<const Template>(scan_template(text, extended));
  templates.insert(std::string(text), scanned, 2 * text.size() + 256);
  return scanned;
}

bool TemplateEngine::Caches::has_dollar(const Value& value) {
  const bool small = value.is_scalar() && (!value.is_string() || value.as_string().size() < worth_remembering);
  std::size_t cost = 0;
  if (small) return scan(value, cost);
  const void* content = nullptr;
  const std::string_view name = name_of(content, value);
  if (const auto found = scans.find(name)) return found->has_dollar;
  const bool has_dollar = scan(value, cost);
  if (cost >= worth_remembering) scans.insert(std::string(name), Scan{value, has_dollar}, cost);
  return has_dollar;
}

}  // namespace digdag::dig
