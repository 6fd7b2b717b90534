#include "client/http.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>

#include "base/error.h"
#include "client/test_server.h"

namespace digdag::client {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

std::string ok(const std::string& body, const std::string& type = "text/plain") {
  return TestServer::answer("200 OK", {"Content-Type: " + type}, body);
}

std::string failure_of(const HttpRequest& request) {
  try {
    http_request(request);
  } catch (const Error& error) {
    return error.kind() + ": " + error.message();
  }
  return "no failure";
}

HttpProxy proxy_at(const TestServer& server) { return HttpProxy{.host = "127.0.0.1", .port = server.port(), .user = {}, .password = {}}; }

TEST(Http, SendsMethodHeadersAndBodyAndGivesTheAnswer) {
  TestServer server([](const auto&) { return TestServer::answer("201 Created", {"X-One: 1", "X-Two:  two "}, "made"); });
  const HttpResponse response = http_request({.method = "POST",
                                              .url = server.url("/a?b=c"),
                                              .headers = {{"X-Name", "value"}, {"Content-Type", "text/x"}, {"X-Empty", ""}},
                                              .body = "the body",
                                              .has_body = true,
                                              .user_agent = "Digdag/1"});
  EXPECT_EQ(response.status, 201);
  EXPECT_EQ(response.body, "made");
  EXPECT_EQ(response.header("x-two"), "two");
  EXPECT_EQ(response.header("none"), std::nullopt);
  const auto request = server.requests().at(0);
  EXPECT_EQ(request.line(), "POST /a?b=c");
  EXPECT_EQ(request.body, "the body");
  EXPECT_EQ(request.headers.at("x-name"), "value");
  EXPECT_EQ(request.headers.at("x-empty"), "");
  EXPECT_EQ(request.headers.at("content-type"), "text/x");
  EXPECT_EQ(request.headers.at("user-agent"), "Digdag/1");
}

TEST(Http, APostWithoutBodySaysLengthZeroAndNoType) {
  TestServer server([](const auto&) { return ok(""); });
  http_request({.method = "POST", .url = server.url("/")});
  EXPECT_EQ(server.requests().at(0).headers.at("content-length"), "0");
  EXPECT_EQ(server.requests().at(0).headers.count("content-type"), 0u);
}

TEST(Http, AnyMethodMayCarryABody) {
  TestServer server([](const auto&) { return ok("x"); });
  for (const char* method : {"GET", "DELETE", "PATCH", "PROPFIND"})
    http_request({.method = method, .url = server.url("/m"), .body = "b", .has_body = true});
  EXPECT_THAT(server.request_lines(), ElementsAre("GET /m", "DELETE /m", "PATCH /m", "PROPFIND /m"));
  EXPECT_EQ(server.requests().at(0).body, "b");
}

TEST(Http, PathsBeyondAsciiAreEncoded) {
  TestServer server([](const auto&) { return ok(""); });
  http_request({.url = server.url("/日?ä=%41")});
  EXPECT_EQ(server.requests().at(0).target, "/%E6%97%A5?%C3%A4=%41");
}

TEST(Http, HeadHasNoBody) {
  TestServer server([](const auto&) { return "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n"; });
  const HttpResponse response = http_request({.method = "HEAD", .url = server.url("/")});
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.header("content-length"), "100");
}

TEST(Http, FollowsRedirects) {
  TestServer server([](const auto& request) {
    return request.target == "/a" ? TestServer::answer("302 Found", {"Location: /b?x=1"}, "moved") : ok("here");
  });
  const HttpResponse response = http_request({.url = server.url("/a")});
  EXPECT_EQ(response.body, "here");
  EXPECT_THAT(server.request_lines(), ElementsAre("GET /a", "GET /b?x=1"));
}

TEST(Http, ARedirectedPostGoesOnAsGetUnlessTheStatusForbidsIt) {
  TestServer server([](const auto& request) {
    const std::string status = request.target.substr(1);
    return status == "end" ? ok("end") : TestServer::answer(status + " Moved", {"Location: /end"}, "");
  });
  for (const char* status : {"301", "302", "303", "307", "308"}) {
    http_request({.method = "POST",
                  .url = server.url(std::string("/") + status),
                  .headers = {{"Content-Type", "text/x"}},
                  .body = "b",
                  .has_body = true});
    const auto request = server.requests().back();
    const bool kept = std::string(status) == "307" || std::string(status) == "308";
    EXPECT_EQ(request.method, kept ? "POST" : "GET") << status;
    EXPECT_EQ(request.body, kept ? "b" : "") << status;
    EXPECT_EQ(request.headers.count("content-type"), kept ? 1u : 0u) << status;
  }
}

TEST(Http, CredentialsAreNotSentToAnotherHost) {
  TestServer other([](const auto&) { return ok("other"); });
  TestServer server([&](const auto& request) {
    return TestServer::answer("302 Found", {"Location: " + (request.target == "/away" ? other.url("/x") : std::string("/away"))}, "");
  });
  http_request({.url = server.url("/here"),
                .headers = {{"Authorization", "Basic x"}, {"Cookie", "c"}, {"Proxy-Authorization", "p"}, {"X-Key", "s"}, {"X-Kept", "k"}},
                .private_headers = {"x-Key"}});
  EXPECT_EQ(server.requests().at(1).headers.at("authorization"), "Basic x");
  EXPECT_EQ(server.requests().at(1).headers.at("x-key"), "s");
  const auto request = other.requests().at(0);
  EXPECT_EQ(request.headers.count("authorization"), 0u);
  EXPECT_EQ(request.headers.count("cookie"), 0u);
  EXPECT_EQ(request.headers.count("proxy-authorization"), 0u);
  EXPECT_EQ(request.headers.count("x-key"), 0u);
  EXPECT_EQ(request.headers.at("x-kept"), "k");
}

TEST(Http, TooManyRedirectsAndThoseWithoutLocationFail) {
  TestServer server([](const auto& request) {
    return TestServer::answer("302 Found",
                              request.target == "/loop" ? std::vector<std::string>{"Location: /loop"} : std::vector<std::string>{}, "");
  });
  const HttpResponse loop = http_request({.url = server.url("/loop"), .max_redirects = 3});
  EXPECT_TRUE(loop.redirect_failed);
  EXPECT_EQ(loop.status, 302);
  EXPECT_EQ(server.requests().size(), 4u);
  EXPECT_TRUE(http_request({.url = server.url("/nowhere")}).redirect_failed);
}

TEST(Http, WithoutFollowingTheRedirectIsTheAnswer) {
  TestServer server([](const auto&) { return TestServer::answer("302 Found", {"Location: /b"}, "moved"); });
  const HttpResponse response = http_request({.url = server.url("/"), .follow_redirects = false});
  EXPECT_EQ(response.status, 302);
  EXPECT_FALSE(response.redirect_failed);
  EXPECT_EQ(response.body, "moved");
}

TEST(Http, ARedirectToAnotherSchemeIsRefused) {
  TestServer server([](const auto&) { return TestServer::answer("302 Found", {"Location: file:///etc/passwd"}, ""); });
  EXPECT_THAT(failure_of({.url = server.url("/")}), HasSubstr("illegal argument: "));
}

TEST(Http, GzipIsUndone) {
  // gzip of "hello hello hello hello"
  static const unsigned char packed[] = {0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xcb, 0x48, 0xcd, 0xc9,
                                         0xc9, 0x57, 0xc8, 0x40, 0x27, 0x01, 0xe3, 0x51, 0x3d, 0x8d, 0x17, 0x00, 0x00, 0x00};
  const std::string body(reinterpret_cast<const char*>(packed), sizeof packed);
  TestServer server([&](const auto&) { return TestServer::answer("200 OK", {"Content-Encoding: gzip"}, body); });
  const HttpResponse response = http_request({.url = server.url("/")});
  EXPECT_EQ(response.body, "hello hello hello hello");
  EXPECT_EQ(response.body_bytes, 23u);
  EXPECT_THAT(server.requests().at(0).headers.at("accept-encoding"), HasSubstr("gzip"));
}

TEST(Http, KeepsOnlyTheBeginningOfALargeBody) {
  TestServer server([](const auto&) { return ok(std::string(100'000, 'x')); });
  const HttpResponse response = http_request({.url = server.url("/"), .most_response_bytes = 10});
  EXPECT_EQ(response.body, "xxxxxxxxxx");
  EXPECT_TRUE(response.truncated);
  EXPECT_EQ(response.body_bytes, 100'000u);
}

TEST(Http, AnErrorNamesHostAndCause) {
  EXPECT_EQ(failure_of({.url = "http://127.0.0.1:9/none"}), "io: Connection refused: 127.0.0.1:9");
  EXPECT_THAT(failure_of({.url = "http://nowhere.invalid/"}), HasSubstr("nowhere.invalid"));
  TestServer silent([](const auto&) { return std::string(); });
  EXPECT_THAT(failure_of({.url = silent.url("/")}), HasSubstr("127.0.0.1:" + std::to_string(silent.port())));
  TestServer wrong([](const auto&) { return std::string("no http at all\n"); });
  EXPECT_THAT(failure_of({.url = wrong.url("/")}), HasSubstr("io: "));
  TestServer cut([](const auto&) { return std::string("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"); });
  EXPECT_THAT(failure_of({.url = cut.url("/")}), HasSubstr("io: "));
}

TEST(Http, TheTimeoutHoldsForTheWholeRequest) {
  TestServer slow([](const auto&) { return TestServer::silence; });
  EXPECT_EQ(failure_of({.url = slow.url("/"), .timeout_seconds = 1}),
            "io: No complete response from 127.0.0.1:" + std::to_string(slow.port()) + " within 1 s");
}

TEST(Http, ARequestCanBeStopped) {
  std::atomic<bool> stopped = false;
  TestServer slow([&](const auto&) {
    stopped = true;
    return TestServer::silence;
  });
  EXPECT_THAT(failure_of({.url = slow.url("/"), .stopped = &stopped}), HasSubstr("was stopped"));
}

TEST(Http, IllegalUrlsMethodsAndHeadersAreRefused) {
  EXPECT_EQ(failure_of({.url = "not a uri"}), "illegal argument: Illegal character in path at index 3: not a uri");
  EXPECT_EQ(failure_of({.url = "http://h/a?b c"}), "illegal argument: Illegal character in query at index 12: http://h/a?b c");
  EXPECT_THAT(failure_of({.url = "ftp://h/"}), HasSubstr("must start with http:// or https://"));
  EXPECT_THAT(failure_of({.url = "http:///x"}), HasSubstr("has no host"));
  EXPECT_THAT(failure_of({.url = "http://h:99999/"}), HasSubstr("Illegal port '99999'"));
  EXPECT_THAT(failure_of({.method = "GET /x", .url = "http://h/"}), HasSubstr("Illegal HTTP method"));
  EXPECT_THAT(failure_of({.url = "http://127.0.0.1:9/", .headers = {{"A", "b\r\nC: d"}}}), HasSubstr("Illegal line end in header 'A'"));
  EXPECT_THAT(failure_of({.url = "http://127.0.0.1:9/", .headers = {{"A b", "x"}}}), HasSubstr("Illegal header name"));
  EXPECT_EQ(failure_of({.url = "http://u:p@h/ x"}), "illegal argument: Illegal character in path at index 13: http://h/ x");
}

TEST(Http, OnlyAllowedHostsAndAddressesAreReached) {
  TestServer server([](const auto&) { return TestServer::answer("302 Found", {"Location: http://localhost:9/"}, ""); });
  EXPECT_THAT(failure_of({.url = server.url("/"), .allowed_hosts = {"example.org"}}), HasSubstr("Host is not allowed: 127.0.0.1"));
  EXPECT_THAT(failure_of({.url = server.url("/"), .allowed_hosts = {"127.0.0.1"}}), HasSubstr("Host is not allowed: localhost"));
  EXPECT_THAT(failure_of({.url = server.url("/"), .denied_cidrs = {"127.0.0.0/8"}}), HasSubstr("The address of 127.0.0.1 is not allowed"));
  EXPECT_THAT(failure_of({.url = server.url("/"), .denied_cidrs = {"10.0.0.0/40"}}), HasSubstr("Not an address range"));
}

TEST(Http, BodiesAreDecodedByTheirCharset) {
  const auto decoded = [](const std::string& type, const std::string& body) {
    return body_text({.headers = {{"content-type", type}}, .body = body});
  };
  EXPECT_EQ(decoded("text/plain", "\xc3\xa4"), "ä");
  EXPECT_EQ(decoded("text/plain; charset=ISO-8859-1", "\xe4"), "ä");
  EXPECT_EQ(decoded("text/plain; charset=\"Shift_JIS\"", "\x93\xfa\x96\x7b"), "日本");
  EXPECT_EQ(decoded("text/plain",
                    "a\xff"
                    "b"),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_THROW(decoded("text/plain; charset=nonsense", "x"), Error);
}

TEST(Http, TheUnspecifiedAddressIsThisMachine) {
  TestServer server([](const auto&) { return ok(""); });
  const std::string port = ':' + std::to_string(server.port());
  EXPECT_THAT(failure_of({.url = "http://0.0.0.0" + port, .denied_cidrs = {"127.0.0.0/8"}}), HasSubstr("is not allowed"));
  EXPECT_THAT(failure_of({.url = "http://[::ffff:0.0.0.0]" + port, .denied_cidrs = {"127.0.0.0/8"}}), HasSubstr("is not allowed"));
  EXPECT_THAT(failure_of({.url = "http://[::]" + port, .denied_cidrs = {"::1"}}), HasSubstr("is not allowed"));
  EXPECT_THAT(server.requests(), IsEmpty());
}

TEST(Http, AddressesAreDeniedBehindAProxyToo) {
  TestServer proxy([](const auto&) { return ok("proxied"); });
  const auto through_proxy = [&](const std::string& url) {
    return failure_of({.url = url, .proxy_for = [&](const auto&) { return proxy_at(proxy); }, .denied_cidrs = {"127.0.0.0/8", "::1"}});
  };
  for (const char* host : {"127.0.0.1", "127.1", "0x7f000001", "127.0.0.1.", "127.0.0.1..", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]"})
    EXPECT_THAT(through_proxy("http://" + std::string(host) + "/"), HasSubstr("is not allowed")) << host;
  EXPECT_EQ(through_proxy("http://127%2e0.0.1/"), "illegal argument: URI has no host: http://127%2e0.0.1/");
  EXPECT_EQ(through_proxy("http://10.0.0.1/"), "no failure");
  EXPECT_EQ(through_proxy("http://localhost/"), "no failure") << "the proxy looks it up";
}

TEST(Http, AHiddenUrlIsNotInErrors) {
  const auto hidden = [](const std::string& url) { return failure_of({.url = url, .hidden_url = true}); };
  EXPECT_EQ(hidden("http://127.0.0.1:9/none"), "io: Connection refused: ***");
  EXPECT_THAT(hidden("http://nowhere.invalid/"), AllOf(HasSubstr("(***)"), Not(HasSubstr("nowhere"))));
  TestServer server([](const auto&) { return TestServer::answer("302 Found", {"Location: ftp://inner.example/y"}, ""); });
  EXPECT_EQ(hidden(server.url("/")), "illegal argument: The request leads to what is no http URL");
  EXPECT_EQ(failure_of({.url = "http://inner.example/", .allowed_hosts = {"x"}, .hidden_url = true}),
            "illegal argument: Host is not allowed: ***");
}

TEST(Http, GoesThroughAProxyWithCredentials) {
  TestServer proxy([](const auto&) { return ok("proxied"); });
  HttpProxy place = proxy_at(proxy);
  place.user = "u";
  place.password = "p:w";
  const HttpResponse response = http_request({.url = "http://example.invalid/x", .proxy_for = [&](const auto&) { return place; }});
  EXPECT_EQ(response.body, "proxied");
  EXPECT_EQ(proxy.requests().at(0).line(), "GET http://example.invalid/x");
  EXPECT_EQ(proxy.requests().at(0).headers.at("proxy-authorization"), "Basic dTpwOnc=");
}

TEST(Http, ARedirectIsAskedForItsOwnProxy) {
  TestServer server([](const auto&) { return ok("direct"); });
  TestServer proxy([&](const auto&) { return TestServer::answer("302 Found", {"Location: " + server.url("/")}, ""); });
  const std::string first = "http://example.invalid/";
  const auto proxy_for = [&](const std::string& url) { return url == first ? std::optional(proxy_at(proxy)) : std::nullopt; };
  EXPECT_EQ(http_request({.url = first, .proxy_for = proxy_for}).body, "direct");
  EXPECT_EQ(proxy.requests().size(), 1u);
}

/// Nothing of the environment is about proxies, but what a test sets.
class ProxyEnvironment : public testing::Test {
 protected:
  ProxyEnvironment() { clear(); }
  ~ProxyEnvironment() override { clear(); }

 private:
  static void clear() {
    for (const char* name : {"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"}) unsetenv(name);
  }
};

TEST_F(ProxyEnvironment, NamesHostsThatAreReachedDirectly) {
  setenv("http_proxy", "http://proxy:3128", 1);
  const auto is_direct = [](const char* no_proxy, const std::string& host) {
    setenv("no_proxy", no_proxy, 1);
    return !proxy_from_environment("http://" + host + "/x");
  };
  EXPECT_TRUE(is_direct("other, example.org", "example.org"));
  EXPECT_TRUE(is_direct("example.org", "a.Example.ORG:8080"));
  EXPECT_TRUE(is_direct(".example.org localhost", "a.example.org"));
  EXPECT_TRUE(is_direct(".example.org", "example.org"));
  EXPECT_FALSE(is_direct("example.org", "badexample.org"));
  EXPECT_FALSE(is_direct("example.org", "example.org.evil"));
  EXPECT_TRUE(is_direct("*", "anything"));
  EXPECT_TRUE(is_direct("10.1.2.3", "10.1.2.3"));
  EXPECT_TRUE(is_direct("10.0.0.0/8", "10.1.2.3"));
  EXPECT_TRUE(is_direct("[::1]", "[::1]"));
  EXPECT_FALSE(is_direct("10.0.0.0/8,nonsense/x", "11.1.2.3"));
  EXPECT_FALSE(is_direct(" ", "example.org"));
  setenv("NO_PROXY", "big", 1);
  EXPECT_TRUE(is_direct("", "big"));
}

TEST_F(ProxyEnvironment, NamesTheProxyOfAScheme) {
  EXPECT_FALSE(proxy_from_environment("http://h/"));
  setenv("HTTP_PROXY", "http://big:8080", 1);
  setenv("http_proxy", "https://u%40x:p%3a@small:3128/", 1);
  const auto proxy = proxy_from_environment("http://h/");
  ASSERT_TRUE(proxy);
  EXPECT_EQ(proxy->host, "small");
  EXPECT_EQ(proxy->port, 3128);
  EXPECT_TRUE(proxy->tls);
  EXPECT_EQ(proxy->user, "u@x");
  EXPECT_EQ(proxy->password, "p:");
  EXPECT_EQ(proxy_from_environment("https://h/")->host, "small");
  setenv("https_proxy", " ", 1);
  setenv("HTTPS_PROXY", "nonsense", 1);
  std::string warning;
  EXPECT_FALSE(proxy_from_environment("https://h/", &warning));
  EXPECT_THAT(warning, HasSubstr("nonsense"));
}

}  // namespace
}  // namespace digdag::client
