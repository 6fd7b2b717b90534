#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/value.h"
#include "dig/workflow.h"

namespace digdag::dig {

/// Limits against hostile files, each with its own error (spec/decisions.md L-03).
struct LoadLimits {
  std::size_t bytes = 64u << 20;  ///< of one file
  std::size_t nodes = 1'000'000;  ///< of one document after alias expansion, includes counted in
  std::size_t depth = 200;
  std::size_t files = 10'000;  ///< includes of one document
};

/// Where a document comes from: its includes are resolved from `directory` and must lie inside of `root` (L-07).
struct Source {
  std::filesystem::path directory;
  std::filesystem::path root;
  std::string display_name;  ///< how errors name the file, normally relative to the project
};

/// Parses YAML (or JSON) text of the language: the original's resolver, every key with its position, `!include` expanded.
/// The top must be an object. Throws Error with position, source line and hint.
Value load_yaml(std::string_view text, const Source& source, const LoadLimits& limits = {});
/// The same for a file; Error(kind "no such file") where it is missing.
Value load_yaml_file(const std::filesystem::path& file, const std::filesystem::path& root, std::string display_name,
                     const LoadLimits& limits = {});

/// Something that works but probably not as meant: `W-number-string`, `W-octal`, … (spec/decisions.md 2, dig/warnings.h).
struct Warning {
  Position position;
  std::string id;
  std::string message;
};

/// Everything found at the top of a project directory (spec/language.md 3.1), files sorted by name.
struct Project {
  struct File {
    std::string name;  ///< `a.dig`
    std::optional<Workflow> workflow;
    std::optional<TaskTree> tasks;  ///< compiled
    std::vector<Error> errors;      ///< all that were found in this file and its includes; empty where it is fine
    std::vector<Warning> warnings;  ///< of this file and its includes
  };
  std::filesystem::path directory;
  std::vector<File> files;
  std::vector<Warning> warnings;  ///< of all files

  const File* find(std::string_view workflow_name) const;
  /// Of all files, broken ones too.
  std::vector<std::string> workflow_names() const;
};
/// Loads and compiles every `*.dig` of the directory; errors are collected, not thrown (a missing directory is thrown).
Project load_project(const std::filesystem::path& directory, const LoadLimits& limits = {});
/// One file of it. `name` is its file name (`a.dig`).
Project::File load_project_file(const std::filesystem::path& directory, const std::string& name, std::vector<Warning>& warnings,
                                const LoadLimits& limits = {});

/// Splits a loaded document into a workflow (spec/language.md 3.3); `name` is the workflow's name, for a called file
/// `sub/x`. Throws the first error.
Workflow workflow_of(std::string name, const Value& document, std::string file);
/// What `call>` makes of a file: the config of the subtree, `_workdir` set for a file in a subdirectory (3.3, 3.5).
Value called_workflow(const std::string& name, const Value& document, const std::string& file);

}  // namespace digdag::dig
