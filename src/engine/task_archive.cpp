#include "engine/task_archive.h"

#include <charconv>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/json.h"

namespace digdag::engine {

namespace {

/// Appends the elements. The keys and their order are the original's.
class Writer {
 public:
  Writer(std::string& out, std::int64_t attempt_id) : out_(out), attempt_id_(attempt_id) {}

  void task(const StoredTask& task) {
    object(R"({"subtaskConfig":)", task.subtask_config);
    object(R"(,"exportParams":)", task.export_params);
    out_ += R"(,"resetStoreParams":[)";
    for (std::size_t i = 0; i < task.reset_store_params.size(); ++i) {
      if (i > 0) out_ += ',';
      append_as_json(out_, Value(task.reset_store_params[i]));
    }
    object(R"(],"storeParams":)", task.store_params);
    object(R"(,"report":{"inputs":[],"outputs":[]},"error":)", task.error);
    number(R"(,"resumingTaskId":)", task.resuming_task_id);
    number(R"(,"id":)", task.id);
    number(R"(,"attemptId":)", attempt_id_);
    out_ += R"(,"upstreams":[)";
    for (std::size_t i = 0; i < task.upstreams.size(); ++i) number(i > 0 ? "," : "", task.upstreams[i]);
    instant(R"(],"updatedAt":)", task.updated_at);
    instant(R"(,"retryAt":)", task.retry_at);
    instant(R"(,"startedAt":)", task.started_at);
    object(R"(,"stateParams":)", task.state_params);
    number(R"(,"retryCount":)", task.retry_count);
    number(R"(,"parentId":)", task.parent_id);
    out_ += R"(,"fullName":)";
    append_as_json(out_, Value(task.full_name));
    object(R"(,"config":{"local":)", task.local);
    object(R"(,"export":)", task.export_config);
    number(R"(},"taskType":)", task.is_group ? 1 : 0);
    out_ += R"(,"state":")";
    out_ += to_string(task.state);
    number(R"(","stateFlags":)", task.flags);
    if (const Value* origins = task.native.find("origins")) object(R"(,"native":)", Value::object({{"origins", *origins}}));
    out_ += '}';
  }

 private:
  void object(std::string_view key, const Value& value) {
    out_ += key;
    if (value.is_null()) {
      out_ += "{}";
    } else {
      append_as_json(out_, value);
    }
  }
  void number(std::string_view key, std::optional<std::int64_t> value) {
    out_ += key;
    if (!value) {
      out_ += "null";
      return;
    }
    char digits[24];
    out_.append(digits, std::to_chars(digits, digits + sizeof digits, *value).ptr);
  }
  void instant(std::string_view key, const std::optional<Instant>& at) {
    out_ += key;
    if (!at) {
      out_ += "null";
      return;
    }
    // Neighbours often have the same second.
    if (last_text_.empty() || at->seconds() != last_second_) {
      last_second_ = at->seconds();
      last_text_ = '"' + format_instant(Instant::of_seconds(last_second_)) + '"';
    }
    out_ += last_text_;
  }

  std::string& out_;
  std::int64_t attempt_id_;
  std::int64_t last_second_ = 0;
  std::string last_text_;
};

// ---- Reading -------------------------------------------------------------------------------------------------------------

Error broken(const Value* id, const std::string& what) {
  return Error("illegal state", "the archive of an attempt cannot be read: task " + (id ? to_json(*id) : "without id") + " " + what);
}

class Reader {
 public:
  explicit Reader(const Value& element) : element_(element), id_(element.find("id")) {}

  StoredTask task() const {
    StoredTask task;
    task.id = integer("id").value_or(0);
    if (task.id == 0) throw broken(id_, "has no id");
    task.parent_id = integer("parentId");
    task.is_group = integer("taskType").value_or(0) == 1;
    task.state = state_of_name(text("state"));
    task.flags = static_cast<std::uint8_t>(integer("stateFlags").value_or(0));
    task.updated_at = instant("updatedAt").value_or(Instant());
    task.retry_at = instant("retryAt");
    task.started_at = instant("startedAt");
    task.state_params = object("stateParams");
    task.retry_count = integer("retryCount").value_or(0);
    task.full_name = text("fullName");
    if (const Value* config = element_.find("config")) {
      task.local = Reader(*config).object("local");
      task.export_config = Reader(*config).object("export");
    }
    task.resuming_task_id = integer("resumingTaskId");
    task.subtask_config = object("subtaskConfig");
    task.export_params = object("exportParams");
    task.store_params = object("storeParams");
    task.error = object("error");
    for (const Value& key : list("resetStoreParams")) {
      if (key.is_string()) task.reset_store_params.push_back(key.as_string());
    }
    for (const Value& upstream : list("upstreams")) {
      if (upstream.is_integer()) task.upstreams.push_back(upstream.as_integer());
    }
    task.native = object("native");
    return task;
  }

 private:
  const Value* find(const char* key) const {
    const Value* value = element_.find(key);
    return value && !value->is_null() ? value : nullptr;
  }
  std::optional<std::int64_t> integer(const char* key) const {
    const Value* value = find(key);
    if (!value) return std::nullopt;
    if (!value->is_integer()) throw broken(id_, std::string("has a wrong ") + key);
    return value->as_integer();
  }
  std::string text(const char* key) const {
    const Value* value = find(key);
    if (!value || !value->is_string()) throw broken(id_, std::string("has no ") + key);
    return value->as_string();
  }
  std::optional<Instant> instant(const char* key) const {
    const Value* value = find(key);
    if (!value) return std::nullopt;
    const auto at = value->is_string() ? parse_instant(value->as_string()) : std::nullopt;
    if (!at) throw broken(id_, std::string("has a wrong ") + key);
    return at;
  }
  Value object(const char* key) const {
    const Value* value = find(key);
    return value && value->is_object() && !value->as_object().empty() ? *value : Value();
  }
  const Array& list(const char* key) const {
    static const Array none;
    const Value* value = find(key);
    return value && value->is_array() ? value->as_array() : none;
  }

  const Value& element_;
  const Value* id_;
};

}  // namespace

std::string to_archive(std::int64_t attempt_id, const std::vector<StoredTask>& tasks) {
  bool has_barriers = false;
  for (const StoredTask& task : tasks) has_barriers = has_barriers || task.barrier;
  if (has_barriers) {
    std::vector<StoredTask> expanded = tasks;
    expand_barriers(expanded);
    return to_archive(attempt_id, expanded);
  }
  std::string out = "[";
  Writer writer(out, attempt_id);
  for (const StoredTask& task : tasks) {
    if (out.size() > 1) out += ',';
    writer.task(task);
  }
  out += ']';
  return out;
}

std::vector<StoredTask> from_archive(std::string_view json) {
  const Value elements = parse_json(json);
  if (!elements.is_array()) throw Error("illegal state", "the archive of an attempt cannot be read: it is no list");
  std::vector<StoredTask> tasks;
  tasks.reserve(elements.as_array().size());
  for (const Value& element : elements.as_array()) tasks.push_back(Reader(element).task());
  return tasks;
}

}  // namespace digdag::engine
