#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/json_pointer.h"
#include "base/temporary_directory_for_test.h"
#include "dig/loader.h"
#include "dig/script_worker.h"
#include "operators/operator.h"

namespace digdag::operators {

/// For tests: one task, written as in a workflow, in a project directory of its own. Its templates count as evaluated.
class TaskOf {
 public:
  explicit TaskOf(std::string_view yaml, std::string_view inherited = "{}") : log_(log_options()) {
    std::filesystem::create_directory(project_);
    context.project_directory = project_;
    context.workspace = project_;
    context.local = context.unevaluated_local = dig::load_yaml(yaml, {project_, project_, "main.dig"});
    context.config = dig::load_yaml(inherited, {project_, project_, "main.dig"});
    merge(context.config, context.local);
    const Object& local = context.local.as_object();
    for (const auto& member : local)
      if (member.key.ends_with('>')) type_ = member.key.substr(0, member.key.size() - 1);
    if (const Value* command = context.config.find(type_ + ">"); command != nullptr && !command->is_null())
      context.config.mutable_object().set("_command", *command);
    find_secrets(context.config, "");
    context.identity.task_name = "+main+task";
    context.identity.workflow_name = "main";
    context.identity.project_name = "default";
    context.identity.project_id = context.identity.session_id = context.identity.attempt_id = 1;
    context.identity.session_uuid = "11111111-2222-4333-8444-555555555555";
    context.now = Instant::of_seconds(1'000'000);
    context.state = Value::object();
    context.log = &log_;
    context.log_thread = "task";
    context.output = [this](std::string_view text) { output += text; };
    context.system = &system;
    context.environment = &environment;
    context.templates = &templates_;
    context.secrets = [this](std::string_view key) {
      const auto found = secrets.find(std::string(key));
      return found == secrets.end() ? std::nullopt : std::optional(found->second);
    };
  }
  void file(const std::string& name, std::string_view content) {
    std::filesystem::create_directories((project_ / name).parent_path());
    write_file_atomically(project_ / name, content);
  }

  /// One call of the operator; what it wants is in `outcome`. Polls go on with the state that was left.
  TaskOf& run() {
    operator_ = find_operator(type_)->make();
    return take([this] { return operator_->run(context); });
  }
  /// The end of the command that it wanted to run.
  TaskOf& command_ended(const command::CommandEnd& end) {
    return take([this, &end] { return operator_->command_ended(context, end); });
  }

  /// The subtasks as JSON; the failure where it failed; `later: N ms` where it waits.
  std::string subtasks() const { return failure.empty() ? result() ? to_json(result()->subtask_config) : later_text() : failure; }
  std::string stored() const { return failure.empty() ? result() ? to_json(result()->store_params) : later_text() : failure; }
  const engine::TaskResult* result() const { return outcome ? std::get_if<engine::TaskResult>(&*outcome) : nullptr; }
  const RetryLater* later() const { return outcome ? std::get_if<RetryLater>(&*outcome) : nullptr; }
  /// The names of the subtasks, in their order.
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    if (result() != nullptr)
      for (const auto& member : result()->subtask_config.as_object()) names.push_back(member.key);
    return names;
  }
  bool succeeded() const { return result() != nullptr; }
  /// The lines of the log.
  std::string log_text() {
    log_.flush();
    return read_file(log_file());
  }
  const std::filesystem::path& project() const { return project_; }

  TaskContext context;
  std::map<std::string, std::string> secrets;
  SystemConfig system;
  std::vector<std::pair<std::string, std::string>> environment{{"PATH", "/usr/bin:/bin"}};
  std::string output;
  std::string failure;  ///< message with kind
  std::string hint;
  std::optional<Outcome> outcome;

 private:
  std::filesystem::path log_file() const { return root_ / "log"; }
  Log::Options log_options() const {
    Log::Options options;
    options.file = log_file();
    return options;
  }

  template <typename Step>
  TaskOf& take(Step step) {
    outcome.reset();
    failure.clear();
    try {
      outcome = step();
      if (later() != nullptr) context.state = later()->state;
    } catch (const Error& error) {
      failure = error.message_with_kind();
      hint = error.hint_text();
    }
    return *this;
  }
  std::string later_text() const { return later() != nullptr ? "later: " + std::to_string(later()->delay_millis) + " ms" : "command"; }

  /// All `${…:…}` of the texts count as written in the workflow.
  void find_secrets(const Value& value, const std::string& pointer) {
    if (value.is_array())
      for (std::size_t i = 0; i < value.as_array().size(); ++i) find_secrets(value.as_array()[i], pointer_to(pointer, std::to_string(i)));
    if (value.is_object())
      for (const auto& member : value.as_object()) find_secrets(member.value, pointer_to(pointer, member.key));
    if (!value.is_string()) return;
    const std::string& text = value.as_string();
    for (std::size_t at = text.find("${"); at != std::string::npos; at = text.find("${", at + 1))
      context.secret_spans[pointer].emplace_back(at, text.find('}', at) + 1 - at);
  }

  const TemporaryDirectory root_;
  const std::filesystem::path project_ = root_ / "project";
  Log log_;
  dig::ScriptWorker worker_;
  dig::TemplateEngine templates_{worker_, {}};
  std::string type_;
  std::unique_ptr<Operator> operator_;
};

}  // namespace digdag::operators
