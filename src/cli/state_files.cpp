#include "cli/state_files.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "dig/yaml_reader.h"

namespace digdag::cli {
namespace {

constexpr std::string_view digest_file = ".meta.json";

/// `PREFIX NAME SUFFIX`; a name that a file cannot have is cut and told apart by its digest. The original cannot save those.
std::string file_name(std::string_view prefix, const std::string& name, std::string_view suffix) {
  constexpr std::size_t most = 255;  // NAME_MAX
  const std::size_t around = prefix.size() + suffix.size();
  if (around + name.size() <= most) return std::string(prefix) + name + std::string(suffix);
  const std::string digest = "~" + digest_of(Value(name));
  return std::string(prefix) + std::string(first_bytes(name, most - around - digest.size())) + digest + std::string(suffix);
}

std::string state_file_name(const std::string& full_name) { return file_name("", full_name, ".yml"); }
/// Which values of a task's subtasks are data and no templates (spec/decisions.md L-21): the state file itself, which the
/// original reads, has no place for that.
std::string literals_file_name(const std::string& full_name) { return file_name(".", full_name, ".literals.json"); }

Value array_of(const std::vector<std::string>& texts) {
  Array items;
  for (const std::string& text : texts) items.emplace_back(text);
  return Value(std::move(items));
}

Value result_value(const engine::TaskResult* result) {
  const auto object_or_empty = [](const Value& value) { return value.is_object() ? value : Value::object(); };
  const engine::TaskResult empty;
  const engine::TaskResult& r = result ? *result : empty;
  return Value::object({{"subtaskConfig", object_or_empty(r.subtask_config)},
                        {"exportParams", object_or_empty(r.export_params)},
                        {"resetStoreParams", array_of(r.reset_store_params)},
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

/// The texts of an array; nothing where it is none.
std::vector<std::string> texts_in(const Value& value) {
  std::vector<std::string> texts;
  if (!value.is_array()) return texts;
  for (const Value& item : value.as_array()) {
    if (item.is_string()) texts.push_back(item.as_string());
  }
  return texts;
}

/// The digests of a session's tasks by full name. They only serve to warn of edited tasks: of a broken file nothing is known.
std::unordered_map<std::string, std::string> digests_in(const std::filesystem::path& directory) {
  std::unordered_map<std::string, std::string> digests;
  std::error_code ignored;
  if (!std::filesystem::exists(directory / digest_file, ignored)) return digests;
  try {
    const Value kept = parse_json(read_regular_file(directory / digest_file));
    if (const Value* tasks = kept.find("tasks"); tasks && tasks->is_object()) {
      for (const auto& member : tasks->as_object()) {
        if (member.value.is_string()) digests[member.key] = member.value.as_string();
      }
    }
  } catch (const Error&) {
  }
  return digests;
}

/// The file whose flock is the lock; none where nothing can be written into its directory, which saving will tell.
Fd open_lock(const std::filesystem::path& file) {
  constexpr int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  Fd lock(::open(file.c_str(), O_RDWR | O_CREAT | flags, 0644));
  if (!lock && errno == EACCES) lock.reset(::open(file.c_str(), O_RDONLY | flags));  // that of another user locks as well
  const int error = errno;
  if (struct stat status{}; lock && fstat(lock.get(), &status) == 0 && (!S_ISREG(status.st_mode) || status.st_nlink > 1))
    throw Error("", "the session cannot be locked: " + file.string() + " is no file of ours").hint("remove it");
  if (lock) return lock;
  if (error == EROFS || error == ENOENT || error == ENOTDIR || error == ENOSPC || error == EDQUOT) return lock;
  if (error == EACCES && ::access(file.parent_path().c_str(), W_OK) != 0) return lock;
  const std::string problem =
      error == ELOOP ? "is a symbolic link, not a lock of ours" : std::string("cannot be opened: ") + std::strerror(error);
  throw Error("", "the session cannot be locked: " + file.string() + " " + problem).hint("remove it");
}

/// `is being run by pid N`, from what stands in the lock of somebody else.
std::string what_holds(int lock) {
  std::string pid;
  for (int looks_left = 5; looks_left > 0; --looks_left) {
    char text[32] = {};
    if (::pread(lock, text, sizeof text - 1, 0) > 0) pid = text;
    if (!pid.empty() && (::kill(std::atoi(pid.c_str()), 0) == 0 || errno != ESRCH)) return "is being run by pid " + pid;
    ::usleep(20'000);  // one that just took it has yet to write its own
  }
  if (pid.empty()) return "is being run by another process";
  // The guard of a process holds its lock until the last of its commands is gone.
  return "is still being stopped: pid " + pid + " has ended, and commands that it started are being ended";
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

StateFiles::StateFiles(std::filesystem::path directory, std::string workflow, Use use)
    : directory_(std::move(directory)), workflow_(std::move(workflow)) {
  if (use == Use::run) lock();
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".yml") || name.ends_with(".literals.json")) present_.insert(name);
  }
  digests_ = digests_in(directory_);
}

StateFiles::~StateFiles() { unlock(); }

void StateFiles::lock() {
  std::error_code failure;
  std::filesystem::create_directories(directory_, failure);
  directory_made_ = !failure;
  const std::filesystem::path file = directory_ / file_name(".lock+", workflow_, "");
  Fd lock = open_lock(file);
  if (!lock) return;
  while (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK)
      throw SessionInUse("session " + directory_.filename().string() + " of workflow '" + workflow_ + "' " + what_holds(lock.get()));
    lock_problem_ = file.string() + " cannot be locked: " + std::strerror(errno);
    return;
  }
  const std::string pid = std::to_string(::getpid());
  if (::ftruncate(lock.get(), 0) != 0 || ::pwrite(lock.get(), pid.data(), pid.size(), 0) < 0) {
    // The lock itself holds; only the message of a second run would miss our pid.
    errno = 0;
  }
  lock_file_ = std::move(lock);
}

void StateFiles::unlock() {
  if (lock_file_) ::flock(lock_file_.get(), LOCK_UN);  // also for duplicates that others hold
  lock_file_.reset();
}

std::optional<engine::TaskResult> StateFiles::load(const std::string& full_name, std::string& problem) const {
  const std::string file_name = state_file_name(full_name);
  bool has_literals = false;
  {
    const std::lock_guard guard(mutex_);
    if (!present_.contains(file_name)) return std::nullopt;
    has_literals = present_.contains(literals_file_name(full_name));
  }
  const std::filesystem::path file = directory_ / file_name;
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
    if (const Value* keys = result->find("resetStoreParams")) loaded.reset_store_params = texts_in(*keys);
    if (has_literals) loaded.literal_paths = texts_in(parse_json(read_regular_file(directory_ / literals_file_name(full_name))));
    return loaded;
  } catch (const Error& error) {
    problem = error.message();
    if (problem.find(file.string()) == std::string::npos) problem = file.string() + ": " + problem;
    return std::nullopt;
  }
}

void StateFiles::remove(const std::string& full_name) {
  const std::lock_guard guard(mutex_);
  remove_file(state_file_name(full_name));
  remove_file(literals_file_name(full_name));
}

void StateFiles::remove_file(const std::string& file) {
  if (present_.erase(file) == 0 || ::unlink((directory_ / file).c_str()) == 0 || errno == ENOENT) return;
  if (failures_++ == 0) first_failure_ = (directory_ / file).string() + ": " + std::strerror(errno);
}

void StateFiles::save(const std::string& full_name, const engine::TaskResult* result, const std::string& digest) {
  Value state = Value::object({{"fullName", full_name}, {"state", "success"}, {"result", result_value(result)}});
  const std::lock_guard guard(mutex_);
  try {
    if (!directory_made_) {
      std::filesystem::create_directories(directory_);
      directory_made_ = true;
    }
    if (result && !result->literal_paths.empty()) {  // before the file that makes them count
      const std::string literals = literals_file_name(full_name);
      write_file_atomically(directory_ / literals, to_json(array_of(result->literal_paths)) + "\n");
      present_.insert(literals);
    }
    const std::string file = state_file_name(full_name);
    write_file_atomically(directory_ / file, to_yaml(state));
    present_.insert(file);
    if (!digest.empty()) new_digests_[full_name] = digest;
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
  try {
    if (!new_digests_.empty()) write_digests();
  } catch (const std::exception& failure) {
    if (failures_++ == 0) first_failure_ = failure.what();
  }
  unlock();
}

void StateFiles::write_digests() {
  // Other workflows of the session write the same file.
  const Fd directory(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory) ::flock(directory.get(), LOCK_EX);
  Object tasks;
  for (const auto& [name, digest] : digests_in(directory_)) tasks.set(name, digest);
  for (const auto& [name, digest] : new_digests_) tasks.set(name, digest);
  new_digests_.clear();
  write_file_atomically(directory_ / digest_file, to_json(Value::object({{"tasks", std::move(tasks)}})) + "\n");
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
