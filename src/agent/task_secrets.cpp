#include "agent/task_secrets.h"

#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

namespace digdag::agent {
namespace {

void check_key(std::string_view key) {
  bool good = !key.empty() && key.find('*') == std::string_view::npos;
  for (const std::string& segment : split(key, '.')) good = good && !segment.empty();
  if (!good) throw Error("illegal argument", "Illegal key: '" + std::string(key) + "'");
}

bool grants(const Value& node) {
  if (node.is_boolean()) return node.as_boolean();
  if (!node.is_object()) return false;
  for (const auto& member : node.as_object())
    if (grants(member.value)) return true;
  return false;
}

}  // namespace

TaskSecrets::TaskSecrets(operators::SecretLookup source, Value mounts, bool masks)
    : source_(std::move(source)), mounts_(std::move(mounts)), masks_(masks) {}

bool TaskSecrets::has_grants() const { return grants(mounts_); }

std::string TaskSecrets::mounted(std::string_view key) const {
  const Value* node = &mounts_;
  std::size_t position = 0;
  while (node->is_object()) {
    const std::size_t dot = key.find('.', position);
    node = node->find(key.substr(position, dot == std::string_view::npos ? dot : dot - position));
    if (node == nullptr) break;
    const std::string_view rest = dot == std::string_view::npos ? std::string_view() : key.substr(dot);
    if (node->is_string()) return node->as_string() + std::string(rest);
    if (node->is_boolean() && node->as_boolean()) break;
    if (!node->is_object()) throw config_error("Illegal value in _secrets: " + to_json(*node));
    if (dot == std::string_view::npos) break;
    position = dot + 1;
  }
  return std::string(key);
}

void TaskSecrets::hide_value(std::string_view key, std::string_view value) {
  if (!masks_) return;
  const std::lock_guard lock(mutex_);
  mask_.add(key, value);
}

void TaskSecrets::hide(std::string_view text) { hide_value("made from secrets", text); }

std::optional<std::string> TaskSecrets::find(std::string_view key) {
  check_key(key);
  return find_unmounted(mounted(key));
}

std::optional<std::string> TaskSecrets::find_unmounted(std::string_view key) {
  check_key(key);
  if (!source_) return std::nullopt;
  auto value = source_(key);
  if (value) hide_value(key, *value);
  return value;
}

std::string TaskSecrets::mask(std::string_view text) const {
  const std::lock_guard lock(mutex_);
  return mask_.empty() ? std::string(text) : mask_.mask_all(text);
}

std::string TaskSecrets::mask_piece(std::string_view piece) {
  const std::lock_guard lock(mutex_);
  return mask_.mask(piece);
}

std::string TaskSecrets::mask_rest() {
  const std::lock_guard lock(mutex_);
  return mask_.finish();
}

}  // namespace digdag::agent
