#include "agent/runtime_params.h"

#include <optional>
#include <string>

#include "base/time.h"

namespace digdag::agent {
namespace {

/// `last_session_date`, … of a session time that a parameter names; nothing where it names none.
void add_session(Object& runtime, const std::string& prefix, const Value* time, const TimeZone& zone) {
  if (time == nullptr || !time->is_string()) return;
  const auto instant = parse_session_time(time->as_string());
  if (!instant) return;
  runtime.set(prefix + "_date", format_date(*instant, zone));
  runtime.set(prefix + "_date_compact", format_date_compact(*instant, zone));
  runtime.set(prefix + "_local_time", format_local_time(*instant, zone));
  runtime.set(prefix + "_tz_offset", format_offset(*instant, zone));
  runtime.set(prefix + "_unixtime", instant->seconds());
}

/// The same of the last executed session, which always stand there: empty where there was none.
void add_last_executed(Object& runtime, const Value* time, const TimeZone& zone) {
  const std::string prefix = "last_executed_session";
  const auto instant = time != nullptr && time->is_string() ? parse_session_time(time->as_string()) : std::nullopt;
  runtime.set(prefix + "_time", instant ? *time : Value(""));
  if (instant) {
    add_session(runtime, prefix, time, zone);
    return;
  }
  for (const char* part : {"_date", "_date_compact", "_local_time"}) runtime.set(prefix + part, "");
  runtime.set(prefix + "_tz_offset", format_offset(Instant{0}, zone));
  runtime.set(prefix + "_unixtime", "");
}

}  // namespace

Value runtime_params(const operators::TaskIdentity& identity, const Value& params) {
  const TimeZone& zone = identity.timezone;
  const Instant session = identity.session_time;
  Object runtime;
  runtime.reserve(28);
  runtime.set("timezone", zone.id());
  runtime.set("session_uuid", identity.session_uuid);
  runtime.set("session_time", format_session_time(session, zone));
  runtime.set("session_id", identity.session_id);
  runtime.set("session_date", format_date(session, zone));
  runtime.set("session_date_compact", format_date_compact(session, zone));
  runtime.set("session_local_time", format_local_time(session, zone));
  runtime.set("session_tz_offset", format_offset(session, zone));
  runtime.set("session_unixtime", session.seconds());
  add_session(runtime, "last_session", params.find("last_session_time"), zone);
  add_last_executed(runtime, params.find("last_executed_session_time"), zone);
  add_session(runtime, "next_session", params.find("next_session_time"), zone);
  runtime.set("project_id", identity.project_id);
  if (identity.retry_attempt_name) runtime.set("retry_attempt_name", *identity.retry_attempt_name);
  runtime.set("attempt_id", identity.attempt_id);
  runtime.set("task_name", identity.task_name);
  return runtime;
}

}  // namespace digdag::agent
