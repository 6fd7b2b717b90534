#include "server/config_keys.h"

#include <algorithm>
#include <array>

#include "base/config.h"
#include "base/error.h"
#include "base/text.h"
#include "server/client_version.h"

namespace digdag::server {
namespace {

using Type = ConfigKey::Type;
using Use = ConfigKey::Use;

constexpr std::string_view no_jvm = "there is no Java virtual machine to configure";
constexpr std::string_view no_plugins = "Java plugins cannot be loaded; a task that needs one fails";

/// A key belongs to one of these families if it begins so; in them, unknown keys are mistakes.
constexpr std::array<std::string_view, 8> families = {"server.",   "database.",   "agent.",   "executor.",
                                                      "schedule.", "log-server.", "archive.", "api."};

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

void check_value(const SystemConfig& config, const std::string& key, const std::string& value, Type type) {
  switch (type) {
    case Type::text: return;
    case Type::integer: config.integer_or(key, 0); return;
    case Type::boolean: config.boolean_or(key, false); return;
    case Type::duration:
      if (is_blank(value) || parse_duration(value)) return;
      throw config_error("Configuration key '" + key + "' must be a duration, but it is '" + visible(value) + "'")
          .hint("write 1d, 2h 30m or 45s");
    case Type::version:
      if (is_blank(value) || ClientVersion::parse(trim(value))) return;
      throw config_error("Configuration key '" + key + "' must be a version, but it is '" + visible(value) + "'").hint("like 0.10.0");
  }
}

}  // namespace

const std::vector<ConfigKey>& config_keys() {
  static const std::vector<ConfigKey> keys = {
      {"server.port", Type::integer},
      {"server.bind"},
      {"server.admin.port", Type::integer},
      {"server.admin.bind"},
      {"server.runtime-info.path"},
      {"server.access-log.path"},
      {"server.access-log.pattern"},
      {"server.http.io-threads", Type::integer, Use::ignored, "one thread moves all bytes"},
      {"server.http.worker-threads", Type::integer},
      {"server.http.no-request-timeout", Type::integer},
      {"server.http.request-parse-timeout", Type::integer},
      {"server.http.io-idle-timeout", Type::integer},
      {"server.http.enable-http2", Type::boolean, Use::ignored, "HTTP/1.1 is spoken"},
      {"server.http.max-connections", Type::integer},
      {"server.http.headers.*"},
      {"server.jmx.port", Type::text, Use::ignored, no_jvm},
      {"server.authenticator.type"},
      {"server.authenticator.basic.username"},
      {"server.authenticator.basic.password"},
      {"server.authenticator.basic.admin", Type::boolean},
      {"server.allow-unauthenticated", Type::boolean},
      {"server.authenticator-class", Type::text, Use::ignored, "use server.authenticator.type"},
      {"server.executor.enabled", Type::boolean},
      {"server.enable-swagger", Type::boolean},
      {"server.environment.*"},
      {"server.client-version-check.upgrade-recommended-if-older", Type::version},
      {"server.client-version-check.api-incompatible-if-older", Type::version},
      {"server.cors.allow-origin"},
      {"server.shutdown-timeout"},
      {"server.take-over", Type::boolean},
      {"server.tls.cert", Type::text, Use::refused, "TLS is not built in yet; put a proxy before the server"},
      {"server.tls.key", Type::text, Use::refused, "TLS is not built in yet; put a proxy before the server"},
      {"basicauth.username"},
      {"basicauth.password"},
      {"basicauth.admin", Type::boolean},

      {"database.type"},
      {"database.path"},
      {"database.user"},
      {"database.password"},
      {"database.host"},
      {"database.port", Type::integer},
      {"database.database"},
      {"database.loginTimeout", Type::integer},
      {"database.socketTimeout", Type::integer},
      {"database.ssl", Type::boolean},
      {"database.sslfactory"},
      {"database.sslmode"},
      {"database.sslcert"},
      {"database.sslkey"},
      {"database.sslrootcert"},
      {"database.connectionTimeout", Type::integer},
      {"database.idleTimeout", Type::integer},
      {"database.keepaliveTime", Type::integer},
      {"database.validationTimeout", Type::integer, Use::ignored, "a lost connection is noticed when it is used"},
      {"database.maximumPoolSize", Type::integer},
      {"database.minimumPoolSize", Type::integer, Use::ignored, "connections are opened when they are needed"},
      {"database.leakDetectionThreshold", Type::integer, Use::ignored, "connections cannot leak"},
      {"database.opts.*"},
      {"database.migrate", Type::boolean},
      {"database.queue.expireLockInterval", Type::integer, Use::ignored, "locks are expired when attempts are taken over"},

      {"agent.enabled", Type::boolean},
      {"agent.id"},
      {"agent.max-task-threads", Type::integer},
      {"agent.heartbeat-interval", Type::integer},
      {"agent.lock-retention-time", Type::integer},
      {"agent.kill-grace-time", Type::integer},
      {"agent.max-lost-leases", Type::integer},
      {"agent.command_executor.*"},
      {"agent.account_routing.enabled", Type::boolean},
      {"agent.account_routing.include"},
      {"agent.account_routing.exclude"},

      {"executor.attempt_ttl", Type::duration},
      {"executor.task_ttl", Type::duration},
      {"executor.ttl_reaping_interval", Type::duration},
      {"executor.task_max_run", Type::integer},
      {"executor.attempt_max_run", Type::integer},
      {"executor.max_params_size", Type::integer},
      {"executor.group_check", Type::boolean},
      {"executor.lease-time", Type::duration, Use::ignored, "the lease of a server is 10 seconds"},
      {"executor.enqueue_random_fetch", Type::boolean, Use::ignored, "tasks are handed on when they become ready"},
      {"executor.enqueue_fetch_size", Type::integer, Use::ignored, "tasks are handed on when they become ready"},
      {"executor.account_routing.enabled", Type::boolean},
      {"executor.account_routing.include"},
      {"executor.account_routing.exclude"},
      {"queue-server.type", Type::text, Use::ignored, "the queue is in the database"},
      {"queue.db.max_concurrency", Type::integer},

      {"schedule.enabled", Type::boolean},
      {"schedule.backfill_sla", Type::boolean, Use::ignored, "backfills have no sla yet"},
      {"schedule.max_starts_per_second", Type::integer},
      {"scheduler.account_routing.enabled", Type::boolean},
      {"scheduler.account_routing.include"},
      {"scheduler.account_routing.exclude"},
      {"scheduler.autoLoadLocalProject"},
      {"scheduler.localOverrideParams"},

      {"api.max_attempts_page_size", Type::integer},
      {"api.max_sessions_page_size", Type::integer},
      {"api.max_archive_total_size_limit", Type::integer},

      {"archive.type"},
      {"archive.db.path"},
      {"archive.db.direct_download", Type::boolean, Use::ignored, "archives come from the server itself"},
      {"archive.s3.*", Type::text, Use::refused, "archives in object storage are not built in yet"},
      {"archive.gcs.*", Type::text, Use::refused, "archives in object storage are not built in yet"},
      {"log-server.type"},
      {"log-server.local.path"},
      {"log-server.local.split_size", Type::integer},
      {"log-server.local.direct_download", Type::boolean, Use::ignored, "logs come from the server itself"},
      {"log-server.spool-limit", Type::integer},
      {"log-server.mask-secrets", Type::boolean, Use::ignored, "secrets that a task read are always masked"},
      {"log-server.s3.*", Type::text, Use::refused, "logs in object storage are not built in yet"},
      {"log-server.gcs.*", Type::text, Use::refused, "logs in object storage are not built in yet"},

      {"tmpdir"},
      {"eval.extended-syntax", Type::boolean},
      {"eval.memory", Type::integer},
      {"eval.stored-params"},
      {"eval.timeout"},
      {"eval.js-engine-type", Type::text, Use::ignored, "there is one JavaScript engine"},
      {"digdag.secret-encryption-key"},
      {"digdag.secret-encryption-key-file"},
      {"digdag.secret-encryption-key.previous"},
      {"digdag.defaultParams"},
      {"digdag.secret-access-policy-file", Type::text, Use::ignored, "there are no access policies any more"},
      {"secret-access-policy*", Type::text, Use::ignored, "there are no access policies any more"},

      {"notification.retries", Type::integer},
      {"notification.min_retry_wait", Type::integer},
      {"notification.max_retry_wait", Type::integer},
      {"notification.shell.timeout", Type::integer},
      {"notification.on-success", Type::boolean},
      {"notification.*"},
      {"metrics.jmx.*", Type::text, Use::ignored, no_jvm},
      {"metrics.enable", Type::text, Use::ignored, "metrics are read at /metrics"},
      {"metrics.fluency.*", Type::text, Use::ignored, "metrics are read at /metrics"},
      {"retention.*", Type::text, Use::ignored, "nothing is removed by itself yet"},
      {"plugin.enabled", Type::text, Use::ignored, no_plugins},
      {"plugin.local-path", Type::text, Use::ignored, no_plugins},
      {"system-plugin.*", Type::text, Use::ignored, no_plugins},
  };
  return keys;
}

void check_config(const SystemConfig& config) {
  for (const auto& [key, value] : config.below("")) {
    const ConfigKey* const known = known_key(key);
    if (known == nullptr || known->use == Use::ignored) continue;
    if (known->use == Use::refused) throw config_error("Configuration key '" + key + "': " + std::string(known->why));
    check_value(config, key, value, known->type);
  }
  for (const std::string& name : config.list("metrics.enable")) {
    if (name != "jmx" && name != "fluency")
      throw config_error("Unknown name in metrics.enable: " + visible(name)).hint("jmx and fluency are known");
  }
}

std::vector<std::string> config_warnings(const SystemConfig& config) {
  std::vector<std::string> warnings;
  std::vector<const ConfigKey*> told;
  for (const auto& [key, value] : config.below("")) {
    if (const ConfigKey* const known = known_key(key)) {
      if (known->use != Use::ignored || std::find(told.begin(), told.end(), known) != told.end()) continue;
      told.push_back(known);
      warnings.push_back("Configuration key '" + key + "' is ignored: " + std::string(known->why));
      continue;
    }
    if (std::none_of(families.begin(), families.end(), [&](std::string_view family) { return key.starts_with(family); })) continue;
    std::vector<std::string> all;
    for (const ConfigKey& known : config_keys()) {
      if (!known.name.ends_with('*')) all.emplace_back(known.name);
    }
    const std::vector<std::string> similar = similar_words(key, all);
    warnings.push_back("Unknown configuration key '" + visible(key) + "'" +
                       (similar.empty() ? "" : "; did you mean '" + similar.front() + "'?"));
  }
  return warnings;
}

}  // namespace digdag::server
