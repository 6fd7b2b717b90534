#include <optional>

#include "base/json.h"
#include "base/text.h"
#include "operators/io_directory.h"
#include "operators/script.h"

namespace digdag::operators {
namespace {

/// Every parameter whose name can be a variable's is one: texts as they are, other values as JSON. A null unsets it
/// (spec/decisions.md L-34).
void add_params(Environment& environment, const Value& params) {
  for (const auto& [name, value, position] : params.as_object()) {
    if (!is_environment_name(name)) continue;
    if (value.is_null()) {
      environment.unset(name);
    } else {
      environment.set(name, value.is_string() ? value.as_string() : to_json(value));
    }
  }
}

std::vector<std::string> shell_of(const Value& params) {
  auto shell = Config(params).strings_or_empty("shell");
  if (shell.empty()) shell = {"/bin/sh"};
  return shell;
}

/// sh>: runs its text as a script of a shell (spec/operators.md 4.1).
class Sh : public Operator {
 public:
  Outcome run(TaskContext& task) override {
    const Value params = params_with_defaults(task, "sh");
    task.params().string("_command");  // must be there, and a text
    command::CommandRequest request;
    request.arguments = shell_of(params);
    Environment environment(task);
    add_params(environment, params);
    environment.add_env_of(task);
    request.environment = std::move(environment).take();
    request.working_directory = task.workspace();

    io_.emplace(task, "sh");
    io_->write("runner.sh", task.with_secrets("/_command"));
    request.arguments.push_back(io_->relative("runner.sh"));
    return RunCommand{std::move(request)};
  }

  Outcome command_ended(TaskContext&, const command::CommandEnd& end) override {
    io_.reset();
    check_ended_by_itself(end, "Command");
    if (*end.exit_code != 0) throw exit_error("Command failed with code " + std::to_string(*end.exit_code), end);
    return engine::TaskResult{};
  }

 private:
  std::optional<IoDirectory> io_;
};

}  // namespace

std::unique_ptr<Operator> make_sh() { return std::make_unique<Sh>(); }

}  // namespace digdag::operators
