#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace digdag::dig {

/// The rules for names (spec/language.md 3.2). Each function gives what is wrong with a name, nothing where it is fine:
/// messages such as `name must not contain character ' ': "+a b"`.

/// The name of a workflow or a project, which is also that of a file.
std::vector<std::string> faults_of_workflow_name(std::string_view name);
/// The name of a task at the top of a file.
std::vector<std::string> faults_of_top_task_name(std::string_view name);
/// The name of any task, with its sign.
std::vector<std::string> faults_of_task_name(std::string_view name);

/// The characters that a task's name may have, for people.
extern const char* const allowed_task_name;

}  // namespace digdag::dig
