#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "base/json.h"
#include "dig/compiler.h"
#include "dig/loader.h"

namespace digdag::dig {

/// A project directory that lives as long as the test.
class TestProject {
 public:
  TestProject(std::initializer_list<std::pair<std::string, std::string>> files) {
    std::string name = (std::filesystem::temp_directory_path() / "digdag-test-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
    for (const auto& [path, content] : files) write(path, content);
  }
  TestProject(const TestProject&) = delete;
  TestProject& operator=(const TestProject&) = delete;
  ~TestProject() { std::filesystem::remove_all(directory_); }

  void write(const std::string& path, std::string_view content) const {
    std::filesystem::create_directories((directory_ / path).parent_path());
    std::ofstream(directory_ / path, std::ios::binary) << content;
  }
  const std::filesystem::path& directory() const { return directory_; }
  Project load() const { return load_project(directory_); }
  /// Everything that is wrong with the project, as a person sees it, each report followed by an empty line.
  std::string errors() const {
    std::string text;
    for (const Project::File& file : load().files) {
      for (const Error& error : file.errors) text += error.report() + "\n\n";
    }
    return text;
  }
  /// The messages alone, one a line.
  std::string messages() const {
    std::string text;
    for (const Project::File& file : load().files) {
      for (const Error& error : file.errors) text += error.message() + "\n";
    }
    return text;
  }

 private:
  std::filesystem::path directory_;
};

/// A task tree as a picture: a line for each task with its upstreams, its own keys and what it exports.
inline std::string draw(const TaskTree& tree) {
  std::string text;
  for (std::size_t i = 0; i < tree.tasks.size(); ++i) {
    const TaskDefinition& task = tree.tasks[i];
    text += task.full_name + " [";
    std::string separator;
    for (const std::int32_t upstream : all_upstreams(tree, static_cast<std::int32_t>(i))) {
      text += std::exchange(separator, " ") + tree.tasks[static_cast<std::size_t>(upstream)].name;
    }
    text += task.group ? "] group" : "]";
    if (!task.local.as_object().empty()) text += " " + to_json(task.local);
    if (!task.export_params.as_object().empty()) text += " / " + to_json(task.export_params);
    text += "\n";
  }
  return text;
}

/// The tree of a `wf.dig` with this text.
inline std::string tree_of(std::string_view dig) {
  const TestProject project{{"wf.dig", std::string(dig)}};
  const Project loaded = project.load();
  const Project::File& file = loaded.files.front();
  return file.errors.empty() ? "\n" + draw(*file.tasks) : project.messages();
}

/// What is wrong with a `wf.dig` of this text: the messages, one a line.
inline std::string faults_of(std::string_view dig) { return TestProject{{"wf.dig", std::string(dig)}}.messages(); }

}  // namespace digdag::dig
