#include "dig/declared_params.h"

#include <algorithm>

#include "base/config.h"
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

namespace digdag::dig {
namespace {

/// Whether a value is of a declared type; text is taken where it would parse, as `-p` gives nothing else.
bool is_of_type(const Value& value, const std::string& type) {
  if (type == "json") return true;
  if (type == "string") return value.is_scalar() && !value.is_null();
  try {
    if (type == "integer") {
      if (value.kind() == Kind::big_integer) return true;
      if (!value.is_string()) return value.is_integer();
      if (is_blank(value.as_string())) return false;
      convert_to_long(value, type);
      return true;
    }
    if (type == "boolean") {
      if (!value.is_string()) return value.is_boolean();
      return value.as_string() == "true" || value.as_string() == "false";
    }
    if (!value.is_string()) return value.is_numeric();
    return parse_json(value.as_string()).is_numeric();
  } catch (const Error&) {
    return false;
  }
}

bool is_one_of(const Value& value, const Array& choices) {
  for (const Value& choice : choices) {
    if (choice == value) return true;
    if (value.is_string() && choice.is_scalar() && convert_to_string(choice, "enum") == value.as_string()) return true;
  }
  return false;
}

const std::vector<std::string> types = {"string", "integer", "number", "boolean", "json"};

void check(const std::string& name, const Value& declared, const Value& value, Position position) {
  const std::string type = Config(declared).string_or("type", "string");
  const std::string shown = Config(declared).boolean_or("secret", false) ? "***" : to_json(value);
  if (!is_of_type(value, type)) {
    throw config_error("Parameter '" + name + "' must be of type " + type + " but got " + shown).at(position).hint("see _params of the workflow");
  }
  const Value* choices = declared.find("enum");
  if (choices && choices->is_array() && !is_one_of(value, choices->as_array())) {
    throw config_error("Parameter '" + name + "' must be one of " + to_json(*choices) + " but got " + shown).at(position);
  }
}

}  // namespace

Value declared_params(const Workflow& workflow, const Value& given) {
  Value defaults = Value::object();
  const Value* params = workflow.config.find("_params");
  if (!params || params->is_null()) return defaults;
  if (!params->is_object()) throw config_error("Parameter '_params' must be an object").at(workflow.position);
  for (const auto& member : params->as_object()) {
    if (!member.value.is_object()) throw config_error("Parameter '" + member.key + "' must be an object").at(member.position);
    const Config declared(member.value);
    const std::string type = declared.string_or("type", "string");
    if (std::find(types.begin(), types.end(), type) == types.end()) {
      throw config_error("Invalid type of parameter '" + member.key + "': " + type).at(member.position).hint("use " + join(types, ", "));
    }
    const Value* value = given.find(member.key);
    if (value) {
      check(member.key, member.value, *value, member.position);
    } else if (const Value* fallback = declared.find("default"); fallback && !fallback->is_null()) {
      check(member.key, member.value, *fallback, member.position);
      defaults.mutable_object().set(member.key, *fallback);
    } else if (declared.boolean_or("required", false)) {
      throw config_error("Parameter '" + member.key + "' is required but not given")
          .at(member.position)
          .hint("give it with -p " + member.key + "=VALUE");
    }
  }
  return defaults;
}

}  // namespace digdag::dig
