#include "agent/task_run.h"

#include <algorithm>
#include <cstdio>

#include "agent/failure.h"
#include "agent/runtime_params.h"
#include "base/file.h"
#include "base/json.h"
#include "base/json_pointer.h"
#include "base/text.h"
#include "dig/keys.h"
#include "dig/time_limit.h"
#include "engine/retry_control.h"
#include "operators/missing.h"

namespace digdag::agent {
namespace {

constexpr std::int64_t default_params_bytes = 16 << 20;  // executor.max_params_size (E-66)
constexpr std::int64_t quiet_poll_millis = 1'800'000;    // polls of younger tasks are announced at DEBUG only

/// An object without the keys of handlers, which the engine has read.
Value without_handlers(Value object) {
  for (const char* key : {"_error", "_check"})
    if (object.find(key) != nullptr) object.mutable_object().erase(key);
  return object;
}

/// Spans of the operator's command, under `_command` as well.
void alias_command_spans(std::unordered_map<std::string, dig::SecretSpans>& spans, const std::string& key) {
  if (spans.empty() || key == "_type") return;
  const std::string from = pointer_to("", key);
  std::vector<std::pair<std::string, dig::SecretSpans>> more;
  for (const auto& [pointer, of_pointer] : spans) {
    if (is_at_or_below(pointer, from)) more.emplace_back("/_command" + pointer.substr(from.size()), of_pointer);
  }
  for (auto& [pointer, of_pointer] : more) spans[pointer] = std::move(of_pointer);
}

/// `_workdir`; empty where there is none.
std::string workdir_of(const Value& config) {
  const Value* directory = config.find("_workdir");
  return directory == nullptr || directory->is_null() ? "" : convert_to_string(*directory, "_workdir");
}

/// Links apart.
bool leads_out(const std::filesystem::path& name) {
  return name.is_absolute() || (!name.empty() && *name.lexically_normal().begin() == "..");
}

constexpr std::int64_t database_pause_millis = 5000;

Error killed() { return task_error("killed"); }

Error unknown_type(const std::string& type) {
  if (operators::is_missing_operator(type))
    return config_error("Unknown task type: " + type).hint("this version of digdag does not have " + type + "> yet");
  const auto names = operators::operator_names();
  std::string hint = operators::did_you_mean(type, {names.begin(), names.end()});
  if (hint.empty()) hint = "the operators are " + join({names.begin(), names.end()}, ">, ") + '>';
  return config_error("Unknown task type: " + type).hint(std::move(hint));
}

/// Throws what is wrong with `_retry`, with the place of the key at least.
void check_retry(const Value& config) {
  const Object::Member* retry = config.as_object().find_member("_retry");
  if (retry == nullptr) return;
  try {
    engine::RetryControl::parse(retry->value);
  } catch (const Error& error) {
    throw error.position().known() ? error : Error(error).at(retry->position);
  }
}

}  // namespace

TaskRun::TaskRun(RunRequest request, RunServices& services) : request_(std::move(request)), services_(services) {}

/// Runs a step of the task; whatever it throws becomes the task's failure.
template <typename Step>
void TaskRun::guarded(Step step) {
  try {
    step();
  } catch (const store::DatabaseError& error) {
    if (error.why() != store::DatabaseError::Cause::unavailable) return fail(error);
    run_later(error);
  } catch (...) {
    try {
      fail(current_error());
    } catch (...) {
      refuse();  // no memory to say why
    }
  }
}

/// A database that is away is not the task's failure: it begins anew, as after a lost agent.
void TaskRun::run_later(const store::DatabaseError& error) {
  if (stopped_) return refuse();
  log(LogLevel::warn, "The task is run again in " + std::to_string(database_pause_millis / 1000) + " seconds: " + error.chain());
  end(RunLater{.delay_millis = database_pause_millis, .state = request_.state, .retry = retry_, .wakes_after = {}});
}

void TaskRun::set_identity_of_thread(unsigned slot) {
  char number[16];
  std::snprintf(number, sizeof number, "%04u", slot);
  const auto& identity = request_.identity;
  log_thread_ = std::string(number) + "@[" + std::to_string(identity.site_id) + ':' + identity.project_name + ':' +
                std::to_string(identity.session_id) + ':' + std::to_string(identity.attempt_id) + ']' + shown_task_name(identity.task_name);
  if (services_.options.task_logs != nullptr) task_log_ = std::make_unique<TaskLog>(*services_.options.task_logs, identity);
}

void TaskRun::refuse() {
  end(RunFailed{
      .error = error_object(killed()), .retry = retry_, .cause = killed(), .last_output = last_output_, .millis = command_millis_});
}

void TaskRun::begin(unsigned slot) {
  set_identity_of_thread(slot);
  if (stopped_) return refuse();
  guarded([&] {
    if (skip_before()) return;
    evaluate();
    if (!request_.cleanup) read_time_limits();
    const OperatorChoice choice = choose_operator(config_, request_.local, request_.own_export);
    if (choice.type.empty()) return succeed({});
    prepare_context(choice);
    if (skip_evaluated(choice)) return;
    prepare_operator(choice);
    if (!type_->blocks) return call_operator();
    services_.blocking_threads.post([self = shared_from_this()](unsigned) { self->guarded([&] { self->call_operator(); }); },
                                    request_.attempt);
  });
}

bool TaskRun::skip_before() {
  if (services_.options.filter == nullptr) return false;
  auto skip = services_.options.filter->before(request_);
  if (!skip) return false;
  if (skip->log_skipped) log(LogLevel::warn, "Skipped");
  end(RunSucceeded{std::move(skip->result)});
  return true;
}

void TaskRun::evaluate() {
  Value params = without_handlers(request_.params.to_value());
  const Value runtime = runtime_params(request_.identity, params);
  Object& scope = params.mutable_object();
  for (const auto& member : runtime.as_object()) scope.set(member.key, member.value);
  dig::Evaluated evaluated = services_.templates.evaluate(params, without_handlers(request_.local), request_.params.origins(),
                                                          request_.identity.timezone, request_.lenient);
  for (const std::string& warning : evaluated.warnings) log(LogLevel::warn, warning);
  config_ = std::move(evaluated.all);
  secret_spans_ = std::move(evaluated.secret_spans);
}

/// The keys that are the engine's. It cannot evaluate templates: what those gave is told to it.
void TaskRun::read_time_limits() {
  Object evaluated;
  for (const char* key : {"_timeout", "_kill_grace", "_error_on_cancel"}) {
    const Object::Member* written = request_.local.is_object() ? request_.local.as_object().find_member(key) : nullptr;
    if (written == nullptr || written->value.is_null()) continue;
    const Value& value = *config_.find(key);
    if (auto fault = dig::fault_of_time_limit({key, value, written->position})) throw std::move(*fault);
    if (dig::contains_template(written->value)) evaluated.set(key, value, written->position);
  }
  if (const Value* grace = evaluated.find("_kill_grace")) {
    const std::lock_guard lock(mutex_);
    kill_grace_seconds_ = dig::parse_kill_grace(*grace);
  }
  if (!evaluated.empty()) services_.limits_evaluated(request_, Value(std::move(evaluated)));
}

void TaskRun::prepare_context(const OperatorChoice& choice) {
  Object& config = config_.mutable_object();
  Value mounts;
  if (const Value* found = config.find("_secrets")) {
    mounts = *found;
    config.erase("_secrets");
  }
  operators::SecretLookup source;
  if (services_.options.secrets) {
    source = [this](std::string_view key) { return services_.options.secrets(request_.identity.project_id, key); };
  }
  secrets_ = std::make_unique<TaskSecrets>(std::move(source), std::move(mounts),
                                           services_.options.system->boolean_or("log-server.mask-secrets", true));
  if (choice.key != "_type") {
    config.set("_type", choice.type);
    const Value command = *config.find(choice.key);
    if (command.is_null())
      config.erase("_command");
    else
      config.set("_command", command, config.find_member(choice.key)->position);
  }
  alias_command_spans(secret_spans_, choice.key);

  Object local;
  for (const auto& member : request_.local.is_object() ? request_.local.as_object() : Object{}) {
    const Value* value = config.find(member.key);
    if (value != nullptr && !value->is_null()) local.set(member.key, *value, member.position);
  }
  context_ = std::make_unique<operators::TaskContext>();
  context_->local = std::move(local);
  context_->unevaluated_local = request_.local;
  context_->config = std::move(config_);
  context_->secret_spans = std::move(secret_spans_);
  context_->identity = request_.identity;
  context_->state = request_.state.is_object() ? request_.state : Value::object();
  context_->task_limit = services_.options.task_limit;
  context_->position = request_.position;
  context_->log = &services_.log;
  context_->log_thread = log_thread_;
  if (task_log_) {
    context_->task_log = [this](LogLevel level, std::string_view component, std::string_view message) {
      task_log_->line(level, log_thread_, component, message);
    };
  }
  context_->output = [this](std::string_view text) { print(text); };
  context_->secrets = [this](std::string_view key) { return secrets_->find(key); };
  context_->unmounted_secrets = [this](std::string_view key) { return secrets_->find_unmounted(key); };
  context_->mask = [this](std::string_view text) { return secrets_->mask(text); };
  context_->hide = [this](std::string_view text) { secrets_->hide(text); };
  context_->stopped = &stopped_;
  context_->templates = &services_.templates;
  context_->system = services_.options.system;
  context_->environment = &services_.environment;
  context_->attempts = &services_.attempts;
  context_->project_directory = operators::Directory::Make([this]() -> const auto& { return workspace_->directory(); });
  context_->workspace = operators::Directory::Make([this]() -> const auto& { return working_directory(); });
  context_->io_area = [this]() -> operators::IoArea& { return workspace_->io_area(); };
}

bool TaskRun::skip_evaluated(const OperatorChoice& choice) {
  announce(choice);
  std::optional<RunFilter::Skip> skip;
  if (services_.options.filter != nullptr) skip = services_.options.filter->evaluated(request_, context_->config);
  if (!skip) return false;
  if (skip->log_skipped) log(LogLevel::warn, "Skipped");
  end(RunSucceeded{std::move(skip->result)});
  return true;
}

void TaskRun::announce(const OperatorChoice& choice) {
  const bool first = request_.retry_count == 0;
  const bool old = request_.started_at && now().millis - request_.started_at->millis > quiet_poll_millis;
  const LogLevel level = first || (old && request_.retry_count % 10 == 0) ? LogLevel::info : LogLevel::debug;
  if (services_.log.enabled(level) || task_log_) {
    if (choice.key == "_type") {
      log(level, "type: " + choice.type);
    } else {
      const Value* command = context_->config.find("_command");
      log(level, choice.key + ": " + (command != nullptr ? java_text(*command) : ""));
    }
  }
  if (!first) return;
  if (!choice.hijacker.empty())
    log(LogLevel::warn, "The inherited parameter '" + choice.hijacker + "' names another operator than the task's '" + choice.key +
                            "' and is ignored. Rename the parameter.");
  if (secrets_->has_grants()) log(LogLevel::warn, "true in _secrets has no effect any more: all secrets of the project can be read.");
}

void TaskRun::prepare_operator(const OperatorChoice& choice) {
  type_ = operators::find_operator(choice.type);
  if (type_ == nullptr) throw unknown_type(choice.type).at(Config(context_->config).position_of(choice.key));
  workspace_ = services_.options.workspaces->workspace_for(request_.identity);
  check_working_directory();
  const bool takes_env = std::find(type_->keys.begin(), type_->keys.end(), "_env") != type_->keys.end();
  if (takes_env && request_.retry_count == 0 && context_->config.find("_env") != nullptr && request_.local.find("_env") == nullptr)
    log(LogLevel::warn, "_env in _export has no effect: write it on the task itself.");
  if (type_->warns_unused_keys) context_->key_was_read = [this](std::string_view key) { keys_read_.emplace(key); };
  if (const Value* retry = context_->config.find("_retry")) retry_ = *retry;
  if (type_->honours_retry) check_retry(context_->config);
  operator_ = type_->make();
}

/// What can be seen without files. Links are looked at when somebody asks for the directory.
void TaskRun::check_working_directory() {
  if (leads_out(workdir_of(context_->config))) working_directory();
}

const std::filesystem::path& TaskRun::working_directory() {
  if (!working_directory_.empty()) return working_directory_;
  const std::filesystem::path& project = workspace_->directory();
  const std::string name = workdir_of(context_->config);
  auto path = name.empty() ? project : (project / name).lexically_normal();
  if (!is_inside(path, project))
    throw Error("illegal argument", "Working directory must not be outside of project path (" + project.string() + "): " + name);
  return working_directory_ = std::move(path);
}

void TaskRun::call_operator() {
  if (stopped_) return refuse();
  context_->now = now();
  stage_ = Stage::operation;
  if (request_.cleanup) {
    operator_->cleanup(*context_);
    stage_ = Stage::preparation;
    throw task_error("Got a cancel-requested: attempt_id=" + std::to_string(request_.identity.attempt_id) +
                     ", task_id=" + std::to_string(request_.identity.task_id));
  }
  handle(operator_->run(*context_));
}

void TaskRun::handle(operators::Outcome outcome) {
  if (auto* result = std::get_if<engine::TaskResult>(&outcome)) return succeed(std::move(*result));
  if (stopped_) return refuse();
  if (auto* later = std::get_if<operators::RetryLater>(&outcome))
    return end(RunLater{later->delay_millis, std::move(later->state), retry_, later->wakes_after});
  start_command(std::move(std::get<operators::RunCommand>(outcome).request));
}

void TaskRun::start_command(command::CommandRequest command) {
  const std::lock_guard lock(mutex_);  // its end cannot be handled before its number is known
  auto self = shared_from_this();
  command_ = services_.commands.start(
      std::move(command), [self](std::string_view bytes) { self->print(bytes); },
      [self](command::CommandEnd end) {
        self->services_.threads.post([self, end = std::move(end)](unsigned) { self->command_over(end); }, self->request_.attempt);
      });
  if (stopped_) services_.commands.stop(*command_, grace_seconds_);
}

void TaskRun::command_over(const command::CommandEnd& end) {
  {
    const std::lock_guard lock(mutex_);
    command_.reset();
    if (end.stopped) stopped_ = true;
  }
  last_output_ = secrets_->mask(end.last_output);
  command_millis_ += end.millis;
  guarded([&] { handle(operator_->command_ended(*context_, end)); });
}

void TaskRun::stop(std::int64_t grace_seconds) {
  if (grace_seconds < 0) return;
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  grace_seconds_ = grace_seconds;
  if (command_) services_.commands.stop(*command_, grace_seconds);
}

std::optional<std::int64_t> TaskRun::kill_grace_seconds() const {
  const std::lock_guard lock(mutex_);
  return kill_grace_seconds_ ? kill_grace_seconds_ : request_.kill_grace_seconds;
}

void TaskRun::succeed(engine::TaskResult result) {
  if (stopped_) return refuse();
  check_size(result);
  if (type_ != nullptr && type_->warns_unused_keys) warn_unused_keys();
  end(RunSucceeded{std::move(result), retry_});
}

void TaskRun::fail(const Error& error) {
  if (stopped_) return refuse();
  Error shown = secrets_ ? with_texts(error, [this](std::string_view text) { return secrets_->mask(text); }) : error;
  if (context_) shown = operators::with_command_explained(std::move(shown), *context_);
  if (!shown.position().known()) shown = std::move(shown).at(request_.position);
  if (shown.kind() == "secret not found" && shown.hint_text().empty()) shown = std::move(shown).hint(services_.options.secret_hint);
  RunFailed failed{.error = error_object(shown), .retry = {}, .cause = shown, .last_output = last_output_, .millis = command_millis_};
  failed.retryable = stage_ == Stage::operation && type_->honours_retry && !retry_.is_null();
  failed.retry = retry_;
  if (request_.cleanup)
    log(LogLevel::warn, "Task " + request_.identity.task_name + " is canceled.");
  else if (failed.retryable && retries_left() > 0)
    log(LogLevel::error, "Task failed, retrying\n> " + shown.chain());
  else
    log(LogLevel::error, failure_message(shown, request_.identity.task_name));
  end(std::move(failed));
}

std::int64_t TaskRun::retries_left() const {
  const Value* count = request_.state.find("retry_count");
  const auto control = engine::RetryControl::parse(retry_);
  return control.on_failure ? control.limit - (count != nullptr && count->is_integer() ? count->as_integer() : 0) : 0;
}

void TaskRun::check_size(const engine::TaskResult& result) const {
  if (result.store_params.is_null() && result.export_params.is_null()) return;
  const std::int64_t most = services_.options.system->integer_or("executor.max_params_size", default_params_bytes);
  const auto bytes = static_cast<std::int64_t>(to_json(result.store_params).size() + to_json(result.export_params).size());
  if (most > 0 && bytes > most)
    throw Error("parameters too large",
                "The task stores " + std::to_string(bytes) + " bytes of parameters; at most " + std::to_string(most) + " are allowed")
        .hint("store a file name instead of the content, or raise executor.max_params_size");
}

void TaskRun::warn_unused_keys() {
  for (const auto& member : context_->local.as_object()) {
    const auto& engine_keys = dig::task_keys();
    const bool for_engine = std::find(engine_keys.begin(), engine_keys.end(), member.key) != engine_keys.end();
    if (for_engine || member.key == context_->config.find("_type")->as_string() + ">" || keys_read_.contains(member.key)) continue;
    log(LogLevel::error, "Parameter '" + member.key + "' is not used at task " + request_.identity.task_name + ".");
    const auto similar = similar_words(member.key, {keys_read_.begin(), keys_read_.end()});
    if (!similar.empty()) log(LogLevel::error, "  > Did you mean [" + join(similar, ", ") + "]?");
  }
}

void TaskRun::end(RunEnd end) {
  if (ended_) return;
  operator_.reset();
  workspace_.reset();
  if (const std::string rest = secrets_ ? secrets_->mask_rest() : std::string(); !rest.empty()) show(rest);
  task_log_.reset();  // who hears of the end finds the whole log
  ended_ = true;
  // A report that is lost would be waited for for ever: without memory for it the program ends, and says so.
  [&]() noexcept { services_.ended(*this, std::move(end)); }();
}

void TaskRun::print(std::string_view text) {
  if (text.empty()) return;
  const std::string shown = secrets_->mask_piece(text);
  if (!shown.empty()) show(shown);
}

void TaskRun::show(std::string_view masked_text) {
  services_.log.task_output(masked_text);
  if (task_log_) task_log_->output(masked_text);
}

void TaskRun::log(LogLevel level, std::string_view message) const {
  if (!services_.log.enabled(level) && !task_log_) return;
  const std::string shown = secrets_ ? secrets_->mask(message) : std::string(message);
  services_.log.write(level, log_thread_, "agent", shown);
  if (task_log_) task_log_->line(level, log_thread_, "agent", shown);
}

}  // namespace digdag::agent
