#include "agent/operator_choice.h"

#include "base/config.h"

namespace digdag::agent {
namespace {

/// `_type`, else the first key that ends with `>`, of an object; empty where it has neither.
std::string operator_key(const Value& object) {
  if (!object.is_object()) return {};
  if (object.find("_type") != nullptr) return "_type";
  for (const auto& member : object.as_object())
    if (member.key.ends_with('>')) return member.key;
  return {};
}

}  // namespace

OperatorChoice choose_operator(const Value& config, const Value& local, const Value& own_export) {
  const std::string by_order = operator_key(config);
  OperatorChoice choice;
  choice.key = operator_key(local);
  if (choice.key.empty()) choice.key = operator_key(own_export);
  if (choice.key.empty()) choice.key = by_order;
  if (choice.key.empty()) return choice;
  if (by_order != choice.key) choice.hijacker = by_order;
  choice.type = choice.key == "_type" ? Config(config).string("_type") : choice.key.substr(0, choice.key.size() - 1);
  return choice;
}

}  // namespace digdag::agent
