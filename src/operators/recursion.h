#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace digdag::operators {

/// Of the files that hold workflows.
constexpr std::string_view workflow_extension = ".dig";
/// The file that `call>` names; the extension may be left out.
std::string workflow_file(std::string name);

/// Generated subtrees around a task: the `^sub` in its full name.
std::size_t generation_depth(std::string_view task_name);
/// So many of them hold a workflow that calls itself without end (spec/decisions.md O-10).
constexpr std::size_t most_generations = 100;

/// How a workflow file calls itself, as far as its text says: `a -> b -> a`; `a -> … -> a` where templates hide it. `file` is
/// relative to the project.
std::string call_cycle(const std::filesystem::path& project, const std::string& file);

}  // namespace digdag::operators
