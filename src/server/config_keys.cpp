#include "server/config_keys.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/config.h"
#include "base/error.h"
#include "base/text.h"
#include "server/client_version.h"
#include "store/site_selection.h"

namespace digdag::server {
namespace {

using Type = ConfigKey::Type;
using Use = ConfigKey::Use;

constexpr std::string_view no_jvm = "there is no Java virtual machine to configure";
constexpr std::string_view no_plugins = "Java plugins cannot be loaded; a task that needs one fails";
constexpr std::string_view one_user = "the user may do everything";
constexpr std::string_view only_here =
    "commands in ECS and Kubernetes are not built in yet; leave the key out where they may run on this machine";

constexpr ConfigKey text(std::string_view name) { return {name}; }
constexpr ConfigKey integer(std::string_view name, std::int64_t least = ConfigKey{}.least) {
  return {.name = name, .type = Type::integer, .least = least};
}
constexpr ConfigKey boolean(std::string_view name) { return {name, Type::boolean}; }
constexpr ConfigKey duration(std::string_view name, std::int64_t least) { return {.name = name, .type = Type::duration, .least = least}; }
constexpr ConfigKey version(std::string_view name) { return {name, Type::version}; }
constexpr ConfigKey untold(std::string_view name) { return {name, Type::text, Use::untold}; }
constexpr ConfigKey ignored(std::string_view name, std::string_view why) { return {name, Type::text, Use::ignored, why}; }
constexpr ConfigKey refused(std::string_view name, std::string_view why) { return {name, Type::text, Use::refused, why}; }

constexpr std::string_view command_executor = "agent.command_executor.type";

/// A key belongs to one of these families if it begins so; in them, unknown keys are mistakes. In `config.`, `client.` and those that
/// nobody knows other programs and plugins may have theirs.
constexpr std::array families = {"server.",  "database.", "agent.",     "executor.", "schedule.", "scheduler.", "log-server.",
                                 "archive.", "api.",      "basicauth.", "digdag.",   "eval.",     "queue.",     "notification."};
/// Elsewhere one is a mistake if so few letters make it a known one.
constexpr std::size_t most_wrong_letters = 2;

bool in_family(std::string_view key) {
  return std::any_of(families.begin(), families.end(), [&](std::string_view family) { return key.starts_with(family); });
}

/// What may have been meant: each exact name, and `key` itself below each family of names (`params.x` for `parms.x`).
std::vector<std::string> candidates_for(std::string_view key) {
  std::vector<std::string> all;
  for (const ConfigKey& known : config_keys()) {
    if (!known.name.ends_with(".*")) {
      if (!known.name.ends_with('*')) all.emplace_back(known.name);
      continue;
    }
    const std::string_view family = known.name.substr(0, known.name.size() - 1);
    std::size_t rest = 0;
    for (auto dots = std::count(family.begin(), family.end(), '.'); dots > 0 && rest != std::string_view::npos; --dots)
      rest = key.find('.', rest == 0 ? 0 : rest + 1);
    if (rest != std::string_view::npos && levenshtein(key.substr(0, rest + 1), family) <= most_wrong_letters)
      all.push_back(std::string(family) + std::string(key.substr(rest + 1)));
  }
  return all;
}

/// Nothing where the key may be somebody else's.
std::optional<std::string> warning_of_unknown(const std::string& key) {
  const std::vector<std::string> similar = similar_words(key, candidates_for(key));
  if (!in_family(key) && (similar.empty() || levenshtein(key, similar.front()) > most_wrong_letters)) return std::nullopt;
  return "Unknown configuration key '" + visible(key) + "'" + (similar.empty() ? "" : "; did you mean '" + visible(similar.front()) + "'?");
}

bool names(const ConfigKey& known, std::string_view key) {
  if (!known.name.ends_with('*')) return known.name == key;
  return key.starts_with(known.name.substr(0, known.name.size() - 1));
}

const ConfigKey* known_key(std::string_view key) {
  const std::vector<ConfigKey>& keys = config_keys();
  // An exact name says more than a family.
  for (const bool family : {false, true}) {
    const auto found = std::find_if(keys.begin(), keys.end(),
                                    [&](const ConfigKey& known) { return known.name.ends_with('*') == family && names(known, key); });
    if (found != keys.end()) return &*found;
  }
  return nullptr;
}

void check_least(const std::string& key, const std::string& value, std::int64_t number, std::int64_t least) {
  if (number < least)
    throw config_error("Configuration key '" + key + "' must be at least " + std::to_string(least) + ", but it is " + visible(trim(value)));
}

void check_duration(const std::string& key, const std::string& value, std::int64_t least) {
  const auto seconds = parse_duration(value);
  if (!seconds)
    throw config_error("Configuration key '" + key + "' must be a duration, but it is '" + visible(value) + "'")
        .hint("write 1d, 2h 30m or 45s");
  check_least(key, value, *seconds, least);
}

void check_value(const SystemConfig& config, const std::string& key, const std::string& value, const ConfigKey& known) {
  if (is_blank(value)) return;  // as if it were not there
  switch (known.type) {
    case Type::text: return;
    case Type::integer: return check_least(key, value, config.integer_or(key, 0), known.least);
    case Type::boolean: config.boolean_or(key, false); return;
    case Type::time_limit:
      if (trim(value) == "unlimited") return;
      [[fallthrough]];
    case Type::duration: return check_duration(key, value, known.least);
    case Type::version:
      if (ClientVersion::parse(trim(value))) return;
      throw config_error("Configuration key '" + key + "' must be a version, but it is '" + visible(value) + "'").hint("like 0.10.0");
  }
}

std::string type_of(const SystemConfig& config, std::string_view key, std::string_view fallback) {
  const std::string type(trim(config.get_or(key, "")));
  return type.empty() ? std::string(fallback) : type;
}

/// `good`: what there is, for the hint.
void check_storage(const SystemConfig& config, const std::string& key, const std::vector<std::string>& good) {
  const std::string type = type_of(config, key, good.front());
  if (std::find(good.begin(), good.end(), type) != good.end()) return;
  const bool known = type == "s3" || type == "gcs";
  throw config_error(known ? key + " " + type + " is not built in yet" : "Unknown storage type: " + visible(type))
      .hint(key + " is " + join(good, " or "));
}

void check_choices(const SystemConfig& config) {
  check_storage(config, "archive.type", {"db"});
  check_storage(config, "log-server.type", {"null", "local"});
  const std::string commands = type_of(config, command_executor, "simple");
  static constexpr std::array<std::string_view, 4> executors = {"simple", "docker", "ecs", "kubernetes"};
  if (std::find(executors.begin(), executors.end(), commands) == executors.end())
    throw config_error("Unknown agent.command_executor.type: " + visible(commands)).hint("it is simple");
  for (const std::string& name : config.list("metrics.enable")) {
    if (name != "jmx" && name != "fluency")
      throw config_error("Unknown name in metrics.enable: " + visible(name)).hint("jmx and fluency are known");
  }
  for (const char* part : {"agent", "executor", "scheduler"}) store::SiteSelection::of(config, part);
}

}  // namespace

const std::vector<ConfigKey>& config_keys() {
  static const std::vector<ConfigKey> keys = {
      text("server.bind"),
      integer("server.port"),
      text("server.admin.bind"),
      integer("server.admin.port"),
      text("server.runtime-info.path"),
      text("server.access-log.path"),
      text("server.access-log.pattern"),
      ignored("server.http.io-threads", "one thread moves all bytes"),
      integer("server.http.worker-threads"),
      integer("server.http.no-request-timeout"),
      integer("server.http.request-parse-timeout"),
      integer("server.http.io-idle-timeout"),
      ignored("server.http.enable-http2", "HTTP/1.1 is spoken"),
      integer("server.http.max-connections"),
      text("server.http.headers.*"),
      ignored("server.jmx.port", no_jvm),
      text("server.authenticator.type"),
      text("server.authenticator.basic.username"),
      text("server.authenticator.basic.password"),
      ignored("server.authenticator.basic.admin", one_user),
      text("basicauth.username"),
      text("basicauth.password"),
      ignored("basicauth.admin", one_user),
      boolean("server.allow-unauthenticated"),
      untold("server.authenticator-class"),
      boolean("server.executor.enabled"),
      boolean("server.enable-swagger"),
      ignored("server.environment.*", "tasks have the environment of the server's process"),
      version("server.client-version-check.upgrade-recommended-if-older"),
      version("server.client-version-check.api-incompatible-if-older"),
      text("server.cors.allow-origin"),
      {"server.shutdown-timeout", Type::time_limit},
      boolean("server.take-over"),
      refused("server.tls.*", "TLS is not built in yet; leave the key out and put a proxy before the server"),

      text("database.type"),
      text("database.path"),
      text("database.user"),
      text("database.password"),
      text("database.host"),
      integer("database.port"),
      text("database.database"),
      integer("database.loginTimeout", 0),
      integer("database.socketTimeout", 0),
      boolean("database.ssl"),
      text("database.sslfactory"),
      text("database.sslmode"),
      text("database.sslcert"),
      text("database.sslkey"),
      text("database.sslrootcert"),
      integer("database.connectionTimeout", 0),
      integer("database.idleTimeout", 0),
      integer("database.keepaliveTime", 0),
      ignored("database.validationTimeout", "a lost connection is noticed when it is used"),
      integer("database.maximumPoolSize", 1),
      ignored("database.minimumPoolSize", "connections are opened when they are needed"),
      ignored("database.leakDetectionThreshold", "connections cannot leak"),
      text("database.opts.*"),
      boolean("database.migrate"),
      ignored("database.queue.expireLockInterval", "locks are looked at when tasks are taken over"),

      boolean("agent.enabled"),
      text("agent.id"),
      integer("agent.max-task-threads"),
      integer("agent.heartbeat-interval", 1),
      integer("agent.lock-retention-time", 1),
      integer("agent.kill-grace-time", -1),
      integer("agent.max-lost-leases", 1),
      text("agent.command_executor.type"),
      ignored("agent.command_executor.fallback_on_error", only_here),
      refused("agent.command_executor.ecs.*", only_here),
      refused("agent.command_executor.kubernetes.*", only_here),
      boolean("agent.account_routing.enabled"),
      text("agent.account_routing.include"),
      text("agent.account_routing.exclude"),

      duration("executor.attempt_ttl", 1),
      duration("executor.task_ttl", 1),
      duration("executor.ttl_reaping_interval", 1),
      integer("executor.task_max_run", 0),
      integer("executor.attempt_max_run", 0),
      integer("io.digdag.limits.maxWorkflowTasks", 0),
      integer("io.digdag.limits.maxAttempts", 0),
      integer("executor.max_params_size", 0),
      boolean("executor.group_check"),
      duration("executor.lease-time", 5),
      ignored("executor.enqueue_random_fetch", "tasks are handed on when they become ready"),
      ignored("executor.enqueue_fetch_size", "tasks are handed on when they become ready"),
      boolean("executor.account_routing.enabled"),
      text("executor.account_routing.include"),
      text("executor.account_routing.exclude"),
      ignored("queue-server.type", "the queue is in the database"),
      integer("queue.db.max_concurrency", 1),

      boolean("schedule.enabled"),
      boolean("schedule.backfill_sla"),
      integer("schedule.max_starts_per_second", 0),
      boolean("scheduler.account_routing.enabled"),
      text("scheduler.account_routing.include"),
      text("scheduler.account_routing.exclude"),
      text("scheduler.autoLoadLocalProject"),
      text("scheduler.localOverrideParams"),

      integer("api.max_attempts_page_size", 0),
      integer("api.max_sessions_page_size", 0),
      integer("api.max_archive_total_size_limit", 0),

      text("archive.type"),
      ignored("archive.db.path", "archives in the database have no path"),
      ignored("archive.db.direct_download", "archives come from the server itself"),
      refused("archive.s3.*", "archives in object storage are not built in yet; use archive.type = db"),
      refused("archive.gcs.*", "archives in object storage are not built in yet; use archive.type = db"),
      text("log-server.type"),
      text("log-server.local.path"),
      integer("log-server.local.split_size", 0),
      ignored("log-server.local.direct_download", "logs come from the server itself"),
      integer("log-server.spool-limit", 0),
      boolean("log-server.mask-secrets"),
      refused("log-server.s3.*", "logs in object storage are not built in yet; use log-server.type = local"),
      refused("log-server.gcs.*", "logs in object storage are not built in yet; use log-server.type = local"),

      text("tmpdir"),
      boolean("eval.extended-syntax"),
      integer("eval.memory"),
      text("eval.stored-params"),
      text("eval.timeout"),
      ignored("eval.js-engine-type", "there is one JavaScript engine"),
      text("digdag.secret-encryption-key"),
      text("digdag.secret-encryption-key-file"),
      text("digdag.secret-encryption-key.previous"),
      text("digdag.defaultParams"),
      ignored("digdag.secret-access-policy-file", "there are no access policies any more"),
      ignored("secret-access-policy*", "there are no access policies any more"),
      text("params.*"),
      untold("secrets.*"),
      untold("client.http.endpoint"),
      untold("client.http.headers.*"),
      untold("client.http.disable_direct_download"),
      untold("io.digdag.cli.versionCheckMode"),

      text("notification.type"),
      integer("notification.retries", 0),
      integer("notification.min_retry_wait", 0),
      integer("notification.max_retry_wait", 0),
      boolean("notification.on-success"),
      text("notification.http.url"),
      text("notification.http.method"),
      text("notification.http.headers.*"),
      text("notification.shell.command"),
      integer("notification.shell.timeout", 1),
      text("notification.mail.host"),
      integer("notification.mail.port", 1),
      text("notification.mail.from"),
      text("notification.mail.to"),
      text("notification.mail.cc"),
      text("notification.mail.bcc"),
      text("notification.mail.subject"),
      text("notification.mail.body_template_file"),
      boolean("notification.mail.html"),
      boolean("notification.mail.tls"),
      boolean("notification.mail.ssl"),
      text("notification.mail.username"),
      text("notification.mail.password"),
      ignored("notification.mail.debug", "a mail that cannot be sent is told with the server's answer"),

      boolean("config.http.allow_user_proxy"),
      text("config.http.allowed_hosts"),
      text("config.http.denied_cidrs"),
      integer("config.http.max_redirects"),
      integer("config.http.max_stored_response_content_size", 0),
      text("config.http.user_agent"),
      boolean("config.http.proxy.enabled"),
      text("config.http.proxy.host"),
      integer("config.http.proxy.port"),
      boolean("config.http.proxy.tls"),
      text("config.http.proxy.user"),
      text("config.http.proxy.password"),
      text("config.http_call.allowed_hosts"),
      integer("config.http_call.max_response_content_size", 0),
      ignored("config.mail.*", "mail> is not built in yet"),
      ignored("config.td.*", "the operators of Treasure Data are not built in yet"),
      ignored("param_server.*", "param_set> and param_get> are not built in yet"),

      ignored("metrics.enable", "metrics are read at /metrics"),
      ignored("metrics.jmx.*", no_jvm),
      ignored("metrics.fluency.*", "metrics are read at /metrics"),
      ignored("retention.*", "nothing is removed by itself yet"),
      ignored("plugin.enabled", no_plugins),
      ignored("plugin.local-path", no_plugins),
      ignored("system-plugin.*", no_plugins),
  };
  return keys;
}

void check_config(const SystemConfig& config) {
  for (const auto& [key, value] : config.below("")) {
    const ConfigKey* const known = known_key(key);
    if (known == nullptr || known->use == Use::ignored || known->use == Use::untold) continue;
    if (known->use == Use::refused) throw config_error("Configuration key '" + key + "': " + std::string(known->why));
    check_value(config, key, value, *known);
  }
  check_choices(config);
}

std::vector<std::string> config_warnings(const SystemConfig& config) {
  std::vector<std::string> warnings;
  std::vector<const ConfigKey*> told;
  if (const std::string type = type_of(config, command_executor, "simple"); type != "simple")
    warnings.push_back("agent.command_executor.type " + type + " is not built in yet: commands run on this machine (simple)");
  for (const auto& [key, value] : config.below("")) {
    if (const ConfigKey* const known = known_key(key)) {
      if (known->use != Use::ignored || std::find(told.begin(), told.end(), known) != told.end()) continue;
      told.push_back(known);
      warnings.push_back("Configuration key '" + key + "' is ignored: " + std::string(known->why));
      continue;
    }
    if (auto warning = warning_of_unknown(key)) warnings.push_back(std::move(*warning));
  }
  return warnings;
}

}  // namespace digdag::server
