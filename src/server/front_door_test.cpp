#include "server/front_door.h"

#include <gmock/gmock.h>

#include "store/database.h"

namespace digdag::server {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

Log& quiet_log() {
  static Log log(Log::Options{.file = "/dev/null"});
  return log;
}

/// What a server with these routes and this configuration answers.
class FrontDoorTest : public testing::Test {
 protected:
  FrontDoorTest() {
    const auto echo = [](const Request& request) {
      Response response = Response::bytes("application/json", request.method);
      for (const auto& [name, value] : request.parameters) response.body += ' ' + name + '=' + value;
      return response;
    };
    const auto route = [&](std::string method, std::string pattern, Consumes consumes = Consumes::anything) {
      router_.add({.method = std::move(method), .pattern = std::move(pattern), .handler = echo, .action = "any", .consumes = consumes});
    };
    route("GET", "/api/version");
    route("GET", "/api/projects");
    route("PUT", "/api/projects", Consumes::gzip);
    route("GET", "/api/projects/{id:int}");
    route("DELETE", "/api/projects/{id:int}");
    route("GET", "/api/projects/{id:int}/workflows/{name}");
    route("GET", "/api/projects/{id:int}/workflows/all");
    route("GET", "/api/sessions/{id:long}");
    route("PUT", "/api/attempts", Consumes::json);
    route("POST", "/api/attempts/{id:long}/kill");
    router_.add({.method = "GET",
                 .pattern = "/api/fails",
                 .handler = [this](const Request&) -> Response {
                   failing_();
                   return {};
                 },
                 .action = "any"});
    router_.add({.method = "GET", .pattern = "/api/admin", .handler = echo, .action = "any", .admin_listener_only = true});
  }

  Response ask(std::string_view method, std::string_view target, Headers headers = {}, ListenerKind listener = ListenerKind::api) {
    const Authenticator authenticator(config_, quiet_log());
    FrontDoor door(config_, router_, authenticator, quiet_log());
    door.ask_before_writes([this] { return writes_refused_; });
    Request request;
    request.method = method;
    request.headers = std::move(headers);
    request.listener = listener;
    set_target(request, target);
    Admission admission = door.admit(request);
    Response response = admission.refusal ? *std::move(admission.refusal) : door.answer(request);
    door.add_headers(request, response);
    return response;
  }
  /// `200 application/json GET id=1`.
  std::string told(std::string_view method, std::string_view target, Headers headers = {}, ListenerKind listener = ListenerKind::api) {
    const Response response = ask(method, target, std::move(headers), listener);
    return std::to_string(response.status) + (response.content_type.empty() ? "" : ' ' + response.content_type + ' ' + response.body);
  }
  void with_user() {
    config_.set("server.authenticator.basic.username", "ann");
    config_.set("server.authenticator.basic.password", "s3cret");
  }

  SystemConfig config_;
  Router router_;
  std::optional<std::string> writes_refused_;
  std::function<void()> failing_;
};

const Headers ann{{"Authorization", "Basic YW5uOnMzY3JldA=="}};

TEST_F(FrontDoorTest, ParametersOfThePathAreDecoded) {
  EXPECT_EQ(told("GET", "/api/projects/12/workflows/a+b%20c%2Fd"), "200 application/json GET id=12 name=a+b c/d");
  EXPECT_EQ(told("GET", "/api/projects/12/workflows/all"), "200 application/json GET id=12") << "a literal wins";
  EXPECT_EQ(told("GET", "/api/version/"), "200 application/json GET");
  EXPECT_EQ(told("HEAD", "/api/version"), "200 application/json HEAD");
}

// rest-api 18.8
TEST_F(FrontDoorTest, UnknownPathsAreNotFoundWhateverTheMethod) {
  for (const std::string_view method : {"GET", "POST", "PUT", "DELETE", "OPTIONS", "LOCK"})
    for (const std::string_view path : {"/api", "/api/", "/api/no_such", "/api//version", "/api/version/x", "/api/projects/1/workflows/"})
      EXPECT_EQ(told(method, path), "404") << method << ' ' << path;
}

// rest-api 18.7, 18.9
TEST_F(FrontDoorTest, MethodsThatAPathHasNotAreRefusedWithThoseThatItHas) {
  const auto allowed = [&](std::string_view method, std::string_view path) {
    const Response response = ask(method, path);
    return std::to_string(response.status) + ' ' + response.headers.joined("Allow") + ' ' + response.body;
  };
  EXPECT_EQ(allowed("PUT", "/api/version"), "405 HEAD, GET, OPTIONS ");
  EXPECT_EQ(allowed("LOCK", "/api/version"), "405 HEAD, GET, OPTIONS ");
  EXPECT_EQ(allowed("DELETE", "/api/projects"), "405 HEAD, GET, OPTIONS, PUT ");
  EXPECT_EQ(allowed("HEAD", "/api/attempts"), "405 OPTIONS, PUT ");
  EXPECT_EQ(allowed("OPTIONS", "/api/projects/1"), "200 HEAD, DELETE, GET, OPTIONS HEAD, DELETE, GET, OPTIONS");
  EXPECT_EQ(allowed("OPTIONS", "/api/attempts/1/kill"), "200 POST, OPTIONS POST, OPTIONS");
  EXPECT_EQ(allowed("PUT", "/api/projects/abc"), "405 HEAD, DELETE, GET, OPTIONS ");
}

// rest-api 18.11
TEST_F(FrontDoorTest, IdsThatAreNoNumbersAreNotFound) {
  for (const std::string_view id : {"abc", "99999999999", "1.0", "%20"})
    EXPECT_EQ(told("GET", "/api/projects/" + std::string(id)), "404") << id;
  EXPECT_EQ(told("GET", "/api/projects/-1"), "200 application/json GET id=-1");
  EXPECT_EQ(told("GET", "/api/sessions/99999999999"), "200 application/json GET id=99999999999");
  EXPECT_EQ(told("GET", "/api/sessions/99999999999999999999"), "404");
}

// rest-api 18.25
TEST_F(FrontDoorTest, ABodyOfTheWrongTypeIsRefused) {
  const std::string refused = R"(400 application/json {"message":"RESTEASY003065: Cannot consume content type","status":400})";
  EXPECT_EQ(told("PUT", "/api/attempts"), refused);
  EXPECT_EQ(told("PUT", "/api/attempts", {{"Content-Type", "text/plain"}}), refused);
  EXPECT_EQ(told("PUT", "/api/attempts", {{"Content-Type", "Application/JSON; charset=utf-8"}}), "200 application/json PUT");
  EXPECT_EQ(told("PUT", "/api/projects", {{"Content-Type", "application/json"}}), refused);
  EXPECT_EQ(told("PUT", "/api/projects", {{"Content-Type", "application/gzip"}}), "200 application/json PUT");
  EXPECT_EQ(told("POST", "/api/attempts/1/kill"), "200 application/json POST id=1");
}

// rest-api 18.13
TEST_F(FrontDoorTest, AnAcceptHeaderThatExcludesJsonIsNotAcceptable) {
  for (const std::string_view accept : {"text/html", "text/*", "application/json;q=0"})
    EXPECT_EQ(told("GET", "/api/version", {{"Accept", std::string(accept)}}), "406") << accept;
  for (const std::string_view accept : {"*/*", "application/json", "application/*", "text/html, */*;q=0.1", ""})
    EXPECT_EQ(told("GET", "/api/version", {{"Accept", std::string(accept)}}), "200 application/json GET") << accept;
}

// rest-api 18.105
// server 23.29
TEST_F(FrontDoorTest, WhatIsForAdministratorsIsAtTheAdminListenerOnly) {
  EXPECT_EQ(told("GET", "/api/admin"), "404");
  EXPECT_EQ(told("GET", "/api/admin", {}, ListenerKind::admin), "403") << "nobody is an administrator";
  with_user();
  EXPECT_THAT(told("GET", "/api/admin", {}, ListenerKind::admin), HasSubstr("401"));
  EXPECT_EQ(told("GET", "/api/admin", ann), "404");
  EXPECT_EQ(told("GET", "/api/admin", ann, ListenerKind::admin), "200 application/json GET");
}

// rest-api 18.1, 18.2, 18.104
// server 23.24, 23.25, 23.26, 23.27
TEST_F(FrontDoorTest, WhoDoesNotSayWhoTheyAreIsToldSoBeforeAnythingElse) {
  EXPECT_EQ(told("GET", "/api/projects"), "200 application/json GET") << "nobody is configured";
  with_user();
  const std::string missing = R"(401 application/json {"message":"Missing Authorization header","status":401})";
  for (const std::string_view path : {"/api/projects", "/api/version/", "/api/version/check", "/api/nope"})
    EXPECT_EQ(told("GET", path), missing);
  EXPECT_EQ(told("DELETE", "/api/projects"), missing);
  EXPECT_EQ(told("PUT", "/api/attempts", {{"Content-Type", "text/plain"}}), missing);
  EXPECT_EQ(ask("GET", "/api/projects").headers.find("WWW-Authenticate"), nullptr);
  EXPECT_EQ(told("GET", "/api/projects", ann), "200 application/json GET");
  EXPECT_EQ(told("GET", "/api/nope", ann), "404");
  EXPECT_EQ(told("GET", "/api/version"), "200 application/json GET");
  EXPECT_EQ(told("OPTIONS", "/api/projects"), "200 text/plain HEAD, GET, OPTIONS, PUT");
}

TEST_F(FrontDoorTest, WrongCredentialsAreUnauthorizedHoweverTheyAreWrong) {
  with_user();
  const auto message = [&](const std::string& header) { return told("GET", "/api/projects", {{"Authorization", header}}); };
  EXPECT_EQ(message("Basic YW5uOm5vcGU="), R"(401 application/json {"message":"unauthorized","status":401})");
  for (const std::string_view header : {"Bearer abc", "Basic !!!", "Basic", "Basic YW5u", "Basic YW5uO", ""})
    EXPECT_THAT(message(std::string(header)), HasSubstr("401 application/json {\"message\":\"The Authorization header must be")) << header;
  EXPECT_EQ(message("basic YW5uOnMzY3JldA"), "200 application/json GET");
}

TEST_F(FrontDoorTest, OldNamesOfTheUserCountToo) {
  config_.set("basicauth.username", "ann");
  config_.set("basicauth.password", "s3cret");
  EXPECT_THAT(told("GET", "/api/projects"), HasSubstr("401"));
  EXPECT_EQ(told("GET", "/api/projects", ann), "200 application/json GET");
}

// server 23.28
TEST(Authenticator, OfAnotherTypeDoesNotStart) {
  SystemConfig config;
  config.set("server.authenticator.type", "jwt");
  EXPECT_THROW(
      try { Authenticator(config, quiet_log()); } catch (const Error& error) {
        EXPECT_EQ(error.message(), "Configured authenticator name is not found: jwt");
        throw;
      },
      Error);
}

TEST(Authenticator, OfAUserWithoutPasswordDoesNotStart) {
  SystemConfig config;
  config.set("server.authenticator.basic.username", "ann");
  EXPECT_THROW(Authenticator(config, quiet_log()), Error);
}

TEST(Authenticator, IsNeededWhereOthersReachTheServer) {
  SystemConfig config;
  const Authenticator none(config, quiet_log());
  require_authentication(config, none, {"127.0.0.1", "::1", "localhost", "127.1.2.3"}, quiet_log());
  for (const std::string_view host : {"0.0.0.0", "::", "10.0.0.1", "example.com", ""}) {
    try {
      require_authentication(config, none, {"127.0.0.1", std::string(host)}, quiet_log());
      FAIL() << host;
    } catch (const Error& error) {
      EXPECT_THAT(error.hint_text(),
                  testing::AllOf(HasSubstr("server.authenticator.basic.username"), HasSubstr("--allow-unauthenticated")));
    }
  }
  config.set("server.allow-unauthenticated", "true");
  require_authentication(config, none, {"0.0.0.0"}, quiet_log());
}

// rest-api 18.106
// server 23.15
TEST_F(FrontDoorTest, ConfiguredHeadersAreOnEveryAnswerOfTheApiAndOnNoOther) {
  config_.set("server.http.headers.X-A", "b");
  for (const std::string_view path : {"/api/version", "/api/projects/abc", "/api/nope"})
    EXPECT_EQ(ask("GET", path).headers.joined("X-A"), "b") << path;
  EXPECT_EQ(ask("GET", "/").headers.joined("X-A"), "");
}

TEST_F(FrontDoorTest, ErrorsOfAHandlerAreAnsweredByTheirKind) {
  const auto after = [&](std::function<void()> failing) {
    failing_ = std::move(failing);
    return told("GET", "/api/fails");
  };
  EXPECT_EQ(after([] { throw HttpError(409, "x"); }), R"(409 application/json {"message":"x","status":409})");
  EXPECT_EQ(after([] { throw HttpError::empty(404); }), "404");
  EXPECT_EQ(after([] { throw config_error("x"); }), R"(400 application/json {"message":"x","status":400})");
  const auto internal = MatchesRegex(R"re(500 application/json ..message.:.Internal error .id=[0-9a-f]{8}.{2},.status.:500.)re");
  EXPECT_THAT(after([] { throw std::runtime_error("a secret detail"); }), internal);
  EXPECT_THAT(after([] { throw Error("io", "/a/path"); }),
              testing::AllOf(HasSubstr("The server cannot read or write one of its files; its log says which and why (id="),
                             Not(HasSubstr("/a/path"))));
  EXPECT_THAT(after([] { throw store::DatabaseError(store::DatabaseError::Cause::unavailable, "host=secret"); }),
              R"(503 application/json {"message":"The database is not available; try again","status":503})");
}

TEST_F(FrontDoorTest, PagesOfOtherOriginsChangeNothing) {
  const auto kill = [&](Headers headers) { return ask("POST", "/api/attempts/1/kill", std::move(headers)).status; };
  EXPECT_EQ(kill({}), 200);
  EXPECT_EQ(kill({{"Host", "h:1"}, {"Origin", "http://h:1"}}), 200);
  EXPECT_EQ(kill({{"Host", "h"}, {"Origin", "https://h:443"}}), 200);
  EXPECT_EQ(kill({{"Host", "inside:1"}, {"X-Forwarded-Host", "h"}, {"Origin", "https://h"}}), 200);
  EXPECT_EQ(kill({{"Host", "inside:1"}, {"Origin", "https://h"}, {"Sec-Fetch-Site", "same-origin"}}), 200);
  EXPECT_EQ(kill({{"Host", "h:1"}, {"Origin", "http://evil"}}), 403);
  EXPECT_EQ(kill({{"Host", "h:1"}, {"Origin", "null"}}), 403);
  EXPECT_EQ(kill({{"Sec-Fetch-Site", "cross-site"}}), 403);
  EXPECT_EQ(ask("GET", "/api/version", {{"Host", "h:1"}, {"Origin", "http://evil"}}).status, 200);
  config_.set("server.cors.allow-origin", "http://evil");
  EXPECT_EQ(kill({{"Host", "h:1"}, {"Origin", "http://evil"}}), 200);
}

// decisions V-43
TEST_F(FrontDoorTest, WhileAnotherServerIsThereNothingIsChanged) {
  writes_refused_ = "another server";
  for (const auto& [method, path] : {std::pair("DELETE", "/api/projects/1"), std::pair("POST", "/api/attempts/1/kill")}) {
    const Response response = ask(method, path);
    EXPECT_EQ(response.status, 503);
    EXPECT_THAT(response.body, HasSubstr("another server"));
    EXPECT_EQ(response.headers.joined("Retry-After"), "5");
  }
  EXPECT_EQ(ask("GET", "/api/projects").status, 200);
  writes_refused_.reset();
  EXPECT_EQ(ask("DELETE", "/api/projects/1").status, 200);
}

// rest-api 18.108
TEST_F(FrontDoorTest, CrossOriginHeadersComeWithSwaggerOnly) {
  const auto allowed = [&](std::string_view origin) {
    return ask("GET", "/api/version", {{"Origin", std::string(origin)}}).headers.joined("Access-Control-Allow-Origin");
  };
  EXPECT_EQ(allowed("http://example.com"), "");
  config_.set("server.enable-swagger", "true");
  EXPECT_EQ(allowed("http://example.com"), "") << "everybody could do anything";
  EXPECT_EQ(allowed("http://localhost:3000"), "http://localhost:3000");
  EXPECT_EQ(allowed("http://localhost.evil"), "");
  with_user();
  EXPECT_EQ(allowed("http://example.com"), "*");
  EXPECT_EQ(ask("GET", "/api/version").headers.joined("Access-Control-Max-Age"), "1209600");
  config_.set("server.cors.allow-origin", "http://a, http://b");
  EXPECT_EQ(allowed("http://b"), "http://b");
  EXPECT_EQ(allowed("http://example.com"), "");
}

// rest-api 18.107
TEST_F(FrontDoorTest, PathsOutsideOfTheApiAreTheUserInterfaces) {
  with_user();
  for (const std::string_view path : {"/", "/projects/1", "/index.html", "//api/version", "/apiary"})
    EXPECT_THAT(told("GET", path), testing::StartsWith("200 text/html")) << path;
  EXPECT_THAT(told("GET", "/config.js"), HasSubstr("window.DIGDAG_CONFIG = {\n  url: '/api/'"));
  EXPECT_EQ(told("GET", "/assets/none.css"), "404");
  EXPECT_EQ(told("PUT", "/ui"), "405");
  EXPECT_EQ(ask("PUT", "/ui").headers.joined("Allow"), "HEAD, GET, OPTIONS");
  EXPECT_EQ(told("OPTIONS", "/ui"), "200 text/plain HEAD, GET, OPTIONS");
}

}  // namespace
}  // namespace digdag::server
