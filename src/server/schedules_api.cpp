#include <optional>
#include <string>
#include <variant>

#include "base/text.h"
#include "server/api.h"
#include "server/body.h"
#include "server/json.h"
#include "server/lookup.h"
#include "store/projects.h"
#include "store/schedules.h"

namespace digdag::server {
namespace {

using store::Transaction;

// ---- Reading ----

Response list_schedules(const Request& request, const Api& api) {
  const store::SchedulePage page{.site_id = request.identity.site_id, .after_id = request.query.int32("last_id").value_or(0)};
  const auto found = api.database.read([&](Transaction& transaction) { return store::schedules(transaction, page); });
  return Response::json(list_json("schedules", found, schedule_json));
}

Response list_schedules_of_project(const Request& request, const Api& api) {
  store::SchedulePage page{.site_id = request.identity.site_id,
                           .workflow_name = request.query.text("workflow"),
                           .after_id = request.query.int32("last_id").value_or(0)};
  const auto found = api.database.read([&](Transaction& transaction) {
    store::Projects projects(transaction, request.identity.site_id);
    page.project_id = live_project(projects, request.number("id")).id;
    return store::schedules(transaction, page);
  });
  return Response::json(list_json("schedules", found, schedule_json));
}

Response get_schedule(const Request& request, const Api& api) {
  const std::int64_t id = request.number("id");
  const auto found =
      api.database.read([&](Transaction& transaction) { return store::schedule(transaction, request.identity.site_id, id); });
  if (!found) throw missing("schedule id=" + std::to_string(id));
  return Response::json(schedule_json(*found));
}

// ---- Changing (spec/rest-api.md 7.2 to 7.4) ----

[[noreturn]] void refuse(const schedule::ScheduleRefused& refused) {
  using Why = schedule::ScheduleRefused::Why;
  throw HttpError(refused.why == Why::not_found ? 404 : refused.why == Why::conflict ? 409 : 400, refused.message);
}

Response answer_of(const schedule::ScheduleAnswer& answer) {
  if (const auto* refused = std::get_if<schedule::ScheduleRefused>(&answer)) refuse(*refused);
  return Response::json(schedule_summary_json(std::get<store::Schedule>(answer)));
}

Response skip(const Request& request, const Api& api) {
  const Body body(request);
  body.require({"dryRun"});
  const std::optional<Instant> run_time = body.optional_instant("nextRunTime");
  std::optional<schedule::SkipTarget> target;
  if (const auto time = body.optional_time("nextTime")) {
    target = {.time = *time, .count = {}, .run_time = run_time};
  } else if (body.has("fromTime") && body.has("count")) {
    target = {.time = schedule::RequestedTime::of(body.instant("fromTime")), .count = body.optional_int("count"), .run_time = run_time};
  }
  if (!target) throw HttpError(400, "nextTime or (fromTime and count) are required");
  return answer_of(api.schedules.skip(request.identity.site_id, request.number("id"), *target, body.flag("dryRun")));
}

Response disable(const Request& request, const Api& api) {
  return answer_of(api.schedules.disable(request.identity.site_id, request.number("id")));
}

Response enable(const Request& request, const Api& api) {
  std::optional<schedule::RequestedTime> skip_to;
  // The web UI sends no body.
  if (!is_blank(request.body)) {
    const Body body(request);
    const std::optional<schedule::RequestedTime> next_time = body.optional_time("nextTime");
    if (body.has("skipSchedule") && body.flag("skipSchedule")) {
      skip_to = next_time.value_or(schedule::RequestedTime::of(api.clock()));
    }
  }
  return answer_of(api.schedules.enable(request.identity.site_id, request.number("id"), skip_to));
}

Response backfill(const Request& request, const Api& api) {
  const Body body(request);
  body.require({"fromTime", "dryRun", "attemptName"});
  schedule::BackfillRequest wanted{.from = body.instant("fromTime"),
                                   .attempt_name = body.text("attemptName"),
                                   .count = body.optional_int("count"),
                                   .dry_run = body.flag("dryRun")};
  if (const std::optional<std::int32_t> parallel = body.optional_int("parallel")) wanted.parallel = *parallel;
  if (wanted.parallel < 1) throw HttpError(400, "Field 'parallel' must be 1 or more");
  if (wanted.count && *wanted.count < 0) throw HttpError(400, "Field 'count' must not be negative");
  const schedule::BackfillAnswer answer = api.schedules.backfill(request.identity.site_id, request.number("id"), wanted);
  if (const auto* refused = std::get_if<schedule::ScheduleRefused>(&answer)) refuse(*refused);
  const auto& done = std::get<schedule::Backfill>(answer);
  return Response::json(schedule_attempts_json(done.schedule, done.attempts));
}

}  // namespace

void add_schedule_routes(Router& router, const Api& api) {
  router.add(api_route(api, "GET", "/api/schedules", "listSchedulesOfSite", list_schedules));
  router.add(api_route(api, "GET", "/api/projects/{id:int}/schedules", "listSchedulesOfProject", list_schedules_of_project));
  router.add(api_route(api, "GET", "/api/schedules/{id:int}", "getSchedule", get_schedule));
  router.add(api_route(api, "POST", "/api/schedules/{id:int}/skip", "skipSchedule", skip, Consumes::json));
  router.add(api_route(api, "POST", "/api/schedules/{id:int}/backfill", "backfillSchedule", backfill, Consumes::json));
  router.add(api_route(api, "POST", "/api/schedules/{id:int}/disable", "disableSchedule", disable));
  router.add(api_route(api, "POST", "/api/schedules/{id:int}/enable", "enableSchedule", enable));
}

}  // namespace digdag::server
