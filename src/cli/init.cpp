#include <filesystem>
#include <iostream>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/init_templates.h"
#include "cli/remote.h"
#include "cli/settings.h"
#include "dig/names.h"
#include "operators/missing.h"

namespace digdag::cli {
namespace {

namespace fs = std::filesystem;

void check_name(const std::string& name) {
  if (const auto faults = dig::faults_of_workflow_name(name); !faults.empty())
    throw Error("model validation", "Validating workflow failed\n" + join(faults, "\n"));
}

/// Existing files stay as they are (decisions.md C-43).
void create(const fs::path& folder, const ProjectFile& file) {
  const fs::path path = folder / file.path;
  if (fs::exists(path)) {
    std::cout << "  Exists " << path.string() << "\n";
    return;
  }
  std::cout << "  Creating " << path.string() << "\n";
  std::error_code failure;
  fs::create_directories(path.parent_path(), failure);
  if (failure) throw Error("io", path.parent_path().string() + ": " + failure.message());
  write_new_file(path, file.content, file.executable ? 0755 : 0644);
}

int init(const Arguments& arguments) {
  const ProjectType* type = find_project_type(arguments.text_or("-t", "echo"));
  if (!type) throw UsageError{"--type has an invalid value", true};
  fs::path folder = arguments.positional()[0];
  if (!folder.has_filename()) folder = folder.parent_path();
  fs::path full = (current_directory() / folder).lexically_normal();
  if (!full.has_filename()) full = full.parent_path();
  const std::string name = full.filename();
  check_name(name);
  const fs::path workflow = folder / (name + ".dig");
  if (fs::exists(workflow)) {
    std::cout << "File " << workflow.string() << " already exists.\n";
    return 0;
  }
  for (const ProjectFile& file : type->files) create(folder, file);
  create(folder, {name + ".dig", type->workflow});
  if (!fs::exists(folder / ".gitignore")) create(folder, {".gitignore", "/.digdag-wrapper\n.digdag\n*.pyc\n"});
  const std::string next = type->needs_server ? "digdag push " + name : "digdag run " + name + ".dig";
  std::cout << "Done. Type " << (full == current_directory() ? "" : "`cd " + folder.string() + "` and then ") << "`" << next
            << "` to run the workflow. Enjoy!\n";
  if (operators::is_missing_operator(type->operator_name)) {
    std::cout.flush();
    std::cerr << "warning: this version of digdag does not have " << type->operator_name << "> yet: tasks with it will fail\n";
  }
  return 0;
}

}  // namespace

int init_command(const Invocation& invocation) {
  return local_command(invocation, "init",
                       {{{"-t", "--type"}, Option::Kind::text, "TYPE", "echo (default), sh, ruby, python, td or postgresql"}}, {1, 1},
                       init);
}

}  // namespace digdag::cli
