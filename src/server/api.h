#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "base/time.h"
#include "executor/starter.h"
#include "schedule/schedule_control.h"
#include "server/client_version.h"
#include "server/router.h"
#include "store/database.h"
#include "store/log_storage.h"
#include "store/project_archive.h"
#include "store/secret_cipher.h"

namespace digdag::server {

class LiveLogs;
class Metrics;

/// What the routes of the REST API work with; must outlive the router. Thread-safe, as all that it refers to is.
struct Api {
  store::Database& database;
  const store::LogStorage& logs;
  LiveLogs& live_logs;
  const store::SecretCipher* cipher = nullptr;  ///< nullptr: secrets are disabled
  schedule::ScheduleControl& schedules;

  /// Starts an attempt: executor::Starter::start.
  std::function<executor::StartAnswer(const executor::StartRequest&)> start;
  /// After the commit of a kill, with the id of its event: the attempt's owner, if that is this process, need not wait for the
  /// database's notice.
  std::function<void(std::int64_t attempt_id, std::int64_t event)> kill_requested;
  /// After the commit of a push: schedules may be due.
  std::function<void()> schedules_changed;
  std::function<Instant()> clock;
  /// Whether all that this server does is under way (`/api/ready`).
  std::function<bool()> ready;

  std::int64_t attempts_page_limit = 100, sessions_page_limit = 100;  ///< api.max_attempts_page_size, api.max_sessions_page_size
  store::ArchiveLimits archive_limits;
  std::filesystem::path temporary_directory;
  std::optional<ClientVersion> incompatible_if_older, upgrade_if_older;  ///< server.client-version-check.*
};

using ApiHandler = Response (*)(const Request&, const Api&);

/// A route whose handler gets `api`.
inline Route api_route(const Api& api, const char* method, const char* pattern, const char* action, ApiHandler handler,
                       Consumes consumes = Consumes::anything) {
  Route route;
  route.method = method;
  route.pattern = pattern;
  route.handler = [&api, handler](const Request& request) { return handler(request, api); };
  route.action = action;
  route.consumes = consumes;
  return route;
}

// Each adds the routes of one chapter of spec/rest-api.md.
void add_version_routes(Router& router, const Api& api);
void add_project_routes(Router& router, const Api& api);
void add_workflow_routes(Router& router, const Api& api);
void add_schedule_routes(Router& router, const Api& api);
void add_session_routes(Router& router, const Api& api);
void add_attempt_routes(Router& router, const Api& api);
void add_log_routes(Router& router, const Api& api);
void add_secret_routes(Router& router, const Api& api);
void add_admin_routes(Router& router, const Api& api);
/// `/api/health`, `/api/ready`, `/metrics` (spec/decisions.md R-33). `metrics` must outlive the router.
void add_operations_routes(Router& router, const Api& api, const Metrics& metrics);
/// `/api/swagger.json` and `.yaml`: what the router knows, which must outlive them.
void add_swagger_routes(Router& router);

}  // namespace digdag::server
