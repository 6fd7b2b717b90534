#include "client/rest_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "client/test_server.h"

namespace digdag::client {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

std::string json(const std::string& status, const std::string& body) {
  return TestServer::answer(status, {"Content-Type: application/json"}, body);
}

RestClient client_of(const TestServer& server, Headers headers = {}) {
  return RestClient({.endpoint = parse_endpoint("127.0.0.1:" + std::to_string(server.port())), .headers = std::move(headers)});
}

template <typename Action>
std::string failure_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.chain() + (error.hint_text().empty() ? "" : "\nhint: " + error.hint_text());
  }
  return "no failure";
}

TEST(Endpoint, IsAUrlOrAHostAndKeepsItsPrefix) {
  EXPECT_EQ(parse_endpoint("127.0.0.1:65432"), "http://127.0.0.1:65432");
  EXPECT_EQ(parse_endpoint("http://h:8080/"), "http://h:8080");
  EXPECT_EQ(parse_endpoint("https://h"), "https://h");
  EXPECT_EQ(parse_endpoint("https://h/digdag/"), "https://h/digdag");
  EXPECT_EQ(parse_endpoint("[::1]:80"), "http://[::1]:80");
  EXPECT_EQ(failure_of([] { parse_endpoint("ftp://x"); }), "Endpoint must start with http:// or https://: ftp://x");
  EXPECT_THAT(failure_of([] { parse_endpoint("h:abc"); }), HasSubstr("abc"));
}

// cli 11.111
TEST(RestClient, SendsNoAcceptAndReadsJson) {
  TestServer server([](const auto&) { return json("200 OK", R"({"version":"9"})"); });
  RestClient client = client_of(server, {{"X-Own", "1"}});
  EXPECT_EQ(to_json(client.get("/api/version", {{"ab", "c&d"}})), R"({"version":"9"})");
  const auto request = server.requests().at(0);
  EXPECT_EQ(request.target, "/api/version?ab=c%26d");
  EXPECT_EQ(request.headers.count("accept"), 0U);
  EXPECT_EQ(request.headers.at("x-own"), "1");
  EXPECT_THAT(request.headers.at("user-agent"), HasSubstr("DigdagClient/"));
}

TEST(RestClient, WritesAsJsonBody) {
  TestServer server([](const auto&) { return json("200 OK", "{}"); });
  client_of(server).put("/api/attempts", Value::object({{"workflowId", "2"}}));
  EXPECT_EQ(server.requests().at(0).body, R"({"workflowId":"2"})");
  EXPECT_EQ(server.requests().at(0).headers.at("content-type"), "application/json");
}

// cli 11.110
TEST(RestClient, RepeatsWhatReadsAndSendsOnceWhatWrites) {
  TestServer server([](const auto&) { return json("503 Service Unavailable", "busy"); });
  RestClient client = client_of(server);
  EXPECT_THAT(failure_of([&] { client.get("/api/sessions"); }), HasSubstr("Status code 503: busy\n> GET http://127.0.0.1:"));
  EXPECT_THAT(server.requests(), SizeIs(10));
  EXPECT_THAT(failure_of([&] { client.post("/api/attempts/1/kill", Value::object()); }), HasSubstr("Status code 503"));
  EXPECT_THAT(server.requests(), SizeIs(11));
}

TEST(RestClient, RepeatsUntilAnAnswerComes) {
  int left = 3;
  TestServer server([&](const auto&) { return --left > 0 ? json("429 Too Many Requests", "") : json("200 OK", R"({"a":1})"); });
  EXPECT_EQ(to_json(client_of(server).get("/api/x")), R"({"a":1})");
}

TEST(RestClient, TellsWhatTheServerRefused) {
  std::string status;
  TestServer server([&](const auto&) { return json(status, R"({"message":"why","status":0})"); });
  RestClient client = client_of(server);
  for (const auto& [given, expected] :
       std::vector<std::pair<std::string, std::string>>{{"404 Not Found", "Resource not found: {\"message\":\"why\""},
                                                        {"409 Conflict", "Request conflicted: {\"message\""},
                                                        {"422 Unknown", "Invalid option: {\"message\""},
                                                        {"403 Forbidden", "Status code 403: {\"message\""}}) {
    status = given;
    EXPECT_THAT(failure_of([&] { client.get("/api/x"); }), HasSubstr(expected));
  }
  EXPECT_THAT(server.requests(), SizeIs(4));
}

TEST(RestClient, NamesTheStatusWhereTheServerSaysNothing) {
  TestServer server([](const auto&) { return json("404 Not Found", ""); });
  EXPECT_THAT(failure_of([&] { client_of(server).get("/api/x"); }), HasSubstr("Resource not found: HTTP 404 Not Found\n> GET http"));
}

TEST(RestClient, TakesNoAnswerForOneThatIsNoObject) {
  std::string body;
  TestServer server([&](const auto&) { return json("200 OK", body); });
  RestClient client = client_of(server);
  for (const auto& [given, expected] :
       std::vector<std::pair<std::string, std::string>>{{"", "The answer is empty\n"},
                                                        {"<b>login</b>", "The answer is no JSON: <b>login</b>\n"},
                                                        {"null", "The answer is no JSON object: null\n"},
                                                        {"[]", "The answer is no JSON object: []\n"}}) {
    body = given;
    EXPECT_THAT(failure_of([&] { client.post("/api/attempts/1/kill", Value::object()); }),
                AllOf(HasSubstr(expected), HasSubstr("> POST http://127.0.0.1:"), HasSubstr("hint: is there a digdag server")));
    EXPECT_THAT(failure_of([&] { client.put_archive("/api/projects", {}, "bytes"); }), HasSubstr(expected));
  }
}

TEST(RestClient, NeedsNoAnswerWhereTheServerSaysThatThereIsNone) {
  TestServer server([](const auto&) { return TestServer::answer("204 No Content", {}, ""); });
  EXPECT_TRUE(client_of(server).remove("/api/projects/1").is_null());
}

TEST(RestClient, GivesLinesAsTheyCome) {
  TestServer server([](const auto&) { return TestServer::answer("200 OK", {}, "one\n\nthree\nunfinished"); });
  std::vector<std::string> lines;
  client_of(server).lines("/api/x", {}, 60, [&](std::string_view line) { lines.emplace_back(line); });
  EXPECT_THAT(lines, ElementsAre("one", "", "three"));
}

TEST(RestClient, DoesNotWaitForMoreLinesWhereOneCannotBeTaken) {
  TestServer server([](const auto&) { return "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\none\ntwo\n" + TestServer::silence; });
  std::vector<std::string> lines;
  const auto take = [&](std::string_view line) {
    lines.emplace_back(line);
    throw Error("", "what is this: " + lines.back());
  };
  EXPECT_EQ(failure_of([&] { client_of(server).lines("/api/x", {}, 60, take); }), "what is this: one");
  EXPECT_THAT(lines, ElementsAre("one"));
}

TEST(RestClient, SaysThatTheServerCannotBeReached) {
  RestClient client({.endpoint = "http://127.0.0.1:9"});
  EXPECT_THAT(failure_of([&] { client.get("/api/version"); }),
              HasSubstr("cannot reach http://127.0.0.1:9/api/version (Connection refused: 127.0.0.1:9)\nhint: is the server running?"));
}

TEST(RestClient, FollowsRedirectsOfDownloadsWithoutItsHeaders) {
  TestServer storage([](const auto&) { return TestServer::answer("200 OK", {}, "bytes"); });
  TestServer server([&](const auto&) { return TestServer::answer("303 See Other", {"Location: " + storage.url("/stored")}, ""); });
  RestClient client = client_of(server, {{"X-Token", "t"}, {"Authorization", "a"}});
  EXPECT_EQ(client.download("/api/projects/1/archive", {{"revision", "r"}}), "bytes");
  EXPECT_EQ(server.requests().at(0).headers.at("x-token"), "t");
  EXPECT_EQ(storage.requests().at(0).headers.count("x-token"), 0U);
  EXPECT_EQ(storage.requests().at(0).headers.count("authorization"), 0U);
  EXPECT_THAT(failure_of([&] { client.get("/api/x"); }), HasSubstr("Status code 303"));
}

TEST(PathPart, LeavesTheNamesOfLogFilesReadable) {
  EXPECT_EQ(path_part("+flaky^failure-alert@6b.1@vm.log.gz"), "+flaky%5Efailure-alert@6b.1@vm.log.gz");
  EXPECT_EQ(path_part("a/b ?"), "a%2Fb%20%3F");
}

}  // namespace
}  // namespace digdag::client
