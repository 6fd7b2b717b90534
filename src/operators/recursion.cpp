#include "operators/recursion.h"

#include <deque>
#include <map>
#include <vector>

#include "base/error.h"
#include "base/value.h"
#include "dig/loader.h"

namespace digdag::operators {
namespace {

constexpr std::size_t most_files = 1000;

/// The files that `call>` names below a value, relative to the project. (A `_workdir` of the calling file is its directory.)
void collect_calls(const Value& value, const std::filesystem::path& directory, std::vector<std::string>& files) {
  if (value.is_array())
    for (const Value& element : value.as_array()) collect_calls(element, directory, files);
  if (!value.is_object()) return;
  for (const auto& member : value.as_object()) {
    if (member.key == "call>" && member.value.is_string()) {
      files.push_back((directory / workflow_file(member.value.as_string())).lexically_normal().string());
    } else {
      collect_calls(member.value, directory, files);
    }
  }
}

std::vector<std::string> calls_of(const std::filesystem::path& project, const std::string& file) {
  std::vector<std::string> files;
  try {
    collect_calls(dig::load_yaml_file(project / file, project, file), std::filesystem::path(file).parent_path(), files);
  } catch (const Error&) {
    // A file that cannot be read calls nothing.
  }
  return files;
}

std::string without_extension(const std::string& file) {
  return file.ends_with(workflow_extension) ? file.substr(0, file.size() - workflow_extension.size()) : file;
}

}  // namespace

std::string workflow_file(std::string name) {
  if (!name.ends_with(workflow_extension)) name += workflow_extension;
  return name;
}

std::size_t generation_depth(std::string_view task_name) {
  std::size_t depth = 0;
  for (std::size_t at = task_name.find("^sub"); at != std::string_view::npos; at = task_name.find("^sub", at + 1)) ++depth;
  return depth;
}

std::string call_cycle(const std::filesystem::path& project, const std::string& file) {
  std::map<std::string, std::string> caller_of;  // breadth first, so that the shortest cycle is named
  std::deque<std::string> next{file};
  while (!next.empty() && caller_of.size() < most_files) {
    const std::string caller = next.front();
    next.pop_front();
    for (const std::string& callee : calls_of(project, caller)) {
      if (callee == file) {
        std::string cycle = without_extension(file);
        for (std::string at = caller; at != file; at = caller_of[at]) cycle = without_extension(at) + " -> " + cycle;
        return without_extension(file) + " -> " + cycle;
      }
      if (caller_of.emplace(callee, caller).second) next.push_back(callee);
    }
  }
  return without_extension(file) + " -> … -> " + without_extension(file);
}

}  // namespace digdag::operators
