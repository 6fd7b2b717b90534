#include "server/server.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "schedule/schedule_control.h"
#include "server/access_log.h"
#include "server/api.h"
#include "server/authenticator.h"
#include "server/config_keys.h"
#include "server/engine_room.h"
#include "server/front_door.h"
#include "server/local_project.h"
#include "server/metrics.h"
#include "server/runtime_info.h"
#include "server/scratch_directory.h"
#include "store/database.h"
#include "store/database_place.h"
#include "store/log_storage.h"
#include "store/migrations.h"
#include "store/secret_cipher.h"

namespace digdag::server {
namespace {

std::optional<ClientVersion> version_of(const SystemConfig& config, std::string_view key) {
  const std::optional<std::string> text = config.get(key);
  return text ? ClientVersion::parse(trim(*text)) : std::nullopt;
}

void tell_about_config(const SystemConfig& config, Log& log) {
  if (config.get("server.authenticator-class")) {
    log.write(LogLevel::error, "main", "server", "Configuration key server.authenticator-class is ignored; use server.authenticator.type");
  }
  if (is_blank(config.get_or("database.type", ""))) {
    log.write(LogLevel::warn, "main", "server", "database.type is not set, so everything is kept in memory: all data is lost at exit");
  }
  for (const std::string& warning : config_warnings(config)) log.write(LogLevel::warn, "main", "server", warning);
}

/// The configuration, after it was looked at as a whole: nothing is opened or made for one that is wrong.
const SystemConfig& checked(const SystemConfig& config, Log& log) {
  check_config(config);
  tell_about_config(config, log);
  return config;
}

Authenticator authenticator_of(const SystemConfig& config, const HttpServer::Options& options, Log& log) {
  Authenticator authenticator(config, log);
  std::vector<std::string> hosts{options.api.host};
  if (options.admin) hosts.push_back(options.admin->host);
  require_authentication(config, authenticator, hosts, log);
  return authenticator;
}

/// The database with its schema as this program needs it.
std::unique_ptr<store::Database> ready_database(const SystemConfig& config, Log& log) {
  std::unique_ptr<store::Database> database = store::open_database(config, log);
  log.write(LogLevel::info, "main", "server", "database: " + store::database_place(config));
  if (config.boolean_or("database.migrate", true)) {
    store::migrate(*database);
  } else if (const std::vector<std::string> missing = store::check_migrations(*database).missing; !missing.empty()) {
    throw config_error("The database lacks the migrations " + join(missing, ", "))
        .hint("run `digdag migrate run`, or do not set database.migrate = false");
  }
  return database;
}

}  // namespace

/// In the order in which they are made; what needs another one stands below it.
struct Server::Impl {
  Impl(const SystemConfig& config, Log& server_log);

  void say(const char* text) { log.write(LogLevel::info, "shutdown", "server", text); }
  void shut_down();
  void count(const Exchange& exchange);
  void add_routes();

  Log& log;
  const SystemConfig& config;
  const HttpServer::Options http_options;
  const ScratchDirectory scratch;
  const Authenticator authenticator;
  const std::unique_ptr<AccessLog> access_log;
  Metrics metrics;
  const std::optional<store::SecretCipher> cipher;
  const std::unique_ptr<store::LogStorage> logs;
  const std::unique_ptr<store::Database> database;
  EngineRoom engine_room;
  schedule::ScheduleControl schedules;
  const Api api;
  Router router;
  FrontDoor front_door;
  std::optional<LocalProject> local_project;
  std::optional<HttpServer> http;
  bool is_shut_down = false;
};

Server::Impl::Impl(const SystemConfig& given, Log& server_log)
    : log(server_log),
      config(checked(given, server_log)),
      http_options(HttpServer::Options::of(config)),
      scratch(config, log),
      authenticator(authenticator_of(config, http_options, log)),
      access_log(AccessLog::of(config, log)),
      cipher(store::SecretCipher::of(config)),
      logs(store::open_log_storage(config)),
      database(ready_database(config, log)),
      engine_room({.config = config,
                   .database = *database,
                   .logs = *logs,
                   .cipher = cipher ? &*cipher : nullptr,
                   .temporary_directory = scratch.path(),
                   .temporary_lock = scratch.lock(),
                   .project_directory = LocalProject::directory_of(config),
                   .metrics = metrics,
                   .log = log}),
      schedules({.clock = [this] { return engine_room.now(); }, .changed = [this] { engine_room.schedules_changed(); }}, *database,
                engine_room.starter()),
      api{.database = *database,
          .logs = *logs,
          .live_logs = engine_room.live_logs(),
          .cipher = cipher ? &*cipher : nullptr,
          .schedules = schedules,
          .start = [this](const executor::StartRequest& request) { return engine_room.start_attempt(request); },
          .kill_requested = [this](std::int64_t attempt_id, std::int64_t event) { engine_room.kill_requested(attempt_id, event); },
          .schedules_changed = [this] { engine_room.schedules_changed(); },
          .clock = [this] { return engine_room.now(); },
          .ready = [this] { return engine_room.ready(); },
          .attempts_page_limit = config.integer_or("api.max_attempts_page_size", 100),
          .sessions_page_limit = config.integer_or("api.max_sessions_page_size", 100),
          .archive_limits = {.bytes = static_cast<std::uint64_t>(config.integer_or("api.max_archive_total_size_limit", 2 << 20))},
          .temporary_directory = scratch.uploads(),
          .incompatible_if_older = version_of(config, "server.client-version-check.api-incompatible-if-older"),
          .upgrade_if_older = version_of(config, "server.client-version-check.upgrade-recommended-if-older")},
      front_door(config, router, authenticator, log) {
  front_door.ask_before_writes([this] { return engine_room.refuses_writes(); });
  log.write(LogLevel::info, "main", "server", "secret encryption engine: " + std::string(cipher ? cipher->engine() : "disabled"));
  metrics.declare_counter("digdag_http_requests_total", "Requests that were answered.");
  metrics.declare_counter("digdag_http_request_seconds_total", "How long they took, together.");
  measure_process(metrics);
  add_routes();
  if (const auto directory = LocalProject::directory_of(config)) {
    local_project.emplace(*directory, config,
                          LocalProject::Parts{.database = *database,
                                              .clock = [this] { return engine_room.now(); },
                                              .schedules_changed = [this] { engine_room.schedules_changed(); },
                                              .log = log});
  }

  HttpServer::Options options = http_options;
  options.on_finished = [this](Exchange exchange) {
    count(exchange);
    if (access_log) access_log->add(std::move(exchange));
  };
  http.emplace(std::move(options), front_door, log);
  write_runtime_info(config, *http, log);
  if (local_project) local_project->start();
  engine_room.start();
}

void Server::Impl::add_routes() {
  add_version_routes(router, api);
  add_project_routes(router, api);
  add_workflow_routes(router, api);
  add_schedule_routes(router, api);
  add_session_routes(router, api);
  add_attempt_routes(router, api);
  add_log_routes(router, api);
  add_secret_routes(router, api);
  add_admin_routes(router, api);
  add_operations_routes(router, api, metrics);
  if (config.boolean_or("server.enable-swagger", false)) add_swagger_routes(router);
}

void Server::Impl::count(const Exchange& exchange) {
  // A method that nobody knows must not become a label of its own.
  static constexpr std::array<std::string_view, 7> methods = {"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "TRACE"};
  const bool known = std::find(methods.begin(), methods.end(), exchange.request.method) != methods.end();
  const std::string labels = Metrics::labels(
      {{"method", known ? std::string_view(exchange.request.method) : "other"}, {"status", std::to_string(exchange.status)}});
  metrics.add("digdag_http_requests_total", labels);
  metrics.add("digdag_http_request_seconds_total", labels, std::chrono::duration<double>(exchange.duration).count());
}

void Server::Impl::shut_down() {
  if (std::exchange(is_shut_down, true)) return;
  say("Started shutdown process");
  local_project.reset();
  engine_room.shut_down();
  say("Closing HTTP listening sockets");
  http->stop_listening();
  say("Waiting for completion of running HTTP requests...");
  http->wait_for_requests();
  say("Shutting down HTTP worker threads");
  // A request that waits for the database would keep us waiting.
  database->shut_down();
  http->stop();
  say("Shutting down system");
  http.reset();
  say("Shutdown completed");
}

Server::Server(const SystemConfig& config, Log& log) : impl_(std::make_unique<Impl>(config, log)) {}

Server::~Server() { shut_down(); }

const HttpServer& Server::http() const { return *impl_->http; }

void Server::shut_down() { impl_->shut_down(); }

}  // namespace digdag::server
