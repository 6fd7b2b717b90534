#include "dig/compiler.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/config.h"
#include "base/json.h"
#include "base/text.h"
#include "dig/keys.h"
#include "dig/names.h"
#include "dig/time_limit.h"

namespace digdag::dig {
namespace {

bool is_child_key(std::string_view key) { return key.starts_with('+'); }
bool is_operator_key(std::string_view key) { return key.ends_with('>') && !is_child_key(key); }

/// How the children of a group depend on each other.
struct ParallelControl {
  bool parallel = false;
  std::int64_t limit = 0;  ///< <= 0: none
  bool window = false;
};

ParallelControl parallel_of(const Value& config);

/// Builds the task tree (spec/language.md 5.1). Goes on after a fault where it can.
class Compiler {
 public:
  explicit Compiler(std::vector<Error>& errors) : errors_(errors) {}

  TaskTree compile(std::string_view parent_full_name, std::string_view name, const Value& config, Position position) {
    if (!config.is_object()) {
      report(config_error("a workflow must be an object, but got " + to_json(config)), position);
      return {};
    }
    add_task(-1, parent_full_name, name, config, position);
    return std::move(tree_);
  }

 private:
  struct Child {
    std::string name;
    Value config;
    Position position;
  };

  void report(Error error, Position otherwise);
  template <typename Check>
  void checked(Position otherwise, Check check) {
    try {
      check();
    } catch (const Error& error) {
      report(error, otherwise);
    }
  }

  std::int32_t add_task(std::int32_t parent, std::string_view parent_full_name, std::string_view name, const Value& config,
                        Position position);
  // Kept out of add_task, which calls itself: the stack of an operator's thread is small.
  [[gnu::noinline]] bool is_disabled(const Value& config, Position position);
  [[gnu::noinline]] std::vector<Child> take_children(const Value& config, Value& rest, Position position);
  [[gnu::noinline]] void check_operator(const std::vector<Child>& children, const Value& config, Position position);
  [[gnu::noinline]] void check_group(std::string_view full_name, const Value& config, bool top, Position position);
  [[gnu::noinline]] void check_error_handler(const std::string& full_name, const Value& config, Position position);
  [[gnu::noinline]] void set_config(TaskDefinition& task, const Value& config, Position position);

  [[gnu::noinline]] void wire(std::int32_t group, const std::vector<std::int32_t>& children, const Value& config, Position position);
  void wire_sequence(const std::vector<std::int32_t>& children);
  void wire_parallel(std::int32_t group, const std::vector<std::int32_t>& children, const ParallelControl& control);
  void take_after(std::int32_t child, const std::unordered_map<std::string, std::int32_t>& earlier);

  TaskDefinition& task(std::int32_t index) { return tree_.tasks[static_cast<std::size_t>(index)]; }

  TaskTree tree_;
  std::vector<Error>& errors_;
};

std::string shortened(const Value& config) {
  std::string json = to_json(config);
  return utf16_length(json) > 500 ? first_utf16_units(json, 497) + "..." : json;
}

/// Where a reader would look for a task whose name is written nowhere (`^sub`, `+loop-0`): at its operator, else at its first key.
Position place_of_unwritten(const Value& config) {
  if (!config.is_object() || config.as_object().empty()) return {};
  const Object& members = config.as_object();
  const auto found = std::find_if(members.begin(), members.end(), [](const Object::Member& member) { return is_operator_key(member.key); });
  return found != members.end() ? found->position : members[0].position;
}

/// `sh>:echo hi` is a text for YAML, not a key with its value.
std::string hint_for_no_task(const Value& value) {
  if (!value.is_string()) return {};
  const std::string& text = value.as_string();
  const std::size_t colon = text.find(':');
  const std::string key = text.substr(0, colon);
  const bool is_key = (is_child_key(key) || is_operator_key(key) || key.starts_with('_')) && key.find(' ') == std::string::npos;
  if (!is_key || colon >= text.size() - 1 || is_blank(text.substr(colon + 1, 1))) return {};
  return fmt::format("a blank is missing after `{}:`", visible(key));
}

void Compiler::report(Error error, Position otherwise) {
  errors_.push_back(error.position().known() ? std::move(error) : std::move(error).at(otherwise));
}

std::int32_t Compiler::add_task(std::int32_t parent, std::string_view parent_full_name, std::string_view name, const Value& config,
                                Position position) {
  const auto index = static_cast<std::int32_t>(tree_.tasks.size());
  TaskDefinition& made = tree_.tasks.emplace_back();
  made.name = name;
  made.full_name.reserve(parent_full_name.size() + name.size());
  made.full_name.append(parent_full_name).append(name);
  made.parent = parent;
  made.position = position;
  made.export_params = Value::object();
  if (is_disabled(config, position)) {
    made.group = true;
    made.local = Value::object({{"_disable", true}});
    return index;
  }

  Value rest;
  const std::vector<Child> children = take_children(config, rest, position);
  made.group = !is_operator(rest);
  set_config(made, rest, position);
  const std::string full_name = made.full_name;  // `made` moves when tasks are added
  if (!made.group) {
    check_operator(children, rest, position);
  } else {
    check_group(full_name, rest, parent < 0, position);
    std::vector<std::int32_t> indexes;
    indexes.reserve(children.size());
    for (const Child& child : children) indexes.push_back(add_task(index, full_name, child.name, child.config, child.position));
    wire(index, indexes, rest, position);
  }
  check_error_handler(full_name, rest, position);
  return index;
}

bool Compiler::is_disabled(const Value& config, Position position) {
  bool disabled = false;
  checked(position, [&] { disabled = Config(config).boolean_or("_disable", false); });
  return disabled;
}

/// Splits the `+name` keys off; `rest` is the config without them. Children that cannot be tasks are reported and left out.
std::vector<Compiler::Child> Compiler::take_children(const Value& config, Value& rest, Position position) {
  const Object& members = config.as_object();
  std::vector<Child> children;
  if (std::none_of(members.begin(), members.end(), [](const Object::Member& member) { return is_child_key(member.key); })) {
    rest = config;
    return children;
  }
  Object others;
  const Config getter(config);
  for (const Object::Member& member : members) {
    if (!is_child_key(member.key)) {
      others.set(member.key, member.value, member.position);
      continue;
    }
    const Position inside = member.position.known() ? member.position : place_of_unwritten(member.value);
    const Position at = inside.known() ? inside : position;
    const std::vector<std::string> faults = faults_of_task_name(member.key);
    for (const std::string& fault : faults) report(config_error(fault).at(at, member.key).hint(allowed_task_name), at);
    if (!faults.empty()) continue;
    try {
      children.push_back({member.key, member.value.is_object() ? member.value : getter.nested_ordered_or_empty(member.key), at});
    } catch (const Error& error) {
      report(Error(error).hint(hint_for_no_task(member.value)), at);
    }
  }
  rest = Value(std::move(others));
  return children;
}

void Compiler::set_config(TaskDefinition& task, const Value& config, Position position) {
  const Object::Member* exported = config.as_object().find_member("_export");
  if (!exported) {
    task.local = config;
    return;
  }
  if (exported->value.is_object()) {
    task.export_params = exported->value;
  } else if (!exported->value.is_null()) {
    report(config_error("Parameter '_export' must be an object").at(exported->position, exported->key), position);
  }
  task.local = config;
  task.local.mutable_object().erase("_export");
}

void Compiler::check_operator(const std::vector<Child>& children, const Value& config, Position position) {
  if (!children.empty()) {
    report(config_error("A task can't have subtasks: " + shortened(config))
               .at(children.front().position, children.front().name)
               .hint("a task has either an operator (`xxx>`) or tasks below it"),
           position);
  }
  const Object::Member* first = nullptr;
  for (const Object::Member& member : config.as_object()) {
    if (!is_operator_key(member.key)) continue;
    if (!first) {
      first = &member;
      continue;
    }
    report(config_error("A task can't have more than one operator: " + shortened(config))
               .at(member.position, member.key)
               .hint(fmt::format("the task has {} already; make two tasks of it", first->key)),
           position);
    break;
  }
}

void Compiler::check_group(std::string_view full_name, const Value& config, bool top, Position position) {
  std::vector<std::string> unknown;
  const Object::Member* first = nullptr;
  for (const Object::Member& member : config.as_object()) {
    if (std::find(group_keys().begin(), group_keys().end(), member.key) != group_keys().end()) continue;
    if (top && is_file_only_key(member.key)) continue;
    unknown.push_back(member.key);
    if (!first) first = &member;
  }
  if (first) {
    Error error = config_error(fmt::format("{} contains invalid keys: {}", full_name, name_with_suggestions(unknown, group_keys())));
    error = std::move(error).at(first->position, first->key);
    const std::vector<std::string> similar = similar_words(first->key, group_keys());
    if (is_reserved_key(first->key)) {
      error = std::move(error).hint(fmt::format("{} is reserved", first->key));
    } else if (!similar.empty()) {
      error = std::move(error).hint(fmt::format("did you mean {}?", similar.front()));
    } else if (first->value.is_object()) {
      error = std::move(error).hint(fmt::format("a task's name begins with +: `+{}`", visible(first->key)));
    } else if (!first->key.starts_with('_')) {
      error =
          std::move(error).hint(fmt::format("an operator's name ends with >: `{}>`; parameters belong into _export", visible(first->key)));
    }
    report(std::move(error), position);
  }
  for (const Object::Member& member : config.as_object()) {
    if (auto fault = fault_of_time_limit(member)) report(std::move(*fault), position);
  }
}

/// `_error` is compiled to find its faults now; its tasks are made when the task fails.
void Compiler::check_error_handler(const std::string& full_name, const Value& config, Position position) {
  const Object::Member* handler = config.as_object().find_member("_error");
  if (!handler) return;
  const Position at = handler->position.known() ? handler->position : position;
  if (!handler->value.is_object()) {
    return report(config_error("Parameter '_error' must be an object").at(at, handler->key), at);
  }
  if (!handler->value.as_object().empty()) Compiler(errors_).compile(full_name, "^error", handler->value, at);
}

// ---- dependencies -------------------------------------------------------------------------------------------------------

void Compiler::wire(std::int32_t group, const std::vector<std::int32_t>& children, const Value& config, Position position) {
  checked(position, [&] {
    const ParallelControl control = parallel_of(config);
    if (control.parallel) {
      wire_parallel(group, children, control);
    } else {
      wire_sequence(children);
    }
  });
}

ParallelControl parallel_of(const Value& config) {
  const Object::Member* member = config.as_object().find_member("_parallel");
  if (!member) return {};
  const Value& value = member->value;
  if (value.is_boolean() || value.is_string()) return {.parallel = Config(config).boolean("_parallel")};
  if (!value.is_object()) {
    throw config_error("Invalid _parallel format: " + shortened(value))
        .at(member->position, member->key)
        .hint("write `_parallel: true`, or `_parallel: {limit: 2}`");
  }
  const Config options(value);
  ParallelControl control{.parallel = true};
  try {
    control.limit = options.integer("limit");
  } catch (const Error& error) {
    throw error.position().known() ? error : Error(error).at(member->position);
  }
  const std::string mode = options.string_or("mode", "chunk");
  if (mode != "chunk" && mode != "window") {
    throw config_error(fmt::format("Invalid _parallel mode: {}", mode)).at(member->position).hint("the modes are chunk and window");
  }
  control.window = mode == "window";
  return control;
}

/// Each child waits for the one before and for the background children since; background children wait for nothing.
void Compiler::wire_sequence(const std::vector<std::int32_t>& children) {
  std::vector<std::int32_t> before;
  for (const std::int32_t child : children) {
    TaskDefinition& made = task(child);
    if (const Object::Member* after = made.local.as_object().find_member("_after")) {
      report(config_error("Setting \"_after\" option is invalid if its parent task doesn't have \"_parallel: true\" option")
                 .at(after->position, after->key),
             made.position);
      made.local.mutable_object().erase("_after");
    }
    bool background = false;
    if (made.local.as_object().has("_background")) {
      checked(made.position, [&] { background = Config(made.local).boolean_or("_background", false); });
      made.local.mutable_object().erase("_background");
    }
    if (!background) made.upstreams = std::exchange(before, {});
    before.push_back(child);
  }
}

void Compiler::wire_parallel(std::int32_t group, const std::vector<std::int32_t>& children, const ParallelControl& control) {
  const bool any_after =
      std::any_of(children.begin(), children.end(), [&](std::int32_t child) { return task(child).local.as_object().has("_after"); });
  std::unordered_map<std::string, std::int32_t> earlier;
  for (const std::int32_t child : children) {
    TaskDefinition& made = task(child);
    checked(made.position, [&] {
      const Object::Member* background = made.local.as_object().find_member("_background");
      if (background && Config(made.local).boolean_or("_background", false)) {
        throw config_error(
            "Setting \"_background: true\" option is invalid (unnecessary) if its parent task has \"_parallel: true\" option")
            .at(background->position, background->key);
      }
    });
    if (!any_after) continue;
    take_after(child, earlier);
    earlier.emplace(made.name, child);
  }
  if (control.limit <= 0) return;
  if (control.window) {
    task(group).window = static_cast<std::int32_t>(control.limit);
    return;
  }
  const auto limit = static_cast<std::size_t>(control.limit);
  for (std::size_t i = limit; i < children.size(); ++i) {
    const std::size_t chunk = i / limit * limit;
    task(children[i]).barrier = {children[chunk - limit], children[chunk - 1]};
  }
}

void Compiler::take_after(std::int32_t child, const std::unordered_map<std::string, std::int32_t>& earlier) {
  TaskDefinition& made = task(child);
  const Object::Member* member = made.local.as_object().find_member("_after");
  if (!member) return;
  checked(made.position, [&] {
    for (const std::string& name : Config(made.local).strings_or_empty("_after")) {
      const auto upstream = earlier.find(name);
      if (upstream == earlier.end()) {
        throw config_error(fmt::format("Dependency task '{}' does not exist", name))
            .at(member->position, member->key)
            .hint("_after names tasks that stand before this one in the same group, with their +");
      }
      made.upstreams.push_back(upstream->second);
    }
  });
  made.local.mutable_object().erase("_after");
}

std::vector<Error> with_name_faults(const Workflow& workflow) {
  std::vector<Error> errors;
  for (std::string& fault : faults_of_task_name("+" + workflow.name)) {
    errors.push_back(config_error(std::move(fault)).at(workflow.position).hint("the file gives its first task this name; rename the file"));
  }
  return errors;
}

}  // namespace

TaskTree compile(const Workflow& workflow, std::vector<Error>& errors) {
  for (Error& error : with_name_faults(workflow)) errors.push_back(std::move(error));
  return Compiler(errors).compile("", "+" + workflow.name, workflow.config, workflow.position);
}

TaskTree compile(const Workflow& workflow) {
  std::vector<Error> errors;
  TaskTree tree = compile(workflow, errors);
  if (!errors.empty()) throw errors.front();
  return tree;
}

TaskTree compile(std::string_view parent_full_name, std::string_view name, const Value& config) {
  std::vector<Error> errors;
  TaskTree tree = Compiler(errors).compile(parent_full_name, name, config, place_of_unwritten(config));
  if (!errors.empty()) throw errors.front();
  return tree;
}

bool is_operator(const Value& config) {
  if (!config.is_object()) return false;
  const Object& members = config.as_object();
  return std::any_of(members.begin(), members.end(),
                     [](const Object::Member& member) { return member.key == "_type" || is_operator_key(member.key); });
}

std::string operator_of(const Value& local) {
  if (!local.is_object()) return {};
  if (const Value* type = local.find("_type")) return type->is_null() ? std::string() : convert_to_string(*type, "_type");
  for (const Object::Member& member : local.as_object()) {
    if (is_operator_key(member.key)) return member.key.substr(0, member.key.size() - 1);
  }
  return {};
}

std::vector<std::int32_t> all_upstreams(const TaskTree& tree, std::int32_t task) {
  const TaskDefinition& made = tree.tasks[static_cast<std::size_t>(task)];
  std::vector<std::int32_t> upstreams = made.upstreams;
  if (made.barrier.empty()) return upstreams;
  for (std::int32_t i = made.barrier.first; i <= made.barrier.last; ++i) {
    if (tree.tasks[static_cast<std::size_t>(i)].parent == made.parent) upstreams.push_back(i);
  }
  return upstreams;
}

std::int32_t window_of(const Value& local) {
  if (!local.find("_parallel")) return 0;
  try {
    const ParallelControl control = parallel_of(local);
    return control.window && control.limit > 0 ? static_cast<std::int32_t>(control.limit) : 0;
  } catch (const Error&) {
    return 0;  // compile() refused it
  }
}

}  // namespace digdag::dig
