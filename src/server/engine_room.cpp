#include "server/engine_room.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "agent/agent.h"
#include "agent/task_log.h"
#include "agent/workspaces.h"
#include "base/config.h"
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "base/thread.h"
#include "command/command.h"
#include "dig/script_worker.h"
#include "dig/template_options.h"
#include "executor/attempt_options.h"
#include "executor/executor.h"
#include "executor/notifications.h"
#include "executor/required_attempts.h"
#include "executor/starter.h"
#include "executor/takeover.h"
#include "schedule/schedule_loop.h"
#include "schedule/scheduler.h"
#include "server/database_clock.h"
#include "server/foreign_server.h"
#include "server/shutdown_watch.h"
#include "store/attempt_events.h"
#include "store/log_spool.h"
#include "store/owned_attempts.h"
#include "store/projects.h"
#include "store/schedules.h"
#include "store/secrets.h"
#include "store/servers.h"
#include "store/sessions.h"
#include "store/site_selection.h"
#include "store/tasks.h"

namespace digdag::server {
namespace {

/// Runs at the same time where `agent.max-task-threads` sets no limit: each costs some 10 KB here, and its processes outside.
constexpr std::int64_t most_runs = 2000;

std::int64_t duration_or(const SystemConfig& config, std::string_view key, std::int64_t fallback) {
  const std::string text(trim(config.get_or(key, "")));
  if (text.empty()) return fallback;
  const auto seconds = parse_duration(text);
  if (!seconds) throw config_error(std::string(key) + " must be a duration such as 7d or 2h 30m: " + text);
  return *seconds;
}

constexpr std::chrono::seconds look_out_every{10};
constexpr int looks_per_measurement = 6;  ///< of the database's clock

/// Project archives as the database has them.
class StoredArchives : public agent::ArchiveSource {
 public:
  explicit StoredArchives(store::Database& database) : database_(database) {}
  std::optional<Archive> fetch(std::int64_t revision_id) override {
    return database_.read([&](store::Transaction& transaction) -> std::optional<Archive> {
      auto stored = store::archive_of_revision(transaction, revision_id);
      if (!stored) return std::nullopt;
      return Archive{std::move(stored->bytes), std::move(stored->md5)};
    });
  }

 private:
  store::Database& database_;
};

/// `last_session_time` and `next_session_time` of a workflow with a schedule (spec/scheduling.md 6.7).
Value times_around(const store::WorkflowDefinition& workflow, Instant session_time) {
  const auto scheduler = schedule::scheduler_of(workflow.config, workflow.timezone);
  return scheduler ? schedule::schedule_params(*scheduler, session_time, workflow.timezone) : Value::object();
}

}  // namespace

struct EngineRoom::Impl {
  explicit Impl(const Parts& parts);

  const SystemConfig& config;
  store::Database& database;
  Log& log;
  DatabaseClock database_clock;
  const std::function<Instant()> clock = [this] { return database_clock.now(); };
  const std::string agent_id;
  const store::ServerProcess server;
  const bool runs_tasks;
  /// Who owns an attempt runs its tasks. So where others can own it, a server that runs none leaves it to them.
  const bool executes;
  const bool schedules;
  const std::int64_t lock_seconds;

  dig::ScriptWorker worker;
  const dig::TemplateEngine templates;
  command::CommandRunner commands;
  StoredArchives archives;
  const std::unique_ptr<agent::Workspaces> workspaces;
  LiveLogs live_logs;  ///< above the spool, which tells it about files to its end
  store::LogSpool spool;
  store::OwnedAttempts owned;
  std::optional<executor::Executor> the_executor;
  executor::Starter the_starter;
  const std::unique_ptr<executor::Notifications> notifications;  ///< none where nobody is told
  std::optional<executor::RequiredAttempts> required;
  std::optional<agent::Agent> the_agent;
  std::optional<executor::Takeover> takeover;
  std::optional<schedule::ScheduleLoop> schedule_loop;
  std::unique_ptr<store::Database::Listening> listening;

  std::atomic<bool> is_ready = false;
  ForeignServer foreign_server{
      {[this](std::chrono::seconds time) { return pause(time); }, [this](bool held) { hold(held); }}, database, log};
  bool is_shut_down = false;
  std::mutex mutex;
  std::condition_variable wake;
  std::atomic<bool> stopping = false;  ///< set under the mutex
  Thread beginning, loop;

  store::LogSpool::Options spool_options(const Parts& parts) {
    store::LogSpool::Options options = store::log_spool_options(config, parts.temporary_directory, agent_id);
    options.directory = std::filesystem::absolute(options.directory);
    options.written = [this](const std::string& attempt_directory) { live_logs.written(attempt_directory); };
    options.published = [this](const std::string& attempt_directory, const std::string& file_name) {
      live_logs.published(attempt_directory, file_name);
    };
    return options;
  }
  std::unique_ptr<agent::Workspaces> open_workspaces(const Parts& parts);
  bool logs_nothing_more(const LiveLogs::Wanted& wanted);
  agent::AgentOptions agent_options(const Parts& parts);
  executor::Handouts::Limits handouts() const;
  executor::Starter::Options starter_options();
  executor::Takeover::Options takeover_options();

  void listen();
  void begin();
  bool try_to_begin();
  void hold(bool held);
  void look_out();
  bool pause(std::chrono::seconds time);
  std::optional<std::chrono::seconds> shutdown_limit() const;
  ShutdownWatch::Options shutdown_watch(std::optional<std::chrono::seconds> limit);
  void shut_down();
};

std::unique_ptr<agent::Workspaces> EngineRoom::Impl::open_workspaces(const Parts& parts) {
  const auto hold = [this](int fd) { commands.hold(fd); };
  if (!parts.project_directory)
    return std::make_unique<agent::RevisionWorkspaces>(
        agent::RevisionWorkspaces::Options{.tmpdir = parts.temporary_directory, .hold = hold}, archives);
  return std::make_unique<agent::ProjectDirectory>(*parts.project_directory,
                                                   operators::IoArea::Options{.keep = log.enabled(LogLevel::debug), .hold = hold});
}

agent::AgentOptions EngineRoom::Impl::agent_options(const Parts& parts) {
  agent::AgentOptions options;
  options.kill_grace_seconds = config.integer_or("agent.kill-grace-time", options.kill_grace_seconds);
  options.workspaces = workspaces.get();
  options.system = &config;
  options.task_logs = &spool;
  options.secrets = [this, cipher = parts.cipher](std::int64_t project_id, std::string_view key) {
    return database.read([&](store::Transaction& transaction) { return store::secret_of_project(transaction, cipher, project_id, key); });
  };
  options.secret_hint = "digdag secrets --project NAME --set KEY sets it";
  options.task_limit = executor::attempt_options(config).task_limit;
  return options;
}

executor::Handouts::Limits EngineRoom::Impl::handouts() const {
  const std::int64_t threads = config.integer_or("agent.max-task-threads", 0);
  executor::Handouts::Limits limits{.places = !runs_tasks ? 0 : threads > 0 ? threads : most_runs};
  limits.of_site = config.integer_or("queue.db.max_concurrency", limits.of_site);
  limits.served = store::SiteSelection::of(config, "agent");
  return limits;
}

executor::Starter::Options EngineRoom::Impl::starter_options() {
  executor::Starter::Options options;
  options.attempt_limit = config.integer_or("executor.attempt_max_run", config.integer_or("io.digdag.limits.maxAttempts", 100));
  options.attempt = executor::attempt_options(config);
  options.sites = store::SiteSelection::of(config, "executor");
  if (const auto defaults = config.get("digdag.defaultParams")) options.default_params = parse_json(*defaults);
  options.backfill_sla = config.boolean_or("schedule.backfill_sla", false);
  options.times_around = times_around;
  options.delayed = [this] {
    if (schedule_loop) schedule_loop->wake();
  };
  options.remark = [this](const std::string& text) { log.write(LogLevel::warn, "main", "executor", text); };
  return options;
}

executor::Takeover::Options EngineRoom::Impl::takeover_options() {
  executor::Takeover::Options options;
  options.server = server;
  options.sites = store::SiteSelection::of(config, "executor");
  options.alone = database.type() != "postgresql";
  options.heartbeat_seconds = config.integer_or("agent.heartbeat-interval", options.heartbeat_seconds);
  options.attempt_ttl_seconds = duration_or(config, "executor.attempt_ttl", options.attempt_ttl_seconds);
  options.task_ttl_seconds = duration_or(config, "executor.task_ttl", options.task_ttl_seconds);
  options.reaping_seconds = duration_or(config, "executor.ttl_reaping_interval", options.reaping_seconds);
  options.other_gone = [this] { spool.adopt_left(); };
  options.lost = [this] { the_agent->stop_all(); };
  options.ended = [this](const executor::AttemptIdentity& attempt, bool success) {
    live_logs.ended(store::LogAttempt::of(attempt));
    if (success && notifications) notifications->succeeded(attempt);
    if (schedule_loop) schedule_loop->attempt_ended(attempt.site_id);
  };
  if (notifications)
    options.timed_out = [this](std::int64_t attempt_id, const std::string& message) {
      notifications->send(message, [this, attempt_id] { return the_starter.identify(attempt_id); });
    };
  return options;
}

EngineRoom::Impl::Impl(const Parts& parts)
    : config(parts.config),
      database(parts.database),
      log(parts.log),
      database_clock([this] { return database.read([](store::Transaction& transaction) { return transaction.now(); }).instant(); }),
      agent_id([&] {
        const std::string configured(trim(config.get_or("agent.id", "")));
        return configured.empty() ? agent::agent_id() : configured;
      }()),
      server([&] {
        store::ServerProcess process = store::this_process(agent_id);
        process.lease = std::chrono::seconds(duration_or(config, "executor.lease-time", process.lease.count()));
        return process;
      }()),
      runs_tasks(config.boolean_or("agent.enabled", true)),
      executes(config.boolean_or("server.executor.enabled", true) && (runs_tasks || database.type() != "postgresql")),
      schedules(schedule::ScheduleLoop::enabled(config)),
      lock_seconds(config.integer_or("agent.lock-retention-time", 300)),
      templates(worker, dig::template_options(config)),
      archives(database),
      workspaces(open_workspaces(parts)),
      live_logs(
          parts.logs, spool, [this](const LiveLogs::Wanted& wanted) { return logs_nothing_more(wanted); }, log),
      spool(spool_options(parts), parts.logs, log),
      owned(database, server.id, {agent_id, lock_seconds}),
      the_starter(starter_options(), database, owned,
                  executes
                      ? &the_executor.emplace(owned, log, templates, nullptr,
                                              executor::Executor::Options{.clock = clock, .handouts = handouts(), .remembered = 10'000})
                      : nullptr,
                  clock),
      notifications(executor::Notifications::of(config, commands, templates, log)) {
  if (parts.temporary_lock >= 0) commands.hold(parts.temporary_lock);
  if (the_executor) {
    required.emplace(database, the_starter, *the_executor);
    the_agent.emplace(
        agent_options(parts), log, templates, commands, *required,
        [this](const agent::RunRequest& request, agent::RunEnd end) { the_executor->ended(request, std::move(end)); },
        [this](const agent::RunRequest& request, Value limits) { the_executor->limits_evaluated(request, std::move(limits)); });
    the_executor->use(*the_agent);
    takeover.emplace(takeover_options(), database, owned, *the_executor, the_starter, log);
    the_executor->use(*takeover);
    parts.metrics.measure("digdag_attempts", "Attempts that this server owns.",
                          [this] { return static_cast<double>(the_executor->counts().attempts); });
    parts.metrics.measure("digdag_tasks_running", "Tasks that run here.",
                          [this] { return static_cast<double>(the_executor->counts().running); });
    parts.metrics.measure("digdag_tasks_waiting", "Tasks that wait for a place to run.",
                          [this] { return static_cast<double>(the_executor->counts().waiting); });
  }
  if (schedules) schedule_loop.emplace(schedule::ScheduleLoop::Options::of(config, clock), database, the_starter, log);
  listen();
  if (takeover) takeover->announce(listening ? server.lock_key : 0);  // before requests can start attempts
  // Before requests, too: what they write beside another server that lives cannot be taken back.
  if (!config.boolean_or("server.take-over", false)) foreign_server.look();
}

/// Its attempt has ended, or no task of that name is still to run.
bool EngineRoom::Impl::logs_nothing_more(const LiveLogs::Wanted& wanted) {
  return database.read([&](store::Transaction& transaction) {
    const auto attempt = store::Sessions(transaction, static_cast<int>(wanted.attempt.site_id)).attempt(wanted.attempt_id);
    if (!attempt || attempt->done()) return true;
    return !wanted.prefix.empty() && store::has_ended(transaction, wanted.attempt_id, wanted.prefix);
  });
}

/// False where the server is to end meanwhile.
bool EngineRoom::Impl::pause(std::chrono::seconds time) {
  std::unique_lock lock(mutex);
  return !wake.wait_for(lock, time, [this] { return stopping.load(); });
}

void EngineRoom::Impl::hold(bool held) {
  if (the_executor) the_executor->hold(held);
  if (schedule_loop) held ? schedule_loop->stop() : schedule_loop->start();
}

/// While it runs: a Java server may be started later. A server of this machine may die without that it is seen here as dead, as another
/// one was faster, or executes while this one does not.
void EngineRoom::Impl::look_out() {
  for (int looks = 1; pause(look_out_every); ++looks) {
    try {
      spool.adopt_left();
      if (looks % looks_per_measurement == 0) database_clock.measure();
      if ((the_executor || schedule_loop) && database.type() == "postgresql" && !foreign_server.wait_until_gone(true)) return;
    } catch (const Error& error) {
      log.write(LogLevel::warn, "main", "server", "Looking for other servers: " + error.report());
    } catch (const std::exception& error) {
      log.write(LogLevel::error, "main", "server", std::string("Looking for other servers: ") + error.what());
    }
  }
}

void EngineRoom::Impl::listen() {
  if (!the_executor && !schedule_loop) return;
  const auto heard = [this](const std::string& text) {
    if (schedule_loop && (text.empty() || text == store::schedules_notice)) schedule_loop->wake();
    if (takeover && (text.empty() || text == store::attempts_notice)) takeover->wake();
  };
  listening = database.listen({.heard = heard, .lock_key = the_executor ? server.lock_key : 0});
}

/// What is in the way may pass, as a database that is away, or be mended without a restart.
void EngineRoom::Impl::begin() {
  constexpr std::chrono::seconds longest(5);
  for (std::chrono::seconds wait(1); !try_to_begin() && pause(wait); wait = std::min(2 * wait, longest)) {
  }
}

/// False where something was in the way. What has begun already goes on.
bool EngineRoom::Impl::try_to_begin() {
  try {
    if (config.boolean_or("server.take-over", false)) foreign_server.break_locks();
    if (!foreign_server.wait_until_gone(false)) return true;
    if (the_executor && !loop.running()) {
      takeover->start();
      the_executor->step();  // what had ended is closed before a schedule looks for what runs (E-51)
      loop = Thread("the executor", [this] { the_executor->run(); });
    }
    if (schedule_loop) schedule_loop->start();
    is_ready = true;
    return true;
  } catch (const Error& error) {
    log.write(LogLevel::error, "main", "server", "Workflows cannot be taken over, it is tried again: " + error.report());
  } catch (const std::exception& error) {
    log.write(LogLevel::error, "main", "server", std::string("Workflows cannot be taken over, it is tried again: ") + error.what());
  }
  log.flush();
  return false;
}

std::optional<std::chrono::seconds> EngineRoom::Impl::shutdown_limit() const {
  const std::string limit(trim(config.get_or("server.shutdown-timeout", "")));
  if (limit.empty() || limit == "unlimited") return std::nullopt;
  return std::chrono::seconds(duration_or(config, "server.shutdown-timeout", 0));
}

ShutdownWatch::Options EngineRoom::Impl::shutdown_watch(std::optional<std::chrono::seconds> limit) {
  ShutdownWatch::Options options;
  options.limit = limit;
  options.tasks_run = [this] { return the_agent && !the_agent->is_idle(); };
  options.give_up = [this] {
    if (the_executor) the_executor->interrupt();
  };
  options.ask_database = [this](store::Database::Patience patience) {
    database.write([this](store::Transaction& transaction) { store::renew_server(transaction, server); }, store::Durability::process,
                   patience);
  };
  return options;
}

void EngineRoom::Impl::shut_down() {
  if (std::exchange(is_shut_down, true)) return;
  const auto say = [&](const std::string& text) { log.write(LogLevel::info, "shutdown", "server", text); };
  {
    const std::lock_guard lock(mutex);
    stopping = true;
  }
  wake.notify_all();
  std::optional<ShutdownWatch> watch;
  watch.emplace(shutdown_watch(shutdown_limit()), database, log);
  beginning.join();
  say("Shutting down workflow executor loop");
  if (schedule_loop) schedule_loop->stop();
  if (!the_executor) return listening.reset();
  const std::int64_t running = the_executor->counts().running;
  the_executor->drain();
  if (running > 0) say("Waiting for completion of " + std::to_string(running) + " running tasks...");
  log.flush();
  loop.join();
  watch.reset();
  the_agent->shutdown();
  watch.emplace(shutdown_watch({}), database, log);
  takeover->stop();
  listening.reset();
}

EngineRoom::EngineRoom(const Parts& parts) : impl_(std::make_unique<Impl>(parts)) {}
EngineRoom::~EngineRoom() { shut_down(); }

void EngineRoom::start() {
  impl_->beginning = Thread("taking attempts over", [this] {
    impl_->begin();
    if (impl_->is_ready) impl_->look_out();
  });
}
bool EngineRoom::ready() const {
  return impl_->is_ready && !impl_->stopping && !(impl_->the_executor && impl_->the_executor->waits_for_database());
}
std::optional<std::string> EngineRoom::refuses_writes() const {
  if (!impl_->foreign_server.is_there()) return std::nullopt;
  return "Another digdag server has tasks locked in this database; this one begins when those locks have expired";
}

executor::StartAnswer EngineRoom::start_attempt(const executor::StartRequest& request) { return impl_->the_starter.start(request); }
LiveLogs& EngineRoom::live_logs() { return impl_->live_logs; }
executor::SessionStarter& EngineRoom::starter() { return impl_->the_starter; }
void EngineRoom::kill_requested(std::int64_t attempt_id, std::int64_t event) {
  if (impl_->the_executor) impl_->the_executor->kill(attempt_id, event);
}
void EngineRoom::schedules_changed() {
  if (impl_->schedule_loop) impl_->schedule_loop->wake();
}
Instant EngineRoom::now() const { return impl_->clock(); }
void EngineRoom::shut_down() {
  impl_->shut_down();
  impl_->live_logs.close();
}

}  // namespace digdag::server
