// http> and http_call> against a real server (spec/operators.md 5.1, 3.2).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "client/test_server.h"
#include "operators/task_test.h"

namespace digdag::operators {
namespace {

using client::TestServer;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::string ok(const std::string& body, const std::string& type = "text/plain") {
  return TestServer::answer("200 OK", {"Content-Type: " + type}, body);
}

/// A server that echoes, and a task with `options` that calls its `/path`.
struct HttpTask {
  explicit HttpTask(
      const std::string& options, TestServer::Handler handler = [](const auto&) { return ok("answer"); },
      const std::string& inherited = "{}", const std::string& path = "/path")
      : server(std::move(handler)), task("{http>: '" + server.url(path) + "'" + (options.empty() ? "" : ", ") + options + "}", inherited) {}
  TaskOf& run() { return task.run(); }
  /// The request that the task sent.
  TestServer::Request sent() {
    run();
    return server.requests().empty() ? TestServer::Request{} : server.requests().back();
  }
  /// `Content-Type | body`, or the failure.
  std::string content() {
    const auto request = sent();
    if (!task.failure.empty()) return task.failure;
    const auto type = request.headers.find("content-type");
    return (type == request.headers.end() ? "none" : type->second) + " | " + request.body;
  }
  TestServer server;
  TaskOf task;
};

TEST(HttpOperator, StoresTheStatusAndOnRequestTheContent) {
  HttpTask http("");
  EXPECT_EQ(http.run().stored(), R"({"http":{"last_status":200}})");
  EXPECT_THAT(http.task.result()->reset_store_params, ElementsAre("http.last_status"));
  EXPECT_EQ(http.server.requests().at(0).line(), "GET /path");
  EXPECT_EQ(http.server.requests().at(0).headers.at("user-agent"), "Digdag/0.11.0");
  HttpTask storing("store_content: true");
  EXPECT_EQ(storing.run().stored(), R"({"http":{"last_status":200,"last_content":"answer"}})");
  EXPECT_THAT(storing.task.result()->reset_store_params, ElementsAre("http.last_status", "http.last_content"));
  EXPECT_THAT(storing.task.log_text(), HasSubstr("Sending HTTP request: GET " + storing.server.url("/path")));
  EXPECT_THAT(storing.task.log_text(), HasSubstr(": 200 OK"));
}

// operators 14.126
TEST(HttpOperator, ContentIsFormattedByItsKind) {
  const auto content = [](const std::string& options) { return HttpTask("method: post, " + options).content(); };
  EXPECT_EQ(content("content: {a: 1, b: [x]}"), R"(application/json | {"a":1,"b":["x"]})");
  EXPECT_EQ(content("content: [1], content_format: JSON, content_type: text/x"), "text/x | [1]");
  EXPECT_EQ(content("content: {a: 'x y', b: 2, c: true}, content_format: form, content_type: text/x"),
            "application/x-www-form-urlencoded | a=x+y&b=2&c=true");
  EXPECT_EQ(content("content: hello"), "plain/text | hello");
  EXPECT_EQ(content("content: 5, content_type: text/x"), "text/x | 5");
  EXPECT_EQ(content("content: hello, content_format: json"), R"(application/json | "hello")");
  EXPECT_EQ(content("content: ''"), "plain/text | ");
  EXPECT_EQ(content("content_type: text/x"), "none | ");
  EXPECT_EQ(content("content: [1], content_format: form"), "Invalid content format for arrays: 'form' (config)");
  EXPECT_EQ(content("content: {a: 1}, content_format: text"), "Invalid content format for objects: 'text' (config)");
  EXPECT_EQ(content("content: x, content_format: form"), "Invalid content format for strings: 'form' (config)");
  EXPECT_EQ(content("content: 1, content_format: xml"), "Invalid content format for numbers: 'xml' (config)");
  EXPECT_EQ(content("content: {a: [1]}, content_format: form"), "Invalid form content field value: [1] (config)");
}

// operators 14.127
TEST(HttpOperator, HeadersAreAListOfSingleKeys) {
  HttpTask http("headers: [{X-One: v1}, {X-One: v2}, {X-Number: 5}]");
  const auto request = http.sent();
  EXPECT_EQ(request.headers.at("x-one"), "v1, v2");
  EXPECT_EQ(request.headers.at("x-number"), "5");
  EXPECT_EQ(HttpTask("headers: [{a: 1, b: 2}]").run().failure, R"(Invalid header: {"a":1,"b":2} (config))");
  EXPECT_EQ(HttpTask("headers: [x]").run().failure, R"(Invalid header: "x" (config))");
  EXPECT_EQ(HttpTask("headers: {a: 1}").run().failure, R"(Expected array type for key 'headers' but got {"a":1} (object) (config))");
}

// operators 14.128
TEST(HttpOperator, QueriesAreAppended) {
  const auto target = [](const std::string& query, const std::string& path = "/p") {
    return HttpTask(
               "query: " + query, [](const auto&) { return ok(""); }, "{}", path)
        .sent()
        .target;
  };
  EXPECT_EQ(target("{k: 'v &?2', z: 2}"), "/p?k=v+%26%3F2&z=2");
  EXPECT_EQ(target("'{\"k\":\"v\"}'"), "/p?k=v");
  EXPECT_EQ(target("k=v+%26%3F2&z=2"), target("{k: 'v &?2', z: 2}"));
  EXPECT_EQ(target("a=b&c", "/p?x=1"), "/p?x=1&a=b&c");
  EXPECT_EQ(target("{a: b}", "/p?x=1"), "/p?x=1&a=b");
  EXPECT_EQ(target("{}"), "/p");
}

TEST(HttpOperator, SecretsAreReplacedInUriHeadersQueryAndContent) {
  HttpTask http(
      "query: {k: '${secret:a}'}, headers: [{X: 'h ${secret:b}'}], method: POST, content: {'${secret:c}': ['${secret:a}']}",
      [](const auto&) { return ok(""); }, "{}", "/${secret:p}");
  http.task.secrets = {{"a", "one"}, {"b", "two"}, {"c", "three"}, {"p", "path"}};
  const auto request = http.sent();
  EXPECT_EQ(http.task.failure, "");
  EXPECT_EQ(request.line(), "POST /path?k=one");
  EXPECT_EQ(request.headers.at("x"), "h two");
  EXPECT_EQ(request.body, R"({"three":["one"]})");
  EXPECT_EQ(HttpTask("query: {k: '${secret:none}'}").run().failure, "Secret not found for key: 'none' (secret not found)");
}

// operators 14.133
TEST(HttpOperator, ASecretUriIsNeverShown) {
  HttpTask http("");
  http.task.secrets["http.uri"] = http.server.url("/hidden");
  EXPECT_TRUE(http.run().succeeded());
  EXPECT_EQ(http.server.requests().at(0).line(), "GET /hidden");
  EXPECT_THAT(http.task.log_text(), HasSubstr("GET http://***"));
  EXPECT_THAT(http.task.log_text(), Not(HasSubstr("hidden")));
  http.task.secrets["http.uri"] = "http://hidden-host.invalid:1/";
  http.run();
  EXPECT_THAT(http.task.subtasks() + http.task.log_text(), Not(HasSubstr("hidden-host")));
  http.task.secrets["http.uri"] = "no uri";
  EXPECT_EQ(http.run().failure, "The secret http.uri is not a URI (illegal argument)");
}

TEST(HttpOperator, HeadersWithSecretsDoNotFollowARedirectToAnotherOrigin) {
  TestServer other([](const auto&) { return ok("other"); });
  HttpTask http("headers: [{X-Key: '${secret:k}'}, {X-Plain: p}]",
                [&](const auto&) { return TestServer::answer("302 Found", {"Location: " + other.url("/")}, ""); });
  http.task.secrets["k"] = "hunter2";
  EXPECT_EQ(http.sent().headers.at("x-key"), "hunter2");
  EXPECT_EQ(other.requests().at(0).headers.count("x-key"), 0u);
  EXPECT_EQ(other.requests().at(0).headers.at("x-plain"), "p");
}

// operators 14.133
TEST(HttpOperator, CredentialsComeFromSecrets) {
  HttpTask basic("");
  basic.task.secrets = {{"http.user", "u"}, {"http.password", "p"}};
  std::string hidden;
  basic.task.context.hide = [&](std::string_view text) { hidden += text; };
  EXPECT_EQ(basic.sent().headers.at("authorization"), "Basic dTpw");
  EXPECT_EQ(hidden, "dTpw");  // servers like to repeat it in an error
  HttpTask verbatim("headers: [{Authorization: more}]");
  verbatim.task.secrets = {{"http.user", "u"}, {"http.authorization", "Bearer x"}};
  EXPECT_EQ(verbatim.sent().headers.at("authorization"), "Bearer x, more");
  HttpTask url("");
  url.task.context.config.mutable_object().set("_command", "http://name:word@127.0.0.1:9/");
  EXPECT_THAT(url.run().subtasks() + url.task.log_text(), Not(HasSubstr("word")));
}

TEST(HttpOperator, OptionsMayBeNestedBelowHttp) {
  HttpTask http(
      "content: {a: 1}", [](const auto&) { return ok("x"); },
      "{http: {method: PUT, store_content: true, headers: [{X: y}], content: {b: 2}}}");
  EXPECT_EQ(http.sent().line(), "PUT /path");
  EXPECT_EQ(http.server.requests().back().headers.at("x"), "y");
  EXPECT_EQ(http.server.requests().back().body, R"({"a":1,"b":2})");
  EXPECT_THAT(http.task.stored(), HasSubstr("last_content"));
}

// operators 14.130
TEST(HttpOperator, ClientErrorsFailAtOnce) {
  HttpTask http("", [](const auto&) { return TestServer::answer("404 Nope", {}, "no such thing"); });
  EXPECT_EQ(http.run().failure, "HTTP 4XX Client Error: GET " + http.server.url("/path") + " - 404 Not Found: no such thing");
  HttpTask long_body("", [](const auto&) { return TestServer::answer("400 Bad", {}, std::string(300, 'x')); });
  EXPECT_THAT(long_body.run().failure, testing::EndsWith(" - 400 Bad Request: " + std::string(197, 'x') + "..."));
  HttpTask huge("", [](const auto&) { return TestServer::answer("400 Bad", {}, std::string(70'000, 'x')); });
  EXPECT_THAT(huge.run().failure, testing::EndsWith(": (too long response body)"));
}

// operators 14.129
TEST(HttpOperator, ServerErrorsOfIdempotentMethodsAreTriedAgain) {
  HttpTask http("", [](const auto&) { return TestServer::answer("500 Internal", {}, ""); });
  for (const char* wait : {"1000", "2000", "4000", "8000", "16000", "30000", "30000"})
    EXPECT_EQ(http.run().stored(), "later: " + std::string(wait) + " ms");
  EXPECT_EQ(to_json(http.task.context.state), R"({"request":{"operation":{},"retry":7}})");
  EXPECT_THAT(http.task.log_text(), HasSubstr("HTTP request failed. HTTP 5XX Server Error: GET " + http.server.url("/path") +
                                              " - 500 Server Error: retrying in 1 seconds"));
  HttpTask post("method: POST", [](const auto&) { return TestServer::answer("500 Internal", {}, "sorry"); });
  EXPECT_THAT(post.run().failure, HasSubstr("HTTP 5XX Server Error: POST"));
  HttpTask willing("method: POST, retry: true", [](const auto&) { return TestServer::answer("500 Internal", {}, ""); });
  EXPECT_EQ(willing.run().stored(), "later: 1000 ms");
  HttpTask never("retry: false", [](const auto&) { return TestServer::answer("599 x", {}, ""); });
  EXPECT_THAT(never.run().failure, HasSubstr(" - 599 599"));
  HttpTask most("max_retries: 1", [](const auto&) { return TestServer::answer("500 Internal", {}, ""); });
  EXPECT_EQ(most.run().stored(), "later: 1000 ms");
  EXPECT_THAT(most.run().failure, HasSubstr("HTTP 5XX Server Error"));
}

// operators 14.129
TEST(HttpOperator, AServerThatRecoversIsTriedUntilItDoes) {
  std::atomic<int> answers = 0;
  HttpTask http("store_content: true",
                [&](const auto&) { return ++answers < 3 ? TestServer::answer("500 Internal", {}, "") : ok("at last"); });
  EXPECT_EQ(http.run().stored(), "later: 1000 ms");
  EXPECT_EQ(http.run().stored(), "later: 2000 ms");
  EXPECT_EQ(http.run().stored(), R"({"http":{"last_status":200,"last_content":"at last"}})");
}

// operators 14.129
TEST(HttpOperator, TooManyRequestsIsTriedAgainEvenWithoutRetry) {
  for (const char* status : {"408 x", "429 x"})
    for (const char* method : {"GET", "POST"})
      EXPECT_EQ(HttpTask("retry: false, method: " + std::string(method), [=](const auto&) { return TestServer::answer(status, {}, ""); })
                    .run()
                    .stored(),
                "later: 1000 ms");
}

// operators 14.134
TEST(HttpOperator, NoAnswerIsTriedAgainWhereRetryHolds) {
  EXPECT_EQ(TaskOf("http>: http://127.0.0.1:9/").run().stored(), "later: 1000 ms");
  EXPECT_EQ(TaskOf("{http>: 'http://127.0.0.1:9/', retry: false}").run().failure, "Connection refused: 127.0.0.1:9 (runtime)");
  const auto too_slow = [](const auto&) { return TestServer::silence; };
  EXPECT_EQ(HttpTask("timeout: 1", too_slow).run().stored(), "later: 1000 ms");
  EXPECT_THAT(HttpTask("timeout: 1, method: POST", too_slow).run().failure, HasSubstr("within 1 s (runtime)"));
  EXPECT_THAT(HttpTask("timeout: 1, retry: false", too_slow).run().failure, HasSubstr("within 1 s (runtime)"));
}

// operators 14.132
TEST(HttpOperator, FollowsEightRedirects) {
  HttpTask http("store_content: true", [](const TestServer::Request& request) {
    const std::size_t hops = request.target.size() - std::string("/path").size();
    return hops < 8 ? TestServer::answer("302 x", {"Location: " + request.target + "x"}, "") : ok("there");
  });
  EXPECT_EQ(http.run().stored(), R"({"http":{"last_status":200,"last_content":"there"}})");
  EXPECT_EQ(http.server.requests().size(), 9u);
}

// operators 14.132
TEST(HttpOperator, RedirectsThatLeadNowhereFailAtOnce) {
  HttpTask loop("", [](const auto&) { return TestServer::answer("302 x", {"Location: /path"}, ""); });
  EXPECT_EQ(loop.run().failure, "Unexpected HTTP status: GET " + loop.server.url("/path") + " - 302 Found");
  EXPECT_EQ(loop.server.requests().size(), 9u);
  EXPECT_EQ(loop.task.hint, "more than 8 redirects");
  HttpTask unplaced("", [](const auto&) { return TestServer::answer("302 x", {}, ""); });
  EXPECT_THAT(unplaced.run().failure, HasSubstr("302 Found"));
  EXPECT_EQ(unplaced.task.hint, "the redirect has no Location");
  HttpTask kept("follow_redirects: false", [](const auto&) { return TestServer::answer("302 x", {"Location: /path"}, ""); });
  EXPECT_EQ(kept.run().stored(), R"({"http":{"last_status":302}})");
}

// operators 14.131
TEST(HttpOperator, ContentIsDecodedAndLimited) {
  HttpTask latin("store_content: true", [](const auto&) { return ok("\xe4", "text/plain; charset=ISO-8859-1"); });
  EXPECT_EQ(latin.run().stored(), R"({"http":{"last_status":200,"last_content":"ä"}})");
  HttpTask exact("store_content: true", [](const auto&) { return ok(std::string(65'536, 'x')); });
  EXPECT_TRUE(exact.run().succeeded());
  HttpTask large("store_content: true", [](const auto&) { return ok(std::string(65'537, 'x')); });
  EXPECT_EQ(large.run().failure, "Response content too large: 65537 > 65536");
  HttpTask huge("store_content: true", [](const auto&) { return ok(std::string(1'000'000, 'x')); });
  EXPECT_EQ(huge.run().failure, "Response content too large: 1000000 > 65536");
  HttpTask wide("store_content: true", [](const auto&) {
    std::string text;
    for (int i = 0; i < 65'536; ++i) text += "日";
    return ok(text);
  });
  EXPECT_TRUE(wide.run().succeeded()) << wide.task.failure;
  HttpTask configured("store_content: true", [](const auto&) { return ok("123456"); });
  configured.task.system.set("config.http.max_stored_response_content_size", "5");
  EXPECT_EQ(configured.run().failure, "Response content too large: 6 > 5");
  configured.task.system.set("config.http.max_stored_response_content_size", "9223372036854775807");
  EXPECT_EQ(configured.run().stored(), R"({"http":{"last_status":200,"last_content":"123456"}})");
}

TEST(HttpOperator, WrongUrisAreNamed) {
  EXPECT_EQ(TaskOf("http>: not a uri").run().failure, "Illegal character in path at index 3: not a uri (illegal argument)");
  EXPECT_EQ(TaskOf("http>:").run().failure, "Parameter '_command' is required but not set (config)");
  EXPECT_THAT(TaskOf("http>: ftp://h/").run().failure, HasSubstr("URI must start with http:// or https://"));
}

// operators 14.135
TEST(HttpOperator, AProxyOfTheTaskNeedsPermission) {
  TestServer proxy([](const auto&) { return ok("proxied"); });
  const std::string options = "store_content: true, proxy: {enabled: true, host: 127.0.0.1, port: " + std::to_string(proxy.port()) + "}";
  HttpTask http(options);
  EXPECT_THAT(http.run().stored(), HasSubstr("answer"));
  http.task.system.set("config.http.allow_user_proxy", "true");
  EXPECT_THAT(http.run().stored(), HasSubstr("proxied"));
  HttpTask by_system("store_content: true");
  by_system.task.system.set("config.http.proxy.enabled", "true");
  by_system.task.system.set("config.http.proxy.host", "127.0.0.1");
  by_system.task.system.set("config.http.proxy.port", std::to_string(proxy.port()));
  EXPECT_THAT(by_system.run().stored(), HasSubstr("proxied"));
}

TEST(HttpOperator, HostsCanBeLimited) {
  HttpTask http("");
  http.task.system.set("config.http.allowed_hosts", "example.org, *.example.com");
  EXPECT_EQ(http.run().failure, "Host is not allowed: 127.0.0.1 (illegal argument)");
  http.task.system.set("config.http.allowed_hosts", "127.0.0.1");
  EXPECT_TRUE(http.run().succeeded());
  http.task.system.set("config.http.denied_cidrs", "127.0.0.0/8");
  EXPECT_THAT(http.run().failure, HasSubstr("The address of 127.0.0.1 is not allowed"));
}

struct HttpCallTask {
  HttpCallTask(const std::string& type, const std::string& body, const std::string& options = "")
      : server([=](const auto&) {
          return TestServer::answer("200 OK", type.empty() ? std::vector<std::string>{} : std::vector{"Content-Type: " + type}, body);
        }),
        task("{http_call>: '" + server.url("/w") + "'" + options + "}") {}
  TestServer server;
  TaskOf task;
};

// operators 14.40, 14.41, 14.44
TEST(HttpCall, RunsWhatItFetches) {
  HttpCallTask yaml("application/x-yaml; charset=utf-8", "_export: {a: 1}\n+x: {echo>: '${a}'}\n");
  EXPECT_EQ(yaml.task.run().subtasks(), R"({"_export":{"a":1},"+x":{"echo>":"${a}"}})");
  EXPECT_THAT(yaml.task.log_text(), HasSubstr("Fetched definition for http_call>:\n_export: {a: 1}\n"));
  EXPECT_EQ(HttpCallTask("application/json", R"({"+x":{"echo>":"y"}})").task.run().subtasks(), R"({"+x":{"echo>":"y"}})");
  EXPECT_EQ(HttpCallTask("text/plain", "+x: {echo>: y}", ", content_type_override: application/x-yaml").task.run().subtasks(),
            R"({"+x":{"echo>":"y"}})");
}

// operators 14.42, 14.43, 14.45, 14.46
TEST(HttpCall, OtherAnswersAreErrors) {
  EXPECT_EQ(HttpCallTask("text/plain", "x").task.run().failure,
            "Unsupported Content-Type (expected application/json or application/x-yaml): text/plain");
  EXPECT_EQ(HttpCallTask("", "x").task.run().failure, "Content-Type must be set in the HTTP response but not set");
  TestServer missing([](const auto&) { return TestServer::answer("404 x", {"Content-Type: application/json"}, "{}"); });
  EXPECT_EQ(TaskOf("http_call>: " + missing.url("/w")).run().failure,
            "HTTP 4XX Client Error: GET " + missing.url("/w") + " - 404 Not Found: {}");
  EXPECT_EQ(missing.requests().size(), 1u);
  EXPECT_THAT(HttpCallTask("application/json", "{").task.run().failure, HasSubstr("Failed to parse response as JSON: "));
  EXPECT_THAT(HttpCallTask("application/x-yaml", "foo: 1").task.run().failure, HasSubstr("includes unknown keys: [foo]"));
  EXPECT_EQ(HttpCallTask("application/json", std::string(65'537, ' ')).task.run().failure, "Response content too large: 65537 > 65536");
}

// operators 14.47
TEST(HttpCall, TheSecretUriIsNotItsOwn) {
  HttpCallTask call("application/x-yaml", "+x: {echo>: y}");
  call.task.secrets["http.uri"] = "http://127.0.0.1:9/";
  EXPECT_TRUE(call.task.run().succeeded());
}

TEST(HttpCall, FilesAreFoundFromTheWorkspace) {
  HttpCallTask call("application/x-yaml", "+x: {echo>: y}");
  call.task.context.workspace = call.task.project() / "w";
  EXPECT_EQ(call.task.run().subtasks(), R"({"_export":{"_workdir":"w"},"+x":{"echo>":"y"}})");
}

}  // namespace
}  // namespace digdag::operators
