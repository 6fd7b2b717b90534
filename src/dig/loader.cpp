#include "dig/loader.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>

#include "base/file.h"
#include "dig/compiler.h"
#include "dig/document.h"
#include "dig/ignore_rules.h"
#include "dig/source_lines.h"
#include "dig/warnings.h"
#include "dig/workflow_file.h"

namespace digdag::dig {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view suffix = ".dig";

IgnoreRules ignore_rules_of(const fs::path& directory) {
  const fs::path file = directory / ".digdagignore";
  std::error_code failure;
  return fs::is_regular_file(file, failure) ? IgnoreRules(read_file(file)) : IgnoreRules();
}

/// The names of the workflow files at the top of a project, sorted.
std::vector<std::string> workflow_files_of(const fs::path& directory) {
  std::error_code failure;
  fs::directory_iterator entries(directory, failure);
  if (failure == std::errc::no_such_file_or_directory) throw Error("no such file", directory.string());
  if (failure) throw config_error("cannot read the project directory " + directory.string() + ": " + failure.message());
  const IgnoreRules ignored = ignore_rules_of(directory);
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : entries) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(suffix) || name.starts_with('.') || !entry.is_regular_file(failure) || ignored.ignores(name, false)) continue;
    names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// In the order of the file, those of included files behind.
void sort_by_position(std::vector<Error>& errors, std::uint16_t file) {
  const auto key = [file](const Error& error) {
    const Position& at = error.position();
    return std::make_tuple(at.file != file, at.file, at.line, at.column);
  };
  std::stable_sort(errors.begin(), errors.end(), [&](const Error& a, const Error& b) { return key(a) < key(b); });
}

}  // namespace

Value load_yaml(std::string_view text, const Source& source, const LoadLimits& limits) {
  Document document = load_document(text, source, limits);
  if (!document.errors.empty()) throw document.errors.front();
  return std::move(document.value);
}

Value load_yaml_file(const fs::path& file, const fs::path& root, std::string display_name, const LoadLimits& limits) {
  const std::string text = read_file(file, limits.bytes);
  return load_yaml(text, {.directory = file.parent_path(), .root = root, .display_name = std::move(display_name)}, limits);
}

Project::File load_project_file(const fs::path& directory, const std::string& name, std::vector<Warning>& warnings,
                                const LoadLimits& limits) {
  Project::File file{.name = name};
  const Position start{1, 1, file_id(name)};
  SourceLines lines(directory);
  try {
    const std::string text = read_file(directory / name, limits.bytes);
    lines.add(name, text);
    Document document = load_document(text, {.directory = directory, .root = directory, .display_name = name}, limits);
    file.errors = std::move(document.errors);
    file.warnings = std::move(document.warnings);
    if (document.complete) {
      file.workflow = split_workflow(name.substr(0, name.size() - suffix.size()), document.value, name, file.errors);
      file.tasks = compile(*file.workflow, file.errors);
      if (file.errors.empty()) find_doubts(*file.workflow, *file.tasks, file.warnings);
    }
  } catch (const Error& error) {
    file.errors.push_back(error.position().known() ? error : Error(error).at(start));
  }
  for (Error& error : file.errors) error = lines.complete(std::move(error));
  sort_by_position(file.errors, start.file);
  warnings.insert(warnings.end(), file.warnings.begin(), file.warnings.end());
  return file;
}

Project load_project(const fs::path& directory, const LoadLimits& limits) {
  Project project{.directory = directory};
  for (const std::string& name : workflow_files_of(directory))
    project.files.push_back(load_project_file(directory, name, project.warnings, limits));
  for (Project::File& file : project.files) {
    if (!file.tasks || !file.errors.empty()) continue;
    std::vector<Warning> found = find_doubtful_targets(project, file);
    file.warnings.insert(file.warnings.end(), found.begin(), found.end());
    project.warnings.insert(project.warnings.end(), found.begin(), found.end());
  }
  return project;
}

const Project::File* Project::find(std::string_view workflow_name) const {
  for (const File& file : files) {
    if (file.name.size() == workflow_name.size() + suffix.size() && file.name.starts_with(workflow_name)) return &file;
  }
  return nullptr;
}

std::vector<std::string> Project::workflow_names() const {
  std::vector<std::string> names;
  names.reserve(files.size());
  for (const File& file : files) names.push_back(file.name.substr(0, file.name.size() - suffix.size()));
  return names;
}

}  // namespace digdag::dig
