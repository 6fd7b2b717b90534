#include "cli/state_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "dig/yaml_reader.h"

namespace digdag::cli {
namespace {

constexpr std::string_view digest_file = ".meta.json";

Value result_value(const engine::TaskResult* result) {
  const auto object_or_empty = [](const Value& value) { return value.is_object() ? value : Value::object(); };
  const engine::TaskResult empty;
  const engine::TaskResult& r = result ? *result : empty;
  return Value::object({{"subtaskConfig", object_or_empty(r.subtask_config)},
                        {"exportParams", object_or_empty(r.export_params)},
                        {"resetStoreParams", Value::array()},
                        {"storeParams", object_or_empty(r.store_params)},
                        {"report", Value::object({{"inputs", Value::array()}, {"outputs", Value::array()}})}});
}

/// A node of a state file. Not the resolver of `.dig` files: what stands here was written from JSON (0.5 is a number).
Value value_of(const dig::YamlNode& node) {
  switch (node.kind) {
    case dig::YamlNode::Kind::sequence: {
      Array items;
      for (const dig::YamlNode* child : node.children) items.push_back(value_of(*child));
      return Value(std::move(items));
    }
    case dig::YamlNode::Kind::mapping: {
      Object members;
      for (std::size_t i = 0; i + 1 < node.children.size(); i += 2) members.set(node.children[i]->text, value_of(*node.children[i + 1]));
      return Value(std::move(members));
    }
    case dig::YamlNode::Kind::scalar: break;
  }
  if (!node.plain) return node.text;
  try {
    Value value = parse_json(node.text);
    if (value.is_scalar()) return value;
  } catch (const Error&) {
    // No JSON scalar, so it is a plain text.
  }
  return node.text.empty() ? Value() : Value(node.text);
}

/// Throws Error where it is no YAML; aliases, which nobody writes into state files, are refused.
Value load_state(const std::filesystem::path& file) {
  constexpr std::size_t most_nodes = 10'000'000, most_depth = 200;
  const dig::YamlDocument document = dig::read_yaml(read_regular_file(file), file_id("state file"), most_nodes, most_depth);
  for (const dig::YamlNode& node : document.nodes) {
    if (!node.anchor.empty()) throw config_error(file.string() + " has anchors, which state files never have");
  }
  return document.root ? value_of(*document.root) : Value();
}

/// The object of this key, `{}` for a missing one; nothing where it is something else.
std::optional<Value> object_member(const Value& value, std::string_view key) {
  const Value* member = value.find(key);
  if (!member || member->is_null()) return Value::object();
  if (!member->is_object()) return std::nullopt;
  return *member;
}

}  // namespace

std::string digest_of(const Value& local) {
  // FNV-1a, 64 bit: an edit is to be noticed, not an attack.
  std::uint64_t hash = 14695981039346656037u;
  for (const unsigned char c : to_json(local)) hash = (hash ^ c) * 1099511628211u;
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

StateFiles::StateFiles(std::filesystem::path directory) : directory_(std::move(directory)) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".yml")) present_.insert(name.substr(0, name.size() - 4));
  }
  if (!std::filesystem::exists(directory_ / digest_file, ignored)) return;
  try {
    const Value digests = parse_json(read_regular_file(directory_ / digest_file));
    if (const Value* tasks = digests.find("tasks"); tasks && tasks->is_object()) {
      for (const auto& member : tasks->as_object()) {
        if (member.value.is_string()) digests_[member.key] = member.value.as_string();
      }
    }
  } catch (const Error&) {
    // Only used to warn about edited tasks: a broken file means that nothing is known.
  }
}

StateFiles::~StateFiles() {
  if (lock_file_ >= 0) ::close(lock_file_);
}

void StateFiles::lock(std::string_view workflow) {
  std::error_code failure;
  std::filesystem::create_directories(directory_, failure);
  directory_made_ = !failure;
  const std::filesystem::path file = directory_ / (".lock+" + std::string(workflow));
  lock_file_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_file_ < 0) return;  // the directory cannot be written: saving will say so
  if (::flock(lock_file_, LOCK_EX | LOCK_NB) != 0) {
    char pid[32] = {};
    const auto length = ::pread(lock_file_, pid, sizeof pid - 1, 0);
    throw Error("", "session " + directory_.filename().string() + " of workflow '" + std::string(workflow) + "' is being run by pid " +
                        (length > 0 ? std::string(pid, static_cast<std::size_t>(length)) : std::string("(unknown)")))
        .hint("wait for it, or give another session time with --session");
  }
  const std::string pid = std::to_string(::getpid());
  if (::ftruncate(lock_file_, 0) != 0 || ::pwrite(lock_file_, pid.data(), pid.size(), 0) < 0) {
    // The lock itself holds; only the message of a second run would miss our pid.
    errno = 0;
  }
}

std::filesystem::path StateFiles::file_of(const std::string& full_name) const { return directory_ / (full_name + ".yml"); }

std::optional<engine::TaskResult> StateFiles::load(const std::string& full_name, std::string& problem) const {
  {
    const std::lock_guard guard(mutex_);
    if (!present_.contains(full_name)) return std::nullopt;
  }
  const std::filesystem::path file = file_of(full_name);
  try {
    const Value saved = load_state(file);
    const Value* state = saved.find("state");
    const Value* result = saved.find("result");
    if (!state || !state->is_string() || !result || !result->is_object()) {
      problem = file.string() + " is not the state of a task";
      return std::nullopt;
    }
    if (state->as_string() != "success") return std::nullopt;
    engine::TaskResult loaded;
    for (const auto& [key, target] : {std::pair{"subtaskConfig", &loaded.subtask_config}, std::pair{"exportParams", &loaded.export_params},
                                      std::pair{"storeParams", &loaded.store_params}}) {
      const auto member = object_member(*result, key);
      if (!member) {
        problem = file.string() + ": " + key + " is no object";
        return std::nullopt;
      }
      *target = *member;
    }
    return loaded;
  } catch (const Error& error) {
    problem = error.message();
    return std::nullopt;
  }
}

void StateFiles::remove(const std::string& full_name) {
  const std::lock_guard guard(mutex_);
  if (present_.erase(full_name) == 0 || ::unlink(file_of(full_name).c_str()) == 0 || errno == ENOENT) return;
  if (failures_++ == 0) first_failure_ = file_of(full_name).string() + ": " + std::strerror(errno);
}

void StateFiles::save(const std::string& full_name, const engine::TaskResult* result, const std::string& digest) {
  Value state = Value::object({{"fullName", full_name}, {"state", "success"}, {"result", result_value(result)}});
  const std::lock_guard guard(mutex_);
  try {
    if (!directory_made_) {
      std::filesystem::create_directories(directory_);
      directory_made_ = true;
    }
    write_file_atomically(file_of(full_name), to_yaml(state));
    present_.insert(full_name);
    if (!digest.empty()) {
      digests_[full_name] = digest;
      digests_changed_ = true;
    }
  } catch (const std::exception& failure) {
    if (failures_++ == 0) first_failure_ = failure.what();
  }
}

bool StateFiles::was_edited(const std::string& full_name, const std::string& digest) const {
  const std::lock_guard guard(mutex_);
  const auto found = digests_.find(full_name);
  return found != digests_.end() && found->second != digest;
}

void StateFiles::close() {
  const std::lock_guard guard(mutex_);
  if (!digests_changed_) return;
  Object tasks;
  for (const auto& [name, digest] : digests_) tasks.set(name, digest);
  try {
    write_file_atomically(directory_ / digest_file, to_json(Value::object({{"tasks", std::move(tasks)}})) + "\n");
  } catch (const std::exception& failure) {
    if (failures_++ == 0) first_failure_ = failure.what();
  }
}

std::size_t StateFiles::failures() const {
  const std::lock_guard guard(mutex_);
  return failures_;
}

std::string StateFiles::first_failure() const {
  const std::lock_guard guard(mutex_);
  return first_failure_;
}

}  // namespace digdag::cli
