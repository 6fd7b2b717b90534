#include "server/access_log.h"

#include <gmock/gmock.h>

#include "base/eventually_for_test.h"
#include "base/file.h"
#include "base/temporary_directory_for_test.h"

namespace digdag::server {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

Log& quiet_log() {
  static Log log(Log::Options{.file = "/dev/null"});
  return log;
}

Exchange exchange_at(Instant finished) {
  Exchange exchange;
  exchange.request.method = "GET";
  exchange.request.protocol = "HTTP/1.1";
  exchange.request.peer = "127.0.0.1";
  exchange.request.headers = {{"User-Agent", "curl/7.88.1"}, {"Host", "127.0.0.1:33261"}};
  set_target(exchange.request, "/api/version?a=b");
  exchange.status = 200;
  exchange.answer_headers = {{"X-A", "c"}};
  exchange.bytes_sent = 29;
  exchange.duration = std::chrono::microseconds(358'900);
  exchange.finished = finished;
  return exchange;
}

const Instant morning = *parse_instant("2026-11-21T00:19:19.707Z");

std::string line(std::string_view pattern) { return AccessLogFormat(pattern, TimeZone()).line(exchange_at(morning)); }

// server 23.17, 23.18
TEST(AccessLogFormat, JsonHasTwelveKeysInTheirOrder) {
  EXPECT_EQ(
      line("json"),
      R"({"time":"2026-11-21T00:19:19.707+0000","host":"127.0.0.1","forwardedfor":null,"method":"GET","uri":"/api/version?a=b",)"
      R"("protocol":"HTTP/1.1","status":"200","size":"29","referer":null,"ua":"curl/7.88.1","vhost":"127.0.0.1:33261","reqtime":"0.358"})"
      "\n");
}

// server 23.19
TEST(AccessLogFormat, JsonMayHaveOtherKeys) { EXPECT_EQ(line("json{a:%m b:%s-%D}"), "{\"a\":\"GET\",\"b\":\"200-358\"}\n"); }

TEST(AccessLogFormat, CommonAndCombinedAreThoseOfApache) {
  EXPECT_EQ(line("common"), "127.0.0.1 - - [21/Nov/2026:00:19:19 +0000] \"GET /api/version?a=b HTTP/1.1\" 200 29\n");
  EXPECT_EQ(line("combined"),
            "127.0.0.1 - - [21/Nov/2026:00:19:19 +0000] \"GET /api/version?a=b HTTP/1.1\" 200 29 \"-\" \"curl/7.88.1\"\n");
}

TEST(AccessLogFormat, AnyOtherTextIsAPattern) {
  EXPECT_EQ(line("%a %u %m %U%q %H %B %v %T %D%% %{o,X-A} %{time,yy/MM/dd 'at' HH}"),
            "127.0.0.1 - GET /api/version?a=b HTTP/1.1 29 127.0.0.1:33261 0.358 358% c 26/11/21 at 00\n");
}

TEST(AccessLogFormat, APatternThatIsNoneIsAnError) {
  for (const std::string_view pattern : {"json{a}", "json{a:%m", "%{i,Host", "%Z", "%", "%{x,y}", "%{time,QQ}"})
    EXPECT_THROW(AccessLogFormat(pattern, TimeZone()), Error) << pattern;
}

TEST(AccessLogFormat, AHeaderDoesNotBeginALineOfItsOwn) {
  Exchange exchange = exchange_at(morning);
  exchange.request.headers = {{"User-Agent", "a\x1b[31m\nb"}};
  EXPECT_EQ(AccessLogFormat("%{i,User-Agent}", TimeZone()).line(exchange), "a\\u001b[31m\\u000ab\n");
}

TEST(AccessLog, KeepsTheLinesOfADayThatIsOver) {
  const TemporaryDirectory directory;
  const Instant today = now();
  const auto after = [&](int days) { return today.plus_seconds(days * 86'400); };
  const auto day = [&](int days) { return format_date(after(days), TimeZone()); };
  const auto run = [&](std::initializer_list<int> days) {
    AccessLog log({.directory = directory.path() / "logs", .pattern = "%{time,dd}", .zone = TimeZone()}, quiet_log());
    for (const int n : days) log.add(exchange_at(after(n)));
  };
  run({0, 0});
  run({0, 1, 0, 2});
  const auto content = [&](const std::string& name) { return read_file(directory.path() / "logs" / name); };
  const auto number = [&](int days) { return day(days).substr(8) + '\n'; };
  EXPECT_EQ(content("access." + day(0) + ".log"), number(0) + number(0) + number(0));
  EXPECT_EQ(content("access." + day(1) + ".log"), number(1) + number(0)) << "a line that comes late stays with the others";
  EXPECT_EQ(content("access.log"), number(2));
}

TEST(AccessLog, GoesOnWhereTheFileOfADayCouldNotBeMade) {
  const TemporaryDirectory directory;
  const Instant today = now();
  Log server_log(Log::Options{.file = directory / "server.log"});
  AccessLog log({.directory = directory / "logs", .pattern = "%{time,dd}", .zone = TimeZone()}, server_log);
  std::filesystem::remove_all(directory / "logs");
  const Instant tomorrow = today.plus_seconds(86'400);
  log.add(exchange_at(tomorrow));
  const std::string complaint = "Cannot write the access log " + (directory / "logs/access.log").string() + ": No such file or directory;";
  EXPECT_TRUE(eventually([&] {
    server_log.flush();
    return read_file(directory / "server.log").find(complaint) != std::string::npos;
  }));
  std::filesystem::create_directory(directory / "logs");
  log.add(exchange_at(tomorrow));
  EXPECT_TRUE(eventually(
      [&] { return std::filesystem::exists(directory / "logs/access.log") && !read_file(directory / "logs/access.log").empty(); }));
}

TEST(AccessLog, ADirectoryThatCannotBeUsedIsAnErrorThatNamesIt) {
  try {
    AccessLog log({.directory = "/dev/null/x"}, quiet_log());
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), HasSubstr("Cannot open the access log /dev/null/x/access.log: "));
  }
}

}  // namespace
}  // namespace digdag::server
