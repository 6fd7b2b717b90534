#include "operators/operator.h"

#include "base/file.h"
#include "base/json_pointer.h"
#include "base/text.h"

namespace digdag::operators {
namespace {

const Value* value_at(const Value& root, std::string_view pointer) {
  const Value* value = &root;
  for (const std::string& step : pointer_keys(pointer)) {
    if (value->is_array()) {
      std::size_t index = 0;
      for (const char c : step) {
        if (c < '0' || c > '9' || index > value->as_array().size()) return nullptr;
        index = index * 10 + static_cast<std::size_t>(c - '0');
      }
      value = index < value->as_array().size() ? &value->as_array()[index] : nullptr;
    } else {
      value = value->find(step);
    }
    if (value == nullptr) return nullptr;
  }
  return value;
}

Error missing(std::string_view pointer) {
  const auto steps = pointer_keys(pointer);
  return config_error("Parameter '" + (steps.empty() ? std::string() : steps.back()) + "' is required but not set");
}

std::string secret_from(const SecretLookup& lookup, std::string_view key) {
  if (lookup) {
    if (auto value = lookup(key)) return *std::move(value);
  }
  throw Error("secret not found", "Secret not found for key: '" + std::string(key) + "'");
}

bool below_env(std::string_view pointer) { return pointer.starts_with("/_env/"); }

}  // namespace

Value params_with_defaults(const TaskContext& task, std::string_view type) {
  const Value* defaults = task.config.find(type);
  if (defaults == nullptr) return task.config;
  Value params = task.config;
  merge_default(params, Config(task.config).nested_or_empty(type));
  return params;
}

Error with_command_explained(Error error, const TaskContext& task) {
  const Value* type = task.config.find("_type");
  if (error.message().find("'_command'") == std::string::npos || type == nullptr || !type->is_string()) return error;
  const std::string key = type->as_string() + '>';
  const Object::Member* written = task.unevaluated_local.is_object() ? task.unevaluated_local.as_object().find_member(key) : nullptr;
  if (written == nullptr) return error;
  if (!error.position().known()) error = std::move(error).at(written->position);
  std::string hint = error.hint_text().empty() ? "" : error.hint_text() + "; ";
  hint += "'_command' is the value of " + key + ':';
  if (written->value.is_null()) hint += ", after which nothing stands (what belongs to it on the lines below is indented deeper)";
  return std::move(error).hint(std::move(hint));
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& known) {
  std::vector<std::string> similar = similar_words(word, known);
  if (similar.size() > 3) similar.resize(3);
  return similar.empty() ? "" : "did you mean " + join(similar, ", ") + '?';
}

Config TaskContext::params() const {
  Config config_view(config);
  if (key_was_read) config_view.record_reads(key_was_read);
  config_view.report_cuts([this](const std::string& message) { warn(message); });
  return config_view;
}

std::string TaskContext::secret(std::string_view key) const { return secret_from(secrets, key); }

std::string TaskContext::with_secrets(std::string_view pointer) const {
  const Value* value = value_at(config, pointer);
  if (value == nullptr) throw missing(pointer);
  if (!value->is_string()) return convert_to_string(*value, pointer_keys(pointer).back());
  const auto spans = secret_spans.find(std::string(pointer));
  if (spans == secret_spans.end()) return value->as_string();
  const SecretLookup& lookup = below_env(pointer) && unmounted_secrets ? unmounted_secrets : secrets;
  return dig::expand_secrets(value->as_string(), spans->second, [&](std::string_view key) { return secret_from(lookup, key); });
}

Value TaskContext::with_secrets_in(std::string_view pointer) const {
  const Value* value = value_at(config, pointer);
  if (value == nullptr) throw missing(pointer);
  if (secret_spans.empty() || !(value->is_string() || value->is_array() || value->is_object())) return *value;
  if (value->is_string()) return with_secrets(pointer);
  if (value->is_array()) {
    Array expanded;
    expanded.reserve(value->as_array().size());
    for (std::size_t i = 0; i < value->as_array().size(); ++i) expanded.push_back(with_secrets_in(pointer_to(pointer, std::to_string(i))));
    return expanded;
  }
  Object expanded;
  for (const auto& member : value->as_object()) expanded.set(member.key, with_secrets_in(pointer_to(pointer, member.key)), member.position);
  return expanded;
}

std::filesystem::path TaskContext::workspace_file(std::string_view name) const {
  auto path = (workspace() / name).lexically_normal();
  if (!is_inside(path, project_directory()))
    throw Error("illegal argument",
                "File name must not be outside of project path (" + project_directory().string() + "): " + std::string(name));
  return path;
}

void TaskContext::log_line(LogLevel level, std::string_view message) const {
  const std::string shown = mask ? mask(message) : std::string(message);
  if (log != nullptr && log->enabled(level)) log->write(level, log_thread, "operators", shown);
  if (task_log) task_log(level, "operators", shown);
}

void TaskContext::info(std::string_view message) const { log_line(LogLevel::info, message); }
void TaskContext::warn(std::string_view message) const { log_line(LogLevel::warn, message); }
void TaskContext::error(std::string_view message) const { log_line(LogLevel::error, message); }

Outcome Operator::command_ended(TaskContext&, const command::CommandEnd&) { return engine::TaskResult{}; }

void Operator::cleanup(TaskContext&) {}

}  // namespace digdag::operators
