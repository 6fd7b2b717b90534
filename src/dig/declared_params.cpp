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

void check(const std::string& name, const Value& declared, const Value& value, Position position) {
  const std::string type = Config(declared).string_or("type", "string");
  const std::string shown = Config(declared).boolean_or("secret", false) ? "***" : to_json(value);
  if (!is_of_type(value, type)) {
    throw config_error("Parameter '" + name + "' must be of type " + type + " but got " + shown)
        .at(position)
        .hint("see _params of the workflow");
  }
  const Value* choices = declared.find("enum");
  if (choices && choices->is_array() && !is_one_of(value, choices->as_array())) {
    throw config_error("Parameter '" + name + "' must be one of " + to_json(*choices) + " but got " + shown).at(position);
  }
}

const std::vector<std::string> types = {"string", "integer", "number", "boolean", "json"};
const std::vector<std::string> keys = {"type", "default", "enum", "required", "description", "secret"};

std::string did_you_mean(const std::string& word, const std::vector<std::string>& known) {
  const std::vector<std::string> similar = similar_words(word, known);
  return similar.empty() ? "use " + join(known, ", ") : "did you mean " + similar.front() + "?";
}

const Object& declarations_of(const Workflow& workflow) {
  static const Object none;
  const Value* params = workflow.config.find("_params");
  return params ? params->as_object() : none;
}

/// One declared parameter. Throws what is wrong.
void check_declaration(const Object::Member& declared) {
  const std::string& name = declared.key;
  if (!declared.value.is_object())
    throw config_error("Parameter '" + name + "' of _params must be an object")
        .at(declared.position, name)
        .hint("for example: {type: string}");
  for (const auto& member : declared.value.as_object()) {
    if (std::find(keys.begin(), keys.end(), member.key) == keys.end())
      throw config_error("Parameter '" + name + "' of _params has an unknown key: " + visible(member.key))
          .at(member.position, member.key)
          .hint(did_you_mean(member.key, keys));
  }
  const Config config(declared.value);
  const std::string type = config.string_or("type", "string");
  if (std::find(types.begin(), types.end(), type) == types.end())
    throw config_error("Invalid type of parameter '" + name + "': " + visible(type))
        .at(declared.position, name)
        .hint(did_you_mean(type, types));
  if (const Value* choices = declared.value.find("enum"); choices && !choices->is_array())
    throw config_error("Expected array type for key 'enum' but got " + to_json(*choices)).at(declared.position, name);
  config.boolean_or("required", false);
  config.boolean_or("secret", false);
  if (const Value* fallback = declared.value.find("default"); fallback && !fallback->is_null())
    check(name, declared.value, *fallback, declared.position);
}

}  // namespace

std::vector<Error> faults_of_declared_params(const Value& declared) {
  std::vector<Error> faults;
  for (const auto& member : declared.as_object()) {
    try {
      check_declaration(member);
    } catch (const Error& error) {
      faults.push_back(error.position().known() ? error : Error(error).at(member.position, member.key));
    }
  }
  return faults;
}

void check_given_params(const Workflow& workflow, const Value& given) {
  for (const auto& declared : declarations_of(workflow)) {
    if (const Value* value = given.find(declared.key)) check(declared.key, declared.value, *value, declared.position);
  }
}

std::vector<Warning> misspelt_params(const Workflow& workflow, const Value& given) {
  std::vector<std::string> not_given;
  for (const auto& declared : declarations_of(workflow)) {
    if (!given.find(declared.key)) not_given.push_back(declared.key);
  }
  std::vector<Warning> warnings;
  for (const auto& member : given.as_object()) {
    if (member.key.starts_with('_')) continue;  // _project_path is not given by the user
    const std::vector<std::string> similar = similar_words(member.key, not_given);
    if (similar.empty() || declarations_of(workflow).has(member.key)) continue;
    warnings.push_back({workflow.config.as_object().find_member("_params")->position, "W-unknown-param",
                        "Parameter '" + member.key + "' is given but not declared; did you mean '" + similar.front() + "'?"});
  }
  return warnings;
}

Value declared_params(const Workflow& workflow, const Value& given) {
  check_given_params(workflow, given);
  Value defaults = Value::object();
  for (const auto& member : declarations_of(workflow)) {
    if (given.find(member.key)) continue;
    const Config declared(member.value);
    if (const Value* fallback = declared.find("default"); fallback && !fallback->is_null()) {
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
