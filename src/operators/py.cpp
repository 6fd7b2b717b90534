#include <optional>

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "command/program.h"
#include "operators/io_directory.h"
#include "operators/runner_py.h"
#include "operators/script.h"

namespace digdag::operators {
namespace {

using Variables = std::vector<std::pair<std::string, std::string>>;

/// The interpreter: as it was given; else `python`, or `python3` where there is no `python` (spec/decisions.md O-24).
std::vector<std::string> interpreter(const Value& params, const Variables& environment, const std::filesystem::path& directory) {
  const Value* python = params.find("python");
  if (python == nullptr) {
    for (const std::string_view name : {"python", "python3"}) {
      if (command::find_program(name, environment, directory)) return {std::string(name)};
    }
    throw Error("runtime", "There is neither a program python nor python3 in PATH")
        .hint("install python3, or name it: `py: {python: /path/to/python3}` in _export");
  }
  if (python->is_string()) return {python->as_string()};
  if (python->is_array() && !python->as_array().empty()) return Config(params).strings_or_empty("python");
  throw config_error("Invalid python: " + to_json(*python));
}

/// What the runner wrote about the exception that ended it: `: message (class)` and, indented, the traceback as Python prints it.
std::string describe(const Value& output) {
  const Value* error = output.find("error");
  if (error == nullptr || !error->is_object()) return "";
  const Config details(*error);
  std::string text;
  if (const auto message = details.optional_string("message")) text += ": " + *message;
  if (const auto type = details.optional_string("class")) text += " (" + *type + ")";
  const std::string trace = join(details.strings_or_empty("backtrace"), "");
  if (is_blank(trace)) return text;
  for (const std::string& line : split(trace.substr(0, trace.find_last_not_of('\n') + 1), '\n')) {
    text += line.empty() ? "\n" : "\n  " + line;
  }
  return text;
}

/// py>: calls a function of a Python module in the workspace, or runs a script (spec/operators.md 4.2).
class Py : public Operator {
 public:
  Outcome run(TaskContext& task) override {
    const Value params = params_with_defaults(task, "py");
    command::CommandRequest request;
    Environment environment(task);
    environment.add_env_of(task);
    request.environment = std::move(environment).take();
    request.working_directory = task.workspace();
    request.arguments = interpreter(params, request.environment, task.workspace());
    const auto function = Config(params).optional_string("_command");
    const std::string script = function ? std::string(runner_py) : Config(params).string("script");
    called_ = function ? "py>: " + *function : "the script of py>";

    io_.emplace(task, "py");
    io_->write("runner.py", script);
    io_->write("input.json", to_json(Value::object({{"params", params}})));
    request.arguments.push_back(io_->relative("runner.py"));
    if (function) request.arguments.push_back(*function);
    request.arguments.push_back(io_->relative("input.json"));
    request.arguments.push_back(io_->relative("output.json"));
    return RunCommand{std::move(request)};
  }

  Outcome command_ended(TaskContext&, const command::CommandEnd& end) override {
    check_ended_by_itself(end, "Python command");
    if (*end.exit_code != 0) throw failure(end);
    if (!exists(io_->file("output.json"))) {
      throw Error("runtime", "output.json does not exist. Something unexpected error happened. Please check logs.")
          .hint("the program ended without a result: a script must write it, and a function must not end the process");
    }
    const Value output = read_output();
    const Config results(output);
    engine::TaskResult result;
    result.subtask_config = results.nested_or_empty("subtask_config");
    result.export_params = results.nested_or_empty("export_params");
    result.store_params = results.nested_or_empty("store_params");
    io_.reset();
    return result;
  }

 private:
  Value read_output() const {
    try {
      Value output = parse_json(read_regular_file(io_->file("output.json")));
      if (!output.is_object()) throw Error("runtime", "it must be an object");
      return output;
    } catch (const Error& error) {
      throw Error("runtime", "The result of " + called_ + " (output.json) cannot be read: " + error.message())
          .hint("store texts, finite numbers, true, false, None, and lists and dicts of them");
    }
  }

  Error failure(const command::CommandEnd& end) const {
    std::string message = "Python command failed with code " + std::to_string(*end.exit_code);
    if (exists(io_->file("output.json"))) {
      message += "\nError messages from python";
      try {
        message += describe(parse_json(read_regular_file(io_->file("output.json"))));
      } catch (const Error&) {
        message += "\n\tCan't parse output.json. The command failed unexpectedly. Please check logs.";
      }
    }
    return exit_error(std::move(message), end);
  }

  std::optional<IoDirectory> io_;
  std::string called_;  ///< for errors: `py>: tasks.f`
};

}  // namespace

std::unique_ptr<Operator> make_py() { return std::make_unique<Py>(); }

}  // namespace digdag::operators
