#include "dig/loader.h"
#include "operators/operator.h"
#include "operators/recursion.h"

namespace digdag::operators {
namespace {

/// call>: the tasks of another workflow file as subtasks (spec/operators.md 3.1).
class Call : public Operator {
 public:
  Outcome run(TaskContext& task) override {
    const std::filesystem::path path = task.workspace_file(workflow_file(task.params().string("_command")));
    const std::string file = path.lexically_relative(task.project_directory().lexically_normal()).string();
    if (generation_depth(task.identity.task_name) >= most_generations)
      throw config_error("call> recursion: " + call_cycle(task.project_directory(), file))
          .hint("a workflow that calls itself needs an if> that ends it before " + std::to_string(most_generations) + " levels");
    if (!std::filesystem::is_regular_file(path))
      throw config_error("File not found: " + path.string()).hint(did_you_mean(path.stem().string(), workflows_in(path.parent_path())));
    const Value document = dig::load_yaml_file(path, task.project_directory(), file);
    const std::string workflow = file.substr(0, file.size() - workflow_extension.size());
    return engine::TaskResult{.subtask_config = dig::called_workflow(workflow, document, file)};
  }

 private:
  static std::vector<std::string> workflows_in(const std::filesystem::path& directory) {
    std::vector<std::string> names;
    std::error_code unreadable;
    for (const auto& entry : std::filesystem::directory_iterator(directory, unreadable))
      if (entry.path().extension() == workflow_extension) names.push_back(entry.path().stem().string());
    return names;
  }
};

}  // namespace

std::unique_ptr<Operator> make_call() { return std::make_unique<Call>(); }

}  // namespace digdag::operators
