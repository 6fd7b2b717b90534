#include "operators/script.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"

namespace digdag::operators {
namespace fs = std::filesystem;
namespace {

/// `SIGKILL`; empty for a number without a name.
std::string signal_name(int signal) {
  const char* name = sigabbrev_np(signal);
  return name != nullptr ? std::string("SIG") + name : "";
}

Error cannot_make(const fs::path& path, int error) {
  return Error("io", "Cannot create directory " + path.string() + ": " + std::strerror(error));
}

fs::path io_parent(const fs::path& project) { return fs::absolute(project).lexically_normal() / ".digdag" / "tmp"; }

/// Another process may remove the empty directory above between our two steps.
fs::path make_unique_directory(const fs::path& parent, const std::string& prefix) {
  for (int tries_left = 100;; --tries_left) {
    std::string path = (parent / (prefix + "-XXXXXX")).string();
    if (mkdtemp(path.data()) != nullptr) return path;
    if ((errno != ENOENT && errno != ENOTDIR) || tries_left == 0) throw cannot_make(path, errno);
    std::error_code error;
    fs::create_directories(parent, error);
    if (error) throw cannot_make(parent, error.value());
  }
}

}  // namespace

IoDirectory::IoDirectory(const TaskContext& task, std::string_view type) : workspace_(fs::absolute(task.workspace).lexically_normal()) {
  path_ =
      make_unique_directory(io_parent(task.project_directory), "digdag-" + std::string(type) + "-" + std::to_string(task.identity.task_id));
  keep_ = task.log != nullptr && task.log->enabled(LogLevel::debug);
}

IoDirectory::~IoDirectory() {
  if (keep_) return;
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void IoDirectory::remove_parent(const fs::path& project_directory) {
  rmdir(io_parent(project_directory).c_str());  // only where it is empty
}

std::string IoDirectory::relative(std::string_view name) const {
  const fs::path path = file(name).lexically_relative(workspace_);
  // `..` leads elsewhere where the workspace is reached through a link.
  std::error_code error;
  if (*path.begin() == ".." && !fs::equivalent(workspace_ / path.parent_path(), path_, error)) return file(name).string();
  return path.string();
}

void IoDirectory::write(std::string_view name, std::string_view content) const { write_new_file(file(name), content, 0600); }

Environment::Environment(const TaskContext& task) {
  if (task.environment == nullptr) return;
  for (const auto& [name, value] : *task.environment) set(name, value);
}

void Environment::unset(std::string_view name) {
  if (const auto found = variables_.find(name); found != variables_.end()) variables_.erase(found);
}

void Environment::add_env_of(const TaskContext& task) {
  const Value env = Config(task.local).nested_or_empty("_env");
  for (const auto& member : env.as_object()) {
    if (!is_environment_name(member.key)) throw config_error("Invalid _env key name: " + member.key).at(member.position);
    if (member.value.is_null()) {
      unset(member.key);
    } else {
      set(member.key, task.with_secrets(pointer_to("/_env", member.key)));
    }
  }
}

std::vector<std::pair<std::string, std::string>> Environment::take() && {
  std::vector<std::pair<std::string, std::string>> all;
  all.reserve(variables_.size());
  while (!variables_.empty()) {
    auto variable = variables_.extract(variables_.begin());
    all.emplace_back(std::move(variable.key()), std::move(variable.mapped()));
  }
  return all;
}

void check_ended_by_itself(const command::CommandEnd& end, std::string_view what) {
  if (!end.failure.empty()) throw Error("runtime", end.failure);
  if (!end.signal) return;
  const std::string name = signal_name(*end.signal);
  throw Error("runtime",
              std::string(what) + " was ended by signal " + std::to_string(*end.signal) + (name.empty() ? "" : " (" + name + ")"));
}

}  // namespace digdag::operators
