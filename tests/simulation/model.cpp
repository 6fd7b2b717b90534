#include "model.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/error.h"
#include "dig/compiler.h"
#include "model_config.h"

namespace digdag::simulation {

using engine::TaskFlag;
using engine::TaskState;

namespace {
bool progressing(TaskState s) { return s >= TaskState::ready && s <= TaskState::planned; }
bool can_run_children(TaskState s) { return s == TaskState::planned || s == TaskState::success; }
bool flagged(const Row& row, TaskFlag flag) { return (row.flags & flag) != 0; }

std::int64_t count_of(const Row& row) {
  const Value* count = row.state_params.find("retry_count");
  return count && count->is_integer() ? count->as_integer() : 0;
}
}  // namespace

Model::Model(const dig::TaskTree& workflow, Value params, TimeZone zone, engine::AttemptOptions options, engine::ResumedTasks resumed)
    : params_(std::move(params)), zone_(std::move(zone)), options_(options), resumed_(std::move(resumed)) {
  // The root is counted twice (execution.md 3.2, L-19).
  check_limit(1, workflow.tasks.size());
  insert_tree(workflow, -1, engine::initial_task);
}

// ---- Events -------------------------------------------------------------------------------------------------------------

void Model::start(Instant now) {
  now_ = now;
  Row& root = rows_[0];
  root.state = root.group ? TaskState::planned : TaskState::ready;  // T1, T2
  root.try_started_at = now;
  if (const Value* sla = root.local.find("sla")) {
    if (const Value* duration = sla->find("duration")) {
      monitor_at_ = now.plus_seconds(clock_seconds(duration->as_string()));
    } else if (const Value* time = sla->find("time")) {
      LocalTime local = zone_.local(now);
      const std::int64_t of_day = clock_seconds(time->as_string());
      local.hour = static_cast<int>(of_day / 3600), local.minute = static_cast<int>(of_day / 60 % 60),
      local.second = static_cast<int>(of_day % 60);
      Instant at = zone_.instant(local);
      if (at < now) at = at.plus_seconds(86400);
      monitor_at_ = at;
    }
  }
  while (step()) {
  }
}

void Model::succeeded(int row, engine::Lease lease, const engine::TaskResult& result, const Value& retry, Instant now) {
  now_ = now;
  if (rows_[row].state != TaskState::running || rows_[row].lease != lease) return;
  if (flagged(rows_[row], engine::cancel_requested)) {
    cancel(row);  // T11
  } else if (rows_[row].timed_out) {
    fail_timed_out(row, retry);
  } else {
    const std::size_t before = rows_.size();
    try {
      int sub = -1;
      if (!is_empty(result.subtask_config)) {
        auto tree = dig::compile(rows_[row].full_name, "^sub", result.subtask_config);
        if (!in_handler(row)) check_limit(rows_.size(), tree.tasks.size());
        sub = insert_tree(tree, row, engine::initial_task);
      }
      bool check = false;
      if (Value config = member(merged_config(row), "_check"); !is_empty(config)) {
        auto tree = dig::compile(rows_[row].full_name, "^check", config);
        if (!in_handler(row)) check_limit(rows_.size(), tree.tasks.size());
        const int root = insert_tree(tree, row, 0);
        if (sub >= 0) rows_[root].upstreams.push_back(sub);
        check = true;
      }
      Row& own = rows_[row];
      own.state = sub >= 0 || check ? TaskState::planned : TaskState::success;  // T12, T13
      if (sub >= 0 || check) own.generation = static_cast<int>(before);
      own.has_result = true;
      own.subtask_config = or_empty(result.subtask_config);
      own.export_params = or_empty(result.export_params);
      own.store_params = or_empty(result.store_params);
      own.resets = result.reset_store_params;
      own.error = Value::object();
    } catch (const Error& error) {
      rows_.resize(before);
      fail(row, error_object(error));
    }
  }
  while (step()) {
  }
}

void Model::failed(int row, engine::Lease lease, const Value& error, bool retryable, const Value& retry, Instant now) {
  now_ = now;
  Row& own = rows_[row];
  if (own.state != TaskState::running || own.lease != lease) return;
  const auto control = retryable ? retry_of(retry) : std::nullopt;
  if (flagged(own, engine::cancel_requested)) {
    cancel(row);  // T11
  } else if (own.timed_out) {
    fail_timed_out(row, retry);
  } else if (control && control->on_failure && control->limit > count_of(own)) {
    const std::int64_t count = count_of(own);
    own.poll_retry = Value();
    own.state = TaskState::retry_waiting;  // T16, 11.4
    own.state_params = with_member(own.state_params, "retry_count", count + 1);
    own.state_params.mutable_object().erase("commandStatus");
    own.state_params.mutable_object().set("last_error", Value::object({{"message", member(error, "message")}}));  // E-14
    own.retry_at = now.plus_seconds(control->wait(count));
    own.retry_count += 1;
    own.try_started_at.reset();
    own.limits = Value::object();
  } else {
    fail(row, error);
  }
  while (step()) {
  }
}

void Model::retry_later(int row, engine::Lease lease, std::int64_t delay_millis, const Value& state, const Value& retry, Instant now) {
  now_ = now;
  Row& own = rows_[row];
  if (own.state != TaskState::running || own.lease != lease) return;
  if (own.timed_out && !flagged(own, engine::cancel_requested)) {
    fail_timed_out(row, retry);
  } else {
    own.poll_retry = retry;
    own.state = TaskState::retry_waiting;  // T16, whatever the cancel flag says
    own.state_params = or_empty(state);
    own.retry_at = now.plus_millis(delay_millis);
    own.retry_count += 1;
  }
  while (step()) {
  }
}

void Model::wake(int row, engine::Lease lease, Instant now) {
  now_ = now;
  Row& own = rows_[row];
  if (own.state == TaskState::retry_waiting && own.lease == lease) own.retry_at = std::min(*own.retry_at, now);
}

void Model::lost(int row, engine::Lease lease, bool cleanup, Instant now) {
  now_ = now;
  Row& own = rows_[row];
  if (own.state != TaskState::running || own.lease != lease) return;
  if (flagged(own, engine::cancel_requested)) {
    if (!cleanup && options_.has_cleanup && options_.has_cleanup(dig::operator_of(own.local))) {
      own.state = TaskState::ready;
    } else {
      cancel(row);
    }
  } else if (own.timed_out) {
    fail_timed_out(row, Value());
  } else if (++own.lost == options_.max_lost_runs) {
    fail(row, error_object(Error("agent lost", "Task lost its agent " + std::to_string(own.lost) + " times")));
  } else {
    own.state = TaskState::ready;
  }
  while (step()) {
  }
}

void Model::kill(Instant now) {
  now_ = now;
  if (done()) return;
  bool any = false;
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    if (engine::is_done(rows_[i].state)) continue;
    any = true;
    if (rows_[i].state == TaskState::running && !flagged(rows_[i], engine::cancel_requested)) stop(static_cast<int>(i), std::nullopt);
    rows_[i].flags |= engine::cancel_requested;  // T25
  }
  killed_ = killed_ || any;
  while (step()) {
  }
}

void Model::tick(Instant now) {
  now_ = now;
  for (auto due = next_due(); due && due->at <= now; due = next_due()) {
    if (due->kind == Due::monitor) {
      monitor_at_.reset();
      run_monitor();
    } else if (due->kind == Due::deadline) {
      expire(due->row);
    } else {
      rows_[due->row].state = TaskState::ready;  // T17
      rows_[due->row].lost = 0;
      rows_[due->row].retry_at.reset();
    }
    while (step()) {
    }
  }
}

void Model::retry_evaluated(int row, const Value& retry, Instant now) {
  now_ = now;
  if (engine::is_done(rows_[row].state) || !rows_[row].retry_asked || rows_[row].retry_answer) return;
  rows_[row].retry_answer = retry;
  while (step()) {
  }
}

// ---- The transition table, applied until nothing changes ----------------------------------------------------------------

bool Model::step() {
  bool changed = propagate_blocked();
  changed = cancel_waiting() || changed;
  changed = enqueue_ready() || changed;
  return finish_planned() || changed;
}

/// 7.1
bool Model::propagate_blocked() {
  bool changed = false;
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    Row& row = rows_[i];
    if (row.state != TaskState::blocked || row.parent < 0) continue;
    if (!can_run_children(rows_[row.parent].state) || !all_success(row.upstreams)) continue;
    if (row.in_window) {
      int under_way = 0;
      for (const Row& other : rows_) under_way += other.parent == row.parent && other.in_window && progressing(other.state);
      if (under_way >= rows_[row.parent].window) continue;
    }
    if (row.group) {
      row.state = TaskState::planned;                               // T5
      row.cancel_handled = flagged(row, engine::cancel_requested);  // nothing of it ever ran
      row.try_started_at = now_;
    } else if (flagged(row, engine::cancel_requested)) {
      row.state = TaskState::canceled;  // T6
    } else {
      row.state = TaskState::ready;  // T7
    }
    changed = true;
  }
  return changed;
}

/// E-31: what waits for a retry does not wait after a kill.
bool Model::cancel_waiting() {
  bool changed = false;
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    Row& row = rows_[i];
    if (row.state != TaskState::retry_waiting && row.state != TaskState::group_retry_waiting) continue;
    if (!flagged(row, engine::cancel_requested)) continue;
    // In GROUP_RETRY_WAITING its own run is over, and nothing of it is left to clean up.
    const bool cleanup = row.state == TaskState::retry_waiting && options_.has_cleanup && options_.has_cleanup(dig::operator_of(row.local));
    row.retry_at.reset();
    row.state = TaskState::ready;
    if (!cleanup) cancel(static_cast<int>(i));
    changed = true;
  }
  return changed;
}

/// 7.2
bool Model::enqueue_ready() {
  bool changed = false;
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    if (rows_[i].state != TaskState::ready) continue;
    changed = true;
    if (rows_[i].group) {
      if (flagged(rows_[i], engine::cancel_requested)) {
        rows_[i].state = TaskState::canceled;  // E-02
      } else {
        retry_group(static_cast<int>(i));  // T9
      }
      continue;
    }
    Row& row = rows_[i];
    row.state = TaskState::running;  // T8
    row.lease += 1;
    row.stopped = false;
    if (!row.started_at) row.started_at = now_;
    if (!row.try_started_at) row.try_started_at = now_;
    if (row.failed_itself) row.failed_itself = row.timed_out = false, row.error = Value::object();
    wanted_.runs.push_back({static_cast<int>(i), flagged(row, engine::cancel_requested)});
  }
  return changed;
}

bool Model::finish_planned() {
  bool changed = false;
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    if (rows_[i].state == TaskState::planned) changed = finish_from_children(static_cast<int>(i)) || changed;
  }
  return changed;
}

/// 7.6 with E-01: of every name below the group its first row is copied.
void Model::retry_group(int group) {
  std::vector<int> below;
  descendants_of(group, below);
  std::sort(below.begin(), below.end());
  const std::string prefix = rows_[group].full_name;
  std::map<int, int> copies;
  std::set<std::string> names;
  const int first = static_cast<int>(rows_.size());
  const std::size_t before = rows_.size();
  const int generation = rows_[group].generation;
  for (int from : below) {
    if (!flagged(rows_[from], engine::initial_task)) continue;
    if (rows_[from].full_name.substr(prefix.size()).find("^sub") != std::string::npos) continue;
    if (!names.insert(rows_[from].full_name).second) continue;
    Row copy;
    copy.full_name = rows_[from].full_name;
    copy.local = rows_[from].local;
    copy.export_config = rows_[from].export_config;
    copy.group = rows_[from].group;
    copy.window = rows_[from].window;
    copy.in_window = rows_[from].in_window;
    copy.flags = engine::initial_task;
    copy.parent = copies.count(rows_[from].parent) ? copies[rows_[from].parent] : rows_[from].parent;
    for (int up : rows_[from].upstreams) copy.upstreams.push_back(copies.at(up));
    copies[from] = static_cast<int>(rows_.size());
    rows_.push_back(std::move(copy));
  }
  Row& own = rows_[group];
  own.generation = first;
  own.failed_itself = own.timed_out = own.check_added = false;
  own.state = TaskState::planned;
  own.has_result = false;
  own.subtask_config = own.export_params = own.store_params = own.error = Value::object();
  own.resets.clear();
  own.try_started_at = now_;
  const std::size_t limit = static_cast<std::size_t>(options_.task_limit);
  if (limit > 0 && rows_.size() > limit && !in_handler(group)) {  // E-02
    const std::size_t adding = rows_.size() - before;
    rows_.resize(before);
    Row& failed = rows_[group];
    failed.generation = generation;
    failed.failed_itself = failed.retry_impossible = true;
    failed.error = error_object(limit_error(limit, before, adding));
  }
}

/// 7.7
bool Model::finish_from_children(int i) {
  if (progressible_child(i)) return false;
  Row& row = rows_[i];
  if (flagged(row, engine::cancel_requested)) {
    cancel(i);  // T18
  } else if (flagged(row, engine::delayed_error)) {
    row.state = TaskState::error;  // T19
  } else if (flagged(row, engine::delayed_group_error)) {
    row.state = TaskState::group_error;  // T20
  } else if (row.failed_itself || error_child(i)) {
    return fail_group(i);
  } else {
    Value check = member(merged_config(i), "_check");
    if (row.group && options_.group_check && !is_empty(check) && !row.check_added) {  // E-10
      rows_[i].check_added = true;
      try {
        const auto tree = dig::compile(row.full_name, "^check", check);
        if (!in_handler(i)) check_limit(rows_.size(), tree.tasks.size());
        const int root = insert_tree(tree, i, 0);
        rows_[root].sees_siblings_from = rows_[i].generation;
      } catch (const Error& error) {
        rows_[i].error = error_object(error);
        rows_[i].failed_itself = true;
      }
      return true;
    }
    row.state = TaskState::success;  // T24
  }
  return true;
}

bool Model::progressible_child(int parent) const {
  for (const Row& row : rows_) {
    if (row.parent != parent) continue;
    if (progressing(row.state) || (row.state == TaskState::blocked && all_success(row.upstreams))) return true;
  }
  return false;
}

/// The newest row of each name, of the newest generation alone (E-07).
bool Model::error_child(int parent) const {
  std::map<std::string, TaskState> newest;
  for (std::size_t i = static_cast<std::size_t>(rows_[parent].generation); i < rows_.size(); ++i) {
    if (rows_[i].parent == parent) newest[rows_[i].full_name] = rows_[i].state;
  }
  return std::any_of(newest.begin(), newest.end(), [](const auto& each) { return engine::is_error(each.second); });
}

bool Model::fail_group(int i) {
  rows_[i].try_started_at.reset();
  const Value config = member(merged_config(i), "_retry");
  std::optional<Retry> retry;
  if (has_template(config)) {  // L-16
    if (!rows_[i].retry_asked) {
      rows_[i].retry_asked = true;
      wanted_.evaluations.push_back(i);
      return true;
    }
    if (!rows_[i].retry_answer) return false;
    retry = retry_of(*rows_[i].retry_answer);
  } else {
    retry = retry_of(config);
  }
  const bool allowed = retry && !rows_[i].retry_impossible && (rows_[i].timed_out ? retry->on_timeout : retry->on_failure);
  const std::int64_t count = count_of(rows_[i]);
  if (allowed && retry->limit > count) {
    Row& row = rows_[i];
    row.state = TaskState::group_retry_waiting;  // T21
    row.state_params = with_member(row.state_params, "retry_count", count + 1);
    if (row.failed_itself) row.state_params.mutable_object().set("last_error", Value::object({{"message", member(row.error, "message")}}));
    row.retry_at = now_.plus_seconds(retry->wait(count));
    row.retry_count += 1;
    row.limits = Value::object();
    return true;
  }
  bool added = false;
  std::vector<int> below;
  descendants_of(i, below);
  if (rows_[i].parent < 0) {
    const Value alert = Value::object({{"_type", "notify"}, {"_command", "Workflow session attempt failed"}});
    insert_tree(dig::compile(rows_[i].full_name, "^failure-alert", alert), i, 0);
    added = true;
  }
  Value errors = Value::object(), all_errors = Value::object();
  for (int each : below) {
    const std::string tail = rows_[each].full_name.substr(rows_[i].full_name.size());
    const bool handler = tail.find("^error") != tail.npos || tail.find("^failure-alert") != tail.npos || tail.find("^sla") != tail.npos;
    if (!handler) merge(errors, rows_[each].error);  // E-13
    merge(all_errors, rows_[each].error);
  }
  merge(errors, rows_[i].error);
  Value own_error = rows_[i].error;
  added = add_error_task(i, is_empty(errors) ? all_errors : errors, true, own_error) || added;
  rows_[i].error = own_error;
  if (added) {
    rows_[i].flags |= engine::delayed_group_error;  // T22
  } else {
    rows_[i].state = TaskState::group_error;  // T23
  }
  return true;
}

/// 7.4
void Model::fail(int i, const Value& error) {
  Value own_error = or_empty(error);
  const bool added = add_error_task(i, error, false, own_error);
  Row& row = rows_[i];
  row.try_started_at.reset();
  row.error = own_error;
  row.state = added ? TaskState::planned : TaskState::error;  // T14, T15
  if (added) row.flags |= engine::delayed_error;
}

/// A timeout counts as a failure to which `_retry` applies unless its `on` says otherwise (E-33).
bool Model::timed_retry(int i, const Value& evaluated) {
  Row& row = rows_[i];
  const bool own = row.local.find("_retry") != nullptr;  // else an inherited one counts, too (E-09)
  const auto retry = retry_of(!evaluated.is_null() ? evaluated : member(own ? row.local : params_of(i), "_retry"));
  const std::int64_t count = count_of(row);
  if (!retry || !retry->on_timeout || retry->limit <= count) return false;
  row.poll_retry = Value();
  row.state = TaskState::retry_waiting;
  row.state_params = with_member(row.state_params, "retry_count", count + 1);
  row.state_params.mutable_object().erase("commandStatus");
  row.state_params.mutable_object().set("last_error",
                                        Value::object({{"message", member(timeout_error(limit_of(row, "_timeout")), "message")}}));
  row.retry_at = now_.plus_seconds(retry->wait(count));
  row.retry_count += 1;
  row.try_started_at.reset();
  row.limits = Value::object();
  return true;
}

void Model::fail_timed_out(int i, const Value& retry) {
  rows_[i].timed_out = false;
  if (!timed_retry(i, retry)) fail(i, timeout_error(limit_of(rows_[i], "_timeout")));
}

/// CANCELED, after the `_error` of a task that wants it also after a kill (decisions.md 1, `_error_on_cancel`).
void Model::cancel(int i) {
  const Value wanted = member(rows_[i].local, "_error_on_cancel");
  const bool failed = flagged(rows_[i], engine::delayed_error) || flagged(rows_[i], engine::delayed_group_error);
  if (killed_ && wanted.is_boolean() && wanted.as_boolean() && !rows_[i].cancel_handled && !failed) {
    rows_[i].cancel_handled = true;
    Value problem;
    if (add_error_task(i, Value::object({{"message", "killed"}}), false, problem)) {
      rows_[i].state = TaskState::planned;
      return;
    }
  }
  rows_[i].state = TaskState::canceled;
}

// ---- Time ---------------------------------------------------------------------------------------------------------------

std::optional<Instant> Model::next_tick() const {
  const auto due = next_due();
  return due ? std::optional(due->at) : std::nullopt;
}

std::optional<Model::Due> Model::next_due() const {
  if (done()) return std::nullopt;
  std::vector<Due> all;
  if (monitor_at_) all.push_back({*monitor_at_, Due::monitor, 0});
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    if (rows_[i].retry_at) all.push_back({*rows_[i].retry_at, Due::retry, static_cast<int>(i)});
    if (auto deadline = deadline_of(rows_[i])) all.push_back({*deadline, Due::deadline, static_cast<int>(i)});
  }
  if (all.empty()) return std::nullopt;
  return *std::min_element(all.begin(), all.end());
}

/// A key about time limits (decisions.md 1); null where it is a template that nobody evaluated yet.
Value Model::limit_of(const Row& row, std::string_view key) {
  const Value value = member(row.limits, key);
  const Value written = value.is_null() ? member(row.local, key) : value;
  return has_template(written) ? Value() : written;
}

void Model::limits_evaluated(int row, engine::Lease lease, const Value& limits, Instant now) {
  now_ = now;
  Row& own = rows_[row];
  if (own.state == TaskState::running && own.lease == lease && !flagged(own, engine::cancel_requested) && own.limits.as_object().empty())
    own.limits = limits;
}

/// When the time of this try is up (E-33): counted from its first start, for a group from PLANNED.
std::optional<Instant> Model::deadline_of(const Row& row) const {
  const Value timeout = limit_of(row, "_timeout");
  if (timeout.is_null() || !row.try_started_at || row.timed_out || row.flags & ~engine::initial_task) return std::nullopt;
  if (row.state != TaskState::running && row.state != TaskState::retry_waiting && row.state != TaskState::planned) return std::nullopt;
  return row.try_started_at->plus_seconds(timeout_seconds(timeout));
}

void Model::expire(int i) {
  Row& row = rows_[i];
  const auto grace = grace_of(limit_of(row, "_timeout"));
  row.timed_out = true;
  if (row.state == TaskState::running) {
    stop(i, grace);  // its answer ends it
  } else if (row.state == TaskState::retry_waiting) {
    row.retry_at.reset();
    fail_timed_out(i, row.poll_retry);
  } else {
    row.failed_itself = true;
    row.error = timeout_error(limit_of(row, "_timeout"));
    cancel_below(i, grace);
  }
}

void Model::cancel_below(int row, std::optional<std::int64_t> grace_seconds) {
  for (int child : children_of(row)) {
    if (engine::is_done(rows_[child].state)) continue;
    if (rows_[child].state == TaskState::running && !flagged(rows_[child], engine::cancel_requested)) stop(child, grace_seconds);
    rows_[child].flags |= engine::cancel_requested;
    cancel_below(child, grace_seconds);
  }
}

/// Without a grace of its own, with the one of the nearest `_kill_grace` (decisions.md 1); once for each run.
void Model::stop(int row, std::optional<std::int64_t> grace_seconds) {
  if (rows_[row].stopped) return;
  rows_[row].stopped = true;
  for (int i = row; i >= 0 && !grace_seconds; i = rows_[i].parent) {
    const Value grace = limit_of(rows_[i], "_kill_grace");
    if (!grace.is_null()) grace_seconds = grace.is_string() && grace.as_string() == "never" ? -1 : seconds_of(grace);
  }
  wanted_.stops.push_back({row, rows_[row].lease, grace_seconds});
}

/// 18.3, 18.4, 18.6; all of its tasks or none (E-19), and none any more after a kill.
void Model::run_monitor() {
  if (killed_) return;
  Value config = member(rows_[0].local, "sla");
  const Value alert = member(config, "alert"), fail = member(config, "fail");
  for (const char* key : {"time", "duration", "alert", "fail"}) config.mutable_object().erase(key);
  std::vector<dig::TaskTree> trees;
  const std::string root = rows_[0].full_name;
  auto task = [](const char* type) { return Value::object({{"_type", type}, {"_command", "SLA violation"}}); };
  try {
    if (!alert.is_boolean() || alert.as_boolean()) trees.push_back(dig::compile(root, "^sla^alert", task("notify")));
    if (fail.is_boolean() && fail.as_boolean()) trees.push_back(dig::compile(root, "^sla^fail", task("fail")));
    trees.push_back(dig::compile(root, "^sla", or_empty(config)));
  } catch (const Error&) {
    return;
  }
  for (const auto& tree : trees) insert_tree(tree, 0, 0);
}

}  // namespace digdag::simulation
