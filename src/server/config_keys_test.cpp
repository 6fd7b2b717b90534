#include "server/config_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

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

TEST(ConfigKeys, EveryKeyIsHonouredOrWarnedAboutOrAnErrorAtTheStart) {
  for (const ConfigKey& key : config_keys()) {
    const std::string name = example(key);
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
  for (const ConfigKey& key : config_keys()) {
    if (key.use == Use::refused || key.name == "metrics.enable") continue;
    const char* const good[] = {"text", " 12 ", "True", "1d 2h", "0.10.0-SNAPSHOT"};
    EXPECT_EQ(error_of(config_of(example(key), good[static_cast<int>(key.type)])), "") << key.name;
    EXPECT_EQ(error_of(config_of(example(key), " ")), "") << key.name;
  }
}

// decisions V-02
TEST(ConfigKeys, UnknownKeysOfKnownFamiliesAreTold) {
  EXPECT_THAT(config_warnings(config_of("server.prot", "1")),
              ElementsAre("Unknown configuration key 'server.prot'; did you mean 'server.port'?"));
  EXPECT_THAT(config_warnings(config_of("agent.qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", "1")),
              ElementsAre("Unknown configuration key 'agent.qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq'"));
  EXPECT_THAT(config_warnings(config_of("params.mine", "1")), IsEmpty());
  EXPECT_THAT(config_warnings(config_of("config.mail.host", "h")), IsEmpty());
}

// decisions V-05
TEST(ConfigKeys, AnUnknownKindOfMetricsIsAnError) {
  EXPECT_EQ(error_of(config_of("metrics.enable", "jmx, fluency")), "");
  EXPECT_THAT(error_of(config_of("metrics.enable", "jmx,statsd")), HasSubstr("statsd"));
}

TEST(ConfigKeys, WhatIsNotHonouredIsTold) {
  for (const char* key : {"log-server.mask-secrets", "schedule.backfill_sla"})
    EXPECT_THAT(config_warnings(config_of(key, "true")), ElementsAre(HasSubstr("is ignored"))) << key;
}

TEST(ConfigKeys, OneFamilyIsOneWarning) {
  SystemConfig config;
  config.set("system-plugin.repositories", "x");
  config.set("system-plugin.dependencies", "y");
  EXPECT_EQ(config_warnings(config).size(), 1U);
}

}  // namespace
}  // namespace digdag::server
