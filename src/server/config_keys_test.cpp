#include "server/config_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "base/error.h"
#include "base/text.h"

namespace digdag::server {
namespace {

using Type = ConfigKey::Type;
using Use = ConfigKey::Use;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

SystemConfig config_of(std::string_view key, std::string value) {
  SystemConfig config;
  config.set(key, std::move(value));
  return config;
}

/// A key that this entry of the table stands for.
std::string example(const ConfigKey& key) {
  std::string name(key.name);
  if (name.ends_with('*')) name.replace(name.size() - 1, 1, "zzz");
  return name;
}

std::string error_of(const SystemConfig& config) {
  try {
    check_config(config);
    return "";
  } catch (const Error& error) {
    return error.message();
  }
}

/// The tables of spec/server.md 4, in their order, then the keys of decisions.md, and what becomes of each.
struct Line {
  const char* names;  ///< separated by blanks
  Use use;
};
constexpr Line tables[] = {
    // 4.1
    {"server.port server.bind server.admin.port server.admin.bind server.runtime-info.path", Use::honoured},
    {"server.access-log.path server.access-log.pattern", Use::honoured},
    {"server.http.io-threads", Use::ignored},
    {"server.http.worker-threads server.http.no-request-timeout server.http.request-parse-timeout", Use::honoured},
    {"server.http.io-idle-timeout", Use::honoured},
    {"server.http.enable-http2", Use::ignored},
    {"server.http.headers.*", Use::honoured},
    {"server.jmx.port", Use::ignored},
    {"server.authenticator.type server.authenticator.basic.username server.authenticator.basic.password", Use::honoured},
    {"server.authenticator.basic.admin", Use::ignored},
    {"basicauth.username basicauth.password", Use::honoured},
    {"basicauth.admin", Use::ignored},
    {"server.authenticator-class", Use::untold},
    {"server.executor.enabled server.enable-swagger", Use::honoured},
    {"server.environment.*", Use::ignored},
    {"server.client-version-check.upgrade-recommended-if-older", Use::honoured},
    {"server.client-version-check.api-incompatible-if-older", Use::honoured},
    // 4.2
    {"database.type database.path database.user database.password database.host database.port database.database", Use::honoured},
    {"database.loginTimeout database.socketTimeout database.ssl database.sslfactory database.sslmode", Use::honoured},
    {"database.sslcert database.sslkey database.sslrootcert", Use::honoured},
    {"database.connectionTimeout database.idleTimeout database.keepaliveTime", Use::honoured},
    {"database.validationTimeout", Use::ignored},
    {"database.maximumPoolSize", Use::honoured},
    {"database.minimumPoolSize database.leakDetectionThreshold", Use::ignored},
    {"database.opts.* database.migrate", Use::honoured},
    {"database.queue.expireLockInterval", Use::ignored},
    // 4.3
    {"agent.enabled agent.id agent.max-task-threads agent.heartbeat-interval agent.lock-retention-time", Use::honoured},
    {"agent.command_executor.type", Use::honoured},
    {"executor.attempt_ttl executor.task_ttl executor.ttl_reaping_interval", Use::honoured},
    {"executor.task_max_run executor.attempt_max_run", Use::honoured},
    {"executor.enqueue_random_fetch executor.enqueue_fetch_size queue-server.type", Use::ignored},
    {"queue.db.max_concurrency schedule.enabled", Use::honoured},
    {"agent.account_routing.enabled agent.account_routing.include agent.account_routing.exclude", Use::honoured},
    {"executor.account_routing.enabled executor.account_routing.include executor.account_routing.exclude", Use::honoured},
    {"scheduler.account_routing.enabled scheduler.account_routing.include scheduler.account_routing.exclude", Use::honoured},
    {"tmpdir", Use::honoured},
    {"eval.js-engine-type", Use::ignored},
    {"eval.extended-syntax", Use::honoured},
    // 4.4
    {"api.max_attempts_page_size api.max_sessions_page_size api.max_archive_total_size_limit", Use::honoured},
    // 4.5, 4.6
    {"archive.type", Use::honoured},
    {"archive.db.path archive.db.direct_download", Use::ignored},
    {"archive.s3.* archive.gcs.*", Use::refused},
    {"log-server.type log-server.local.path log-server.local.split_size", Use::honoured},
    {"log-server.local.direct_download", Use::ignored},
    {"log-server.s3.* log-server.gcs.*", Use::refused},
    // 4.7
    {"digdag.secret-encryption-key digdag.defaultParams params.*", Use::honoured},
    {"secrets.*", Use::untold},
    {"digdag.secret-access-policy-file secret-access-policy*", Use::ignored},
    // 4.8
    {"notification.type notification.retries notification.min_retry_wait notification.max_retry_wait", Use::honoured},
    {"notification.http.url notification.http.method notification.http.headers.*", Use::honoured},
    {"notification.shell.command notification.shell.timeout", Use::honoured},
    {"notification.mail.host notification.mail.port notification.mail.from notification.mail.to", Use::honoured},
    {"notification.mail.cc notification.mail.bcc notification.mail.subject notification.mail.body_template_file", Use::honoured},
    {"notification.mail.html notification.mail.tls notification.mail.ssl", Use::honoured},
    {"notification.mail.username notification.mail.password", Use::honoured},
    {"notification.mail.debug", Use::ignored},
    // 4.9
    {"config.mail.*", Use::ignored},
    {"config.http.allow_user_proxy config.http.max_redirects config.http.max_stored_response_content_size", Use::honoured},
    {"config.http.user_agent config.http.proxy.enabled config.http.proxy.host config.http.proxy.port", Use::honoured},
    {"config.http.proxy.tls config.http.proxy.user config.http.proxy.password", Use::honoured},
    {"config.http_call.max_response_content_size", Use::honoured},
    {"config.td.* param_server.*", Use::ignored},
    {"agent.command_executor.ecs.* agent.command_executor.kubernetes.*", Use::refused},
    {"plugin.enabled plugin.local-path system-plugin.*", Use::ignored},
    // 4.10
    {"metrics.enable metrics.jmx.* metrics.fluency.*", Use::ignored},
    {"client.http.endpoint client.http.headers.* client.http.disable_direct_download", Use::untold},
    // decisions.md, and what the original reads as properties of its virtual machine
    {"server.http.max-connections server.allow-unauthenticated server.cors.allow-origin", Use::honoured},
    {"server.shutdown-timeout server.take-over", Use::honoured},
    {"server.tls.*", Use::refused},
    {"agent.kill-grace-time agent.max-lost-leases", Use::honoured},
    {"agent.command_executor.fallback_on_error", Use::ignored},
    {"executor.max_params_size executor.group_check executor.lease-time", Use::honoured},
    {"io.digdag.limits.maxWorkflowTasks io.digdag.limits.maxAttempts", Use::honoured},
    {"io.digdag.cli.versionCheckMode", Use::untold},
    {"schedule.backfill_sla schedule.max_starts_per_second scheduler.autoLoadLocalProject scheduler.localOverrideParams", Use::honoured},
    {"log-server.spool-limit log-server.mask-secrets", Use::honoured},
    {"eval.memory eval.stored-params eval.timeout", Use::honoured},
    {"digdag.secret-encryption-key-file digdag.secret-encryption-key.previous", Use::honoured},
    {"notification.on-success", Use::honoured},
    {"config.http.allowed_hosts config.http.denied_cidrs config.http_call.allowed_hosts", Use::honoured},
    {"retention.*", Use::ignored},
};

// server 4, decisions V-05
TEST(ConfigKeys, EveryKeyOfTheTablesIsKnownAndNoOther) {
  std::set<std::string> in_tables;
  for (const Line& line : tables) {
    for (const std::string& name : split(line.names, ' ')) {
      EXPECT_TRUE(in_tables.insert(name).second) << name;
      const auto found = std::find_if(config_keys().begin(), config_keys().end(), [&](const ConfigKey& key) { return key.name == name; });
      if (found == config_keys().end())
        ADD_FAILURE() << name << " is not known";
      else
        EXPECT_EQ(found->use, line.use) << name;
    }
  }
  for (const ConfigKey& key : config_keys()) EXPECT_TRUE(in_tables.contains(std::string(key.name))) << key.name;
}

TEST(ConfigKeys, EveryKeyIsHonouredOrWarnedAboutOrAnErrorAtTheStart) {
  for (const ConfigKey& key : config_keys()) {
    const std::string name = example(key);
    if (name == "archive.type" || name == "log-server.type" || name == "agent.command_executor.type") continue;
    const SystemConfig wrong = config_of(name, name == "metrics.enable" ? "jmx" : "banana");
    const bool is_error = key.use == Use::refused || (key.use == Use::honoured && key.type != Type::text);
    EXPECT_EQ(error_of(wrong).empty(), !is_error) << name << ": " << error_of(wrong);
    EXPECT_THAT(error_of(wrong), is_error ? HasSubstr(name) : HasSubstr(""));
    if (key.use == Use::ignored) {
      EXPECT_THAT(config_warnings(wrong), ElementsAre(AllOf(HasSubstr(name), HasSubstr("is ignored: ")))) << name;
    } else {
      EXPECT_THAT(config_warnings(wrong), IsEmpty()) << name;
    }
  }
}

TEST(ConfigKeys, GoodValuesAreNoErrors) {
  const std::map<Type, std::string> good = {{Type::text, "text"},      {Type::integer, " 12 "},         {Type::boolean, "False"},
                                            {Type::duration, "1d 2h"}, {Type::time_limit, "unlimited"}, {Type::version, "0.10.0-SNAPSHOT"}};
  for (const ConfigKey& key : config_keys()) {
    if (key.use == Use::refused || key.name == "metrics.enable") continue;
    EXPECT_EQ(error_of(config_of(example(key), " ")), "") << key.name;
    if (key.name == "archive.type" || key.name == "log-server.type" || key.name == "agent.command_executor.type") continue;
    EXPECT_EQ(error_of(config_of(example(key), good.at(key.type))), "") << key.name;
  }
}

TEST(ConfigKeys, NumbersAndDurationsHaveALeastValue) {
  EXPECT_EQ(error_of(config_of("queue.db.max_concurrency", "0")),
            "Configuration key 'queue.db.max_concurrency' must be at least 1, but it is 0");
  EXPECT_EQ(error_of(config_of("executor.lease-time", "4s")), "Configuration key 'executor.lease-time' must be at least 5, but it is 4s");
  EXPECT_EQ(error_of(config_of("executor.lease-time", "5s")), "");
  EXPECT_THAT(error_of(config_of("server.shutdown-timeout", "90")), HasSubstr("must be a duration"));
}

// server 4.5
TEST(ConfigKeys, AStorageThatIsNotBuiltInIsAnError) {
  for (const char* key : {"archive.type", "log-server.type"}) {
    EXPECT_THAT(error_of(config_of(key, "s3")), HasSubstr("s3 is not built in yet")) << key;
    EXPECT_EQ(error_of(config_of(key, "tape")), "Unknown storage type: tape") << key;
  }
  EXPECT_EQ(error_of(config_of("archive.type", "db")), "");
  EXPECT_EQ(error_of(config_of("log-server.type", "local")), "");
}

// decisions O-27, O-52
TEST(ConfigKeys, CommandsRunOnThisMachineOrTheServerSaysSo) {
  EXPECT_THAT(config_warnings(config_of("agent.command_executor.type", "simple")), IsEmpty());
  EXPECT_THAT(config_warnings(config_of("agent.command_executor.type", "ecs")), ElementsAre(HasSubstr("commands run on this machine")));
  EXPECT_EQ(error_of(config_of("agent.command_executor.type", "boat")), "Unknown agent.command_executor.type: boat");
}

// server 4.3
TEST(ConfigKeys, RoutingNamesWhichSites) {
  for (const char* part : {"agent", "executor", "scheduler"})
    EXPECT_THAT(error_of(config_of(part + std::string(".account_routing.enabled"), "true")), HasSubstr("exactly one of")) << part;
}

// decisions V-02
TEST(ConfigKeys, UnknownKeysOfKnownFamiliesAreTold) {
  EXPECT_THAT(config_warnings(config_of("server.prot", "1")),
              ElementsAre("Unknown configuration key 'server.prot'; did you mean 'server.port'?"));
  EXPECT_THAT(config_warnings(config_of("agent.qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", "1")),
              ElementsAre("Unknown configuration key 'agent.qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq'"));
  EXPECT_THAT(config_warnings(config_of("params.mine", "1")), IsEmpty());
  EXPECT_THAT(config_warnings(config_of("config.mine", "1")), IsEmpty());
}

// decisions V-02
TEST(ConfigKeys, KeysThatAreAlmostKnownAreToldWhereverTheyStand) {
  for (const auto& [wrong, meant] :
       std::initializer_list<std::pair<const char*, const char*>>{{"databse.type", "database.type"},
                                                                  {"databse.opts.ApplicationName", "database.opts.ApplicationName"},
                                                                  {"digdag.secret-encryption-kye", "digdag.secret-encryption-key"},
                                                                  {"notification.typ", "notification.type"},
                                                                  {"tmpdirr", "tmpdir"},
                                                                  {"basicauth.usrname", "basicauth.username"},
                                                                  {"parms.region", "params.region"},
                                                                  {"config.http.max_redirect", "config.http.max_redirects"}})
    EXPECT_THAT(config_warnings(config_of(wrong, "1")),
                ElementsAre("Unknown configuration key '" + std::string(wrong) + "'; did you mean '" + meant + "'?"));
  EXPECT_THAT(config_warnings(config_of("scheduler.xx", "1")), ElementsAre(HasSubstr("Unknown configuration key 'scheduler.xx'")));
}

// decisions V-02
TEST(ConfigKeys, KeysOfOthersAreNotTold) {
  for (const char* key : {"client.mine", "config.mine.host", "mine", "io.digdag.mine", "company.plugin.endpoint", "x.y", "secrets.mine.x"})
    EXPECT_THAT(config_warnings(config_of(key, "1")), IsEmpty()) << key;
}

// decisions V-05
TEST(ConfigKeys, AnUnknownKindOfMetricsIsAnError) {
  EXPECT_EQ(error_of(config_of("metrics.enable", "jmx, fluency")), "");
  EXPECT_THAT(error_of(config_of("metrics.enable", "jmx,statsd")), HasSubstr("statsd"));
}

TEST(ConfigKeys, OneFamilyIsOneWarning) {
  SystemConfig config;
  config.set("system-plugin.repositories", "x");
  config.set("system-plugin.dependencies", "y");
  EXPECT_EQ(config_warnings(config).size(), 1U);
}

}  // namespace
}  // namespace digdag::server
