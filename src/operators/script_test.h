#pragma once

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/json_pointer.h"
#include "base/temporary_directory_for_test.h"
#include "operators/io_directory.h"
#include "operators/operator.h"

namespace digdag::operators {

/// How a task of a test ended.
struct Ended {
  std::optional<engine::TaskResult> result;
  std::string error;   ///< message with kind, where it failed
  std::string hint;    ///< of that error
  std::string output;  ///< what its program printed
};

/// Runs sh>, py> with real programs in a project directory of its own.
class ScriptTest : public testing::Test {
 protected:
  ScriptTest() {
    task.identity.task_id = 42;
    task.project_directory = project;
    task.workspace = project;
    io_area.emplace(project, IoArea::Options{});
    task.io_area = [this]() -> IoArea& { return *io_area; };
    task.environment = &environment;
    task.secrets = [this](std::string_view key) -> std::optional<std::string> {
      if (const Value* value = secrets.find(key)) return value->as_string();
      return std::nullopt;
    };
  }

  void file(std::string_view name, std::string_view text, unsigned mode = 0644) {
    std::filesystem::create_directories((project / name).parent_path());
    write_file_atomically(project / name, text, mode);
  }

  /// A task of this type whose own keys and inherited parameters, evaluated, are these JSON objects.
  Ended run(std::string_view type, std::string_view local, std::string_view inherited = "{}") {
    task.local = parse_json(local);
    task.config = parse_json(inherited);
    merge(task.config, task.local);
    task.config.mutable_object().set("_type", Value(type));
    const std::string operator_key = std::string(type) + ">";
    if (const Value* command = task.config.find(operator_key)) task.config.mutable_object().set("_command", *command);
    task.secret_spans.clear();
    find_secrets(task.config, "");

    Ended ended;
    try {
      const auto op = find_operator(type)->make();
      auto outcome = op->run(task);
      if (auto* command = std::get_if<RunCommand>(&outcome)) {
        outcome = op->command_ended(task, end_of(std::move(command->request), ended.output));
      }
      ended.result = std::get<engine::TaskResult>(std::move(outcome));
    } catch (const Error& error) {
      ended.error = error.message_with_kind();
      ended.hint = error.hint_text();
    }
    return ended;
  }

  /// What is left in the directory of temporary files besides locks; nothing where that is gone.
  std::vector<std::string> leftovers() const {
    std::vector<std::string> names;
    if (!std::filesystem::exists(project / ".digdag" / "tmp")) return names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(project / ".digdag" / "tmp")) {
      if (entry.path().extension() != ".lock") names.push_back(entry.path().lexically_relative(project).string());
    }
    return names;
  }

  const TemporaryDirectory directory;
  const std::filesystem::path project = directory.path();
  std::vector<std::pair<std::string, std::string>> environment{
      {"PATH", "/usr/bin:/bin"},
      {"HOME", "/nonexistent"},
      {"PYTHONDONTWRITEBYTECODE", "1"}};  // a module that changes within a second is another one
  Value secrets = Value::object();
  std::optional<IoArea> io_area;
  TaskContext task;

 private:
  command::CommandEnd end_of(command::CommandRequest request, std::string& output) {
    std::promise<command::CommandEnd> ended;
    auto end = ended.get_future();
    commands.start(
        std::move(request), [&output](std::string_view bytes) { output += bytes; },
        [&ended](command::CommandEnd e) { ended.set_value(std::move(e)); });
    return end.get();
  }

  /// What evaluation of templates finds: where secrets may be put in.
  void find_secrets(const Value& value, const std::string& pointer) {
    if (value.is_object()) {
      for (const auto& member : value.as_object()) find_secrets(member.value, pointer_to(pointer, member.key));
    }
    if (!value.is_string()) return;
    const std::string& text = value.as_string();
    for (auto at = text.find("${secret:"); at != std::string::npos; at = text.find("${secret:", at + 1)) {
      task.secret_spans[pointer].emplace_back(at, text.find('}', at) + 1 - at);
    }
  }

  command::CommandRunner commands;
};

}  // namespace digdag::operators
