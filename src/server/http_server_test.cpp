#include "server/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <future>
#include <mutex>

#include "base/eventually_for_test.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/temporary_directory_for_test.h"
#include "base/text.h"
#include "server/content_coding.h"
#include "server/runtime_info.h"

namespace digdag::server {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

/// What stands behind the server in a test.
struct Handling : Handler {
  std::function<Admission(Request&)> admitting = [](Request&) { return Admission{}; };
  std::function<Response(const Request&)> answering = [](const Request& request) {
    return Response::bytes("text/plain", request.method + ' ' + request.path + ' ' + request.body);
  };
  Admission admit(Request& request) override { return admitting(request); }
  Response answer(Request& request) override { return answering(request); }
  void add_headers(const Request&, Response& response) override { response.headers.add("X-Site", "a"); }
};

HttpServer::Options any_port() {
  HttpServer::Options options;
  options.api = {"127.0.0.1", 0};
  return options;
}

/// A connection of a client.
class Client {
 public:
  explicit Client(const HttpServer::Address& address) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(address.port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(socket_.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  }
  void send(std::string_view bytes) const {
    EXPECT_EQ(::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  void send_no_more() const { shutdown(socket_.get(), SHUT_WR); }
  void leave() { socket_.reset(); }

  /// Bytes until these have come, or the end.
  std::string read_until(std::string_view end) {
    std::size_t searched = 0, found = std::string::npos;
    while ((found = received_.find(end, searched)) == std::string::npos) {
      searched = received_.size() - std::min(end.size(), received_.size());
      if (!receive()) return take(received_.size());
    }
    return take(found + end.size());
  }
  std::string read_all() {
    while (receive()) {
    }
    return take(received_.size());
  }
  /// One answer with a Content-Length.
  std::string answer(bool with_body = true) {
    std::string head = read_until("\r\n\r\n");
    const std::size_t length = head.find("Content-Length: ");
    const std::size_t size = length == std::string::npos || !with_body ? 0 : std::stoul(head.substr(length + 16));
    while (received_.size() < size && receive()) {
    }
    return head + take(size);
  }
  std::string ask(std::string_view request) {
    send(request);
    return answer();
  }

 private:
  bool receive() {
    char bytes[65536];
    const ssize_t count = recv(socket_.get(), bytes, sizeof bytes, 0);
    if (count > 0) received_.append(bytes, static_cast<std::size_t>(count));
    return count > 0;
  }
  std::string take(std::size_t size) {
    std::string taken = received_.substr(0, size);
    received_.erase(0, size);
    return taken;
  }

  Fd socket_;
  std::string received_;
};

std::string body_of(const std::string& answer) { return answer.substr(answer.find("\r\n\r\n") + 4); }

class HttpServerTest : public testing::Test {
 protected:
  void serve(HttpServer::Options options = any_port()) { server_.emplace(std::move(options), handling_, log_); }
  Client client() { return Client(server_->api_address()); }
  std::string ask(std::string_view request) { return client().ask(request); }

  Handling handling_;
  Log log_{Log::Options{.file = "/dev/null"}};
  std::optional<HttpServer> server_;
};

TEST_F(HttpServerTest, ARequestIsAnsweredWithDateTypeAndLength) {
  serve();
  EXPECT_THAT(ask("GET /a%20b?c=d HTTP/1.1\r\nHost: h\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nDate: "),
                    HasSubstr(" GMT\r\nX-Site: a\r\nContent-Type: text/plain\r\n"), EndsWith("Content-Length: 11\r\n\r\nGET /a%20b ")));
}

// rest-api 18.109
TEST_F(HttpServerTest, AConnectionServesThousandRequests) {
  serve();
  Client client = this->client();
  for (int i = 0; i < 1000; ++i)
    ASSERT_THAT(client.ask("GET /" + std::to_string(i) + " HTTP/1.1\r\n\r\n"), EndsWith("GET /" + std::to_string(i) + ' '));
}

TEST_F(HttpServerTest, PipelinedRequestsAreAnsweredInTheirOrder) {
  serve();
  Client client = this->client();
  client.send("GET /1 HTTP/1.1\r\n\r\nPUT /2 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\r\nGET /3 HTTP/1.1\r\n\r\n");
  EXPECT_EQ(body_of(client.answer()), "GET /1 ");
  EXPECT_EQ(body_of(client.answer()), "PUT /2 abc");
  EXPECT_EQ(body_of(client.answer()), "GET /3 ");
}

TEST_F(HttpServerTest, Http10AndConnectionCloseEndTheConnection) {
  serve();
  for (const std::string_view request : {"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nConnection: close\r\n\r\n"}) {
    Client client = this->client();
    client.send(request);
    EXPECT_THAT(client.read_all(), AllOf(HasSubstr("Connection: close\r\n"), EndsWith("GET / "))) << request;
  }
  Client kept = client();
  EXPECT_THAT(kept.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), HasSubstr("Connection: keep-alive"));
  EXPECT_THAT(kept.ask("GET /2 HTTP/1.0\r\n\r\n"), EndsWith("GET /2 "));
}

TEST_F(HttpServerTest, HeadGetsTheHeadersOfGet) {
  serve();
  Client client = this->client();
  client.send("HEAD /abc HTTP/1.1\r\n\r\n");
  EXPECT_THAT(client.answer(false), HasSubstr("Content-Length: 10\r\n"));
  EXPECT_THAT(client.ask("GET /x HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 200")) << "no body came after the head";
}

TEST_F(HttpServerTest, ABodyComesByLengthOrInChunks) {
  serve();
  EXPECT_THAT(ask("PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"), EndsWith("PUT / hello"));
  EXPECT_THAT(ask("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n"), EndsWith("PUT / hello"));
}

TEST_F(HttpServerTest, HeadAndBodyMayComeByteByByte) {
  serve();
  Client client = this->client();
  for (const char c : std::string("PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n0\r\n\r\n")) client.send({&c, 1});
  EXPECT_THAT(client.answer(), EndsWith("PUT /x hel"));
}

// rest-api 18.15
// server 23.21
TEST_F(HttpServerTest, AnEncodedBodyIsDecoded) {
  handling_.answering = [](const Request& request) { return Response::bytes("text/plain", request.body); };
  serve();
  const std::string text(1000, 'x');
  for (const Coding coding : {Coding::gzip, Coding::deflate}) {
    const std::string body = encode(text, coding);
    EXPECT_EQ(body_of(ask("PUT / HTTP/1.1\r\nContent-Encoding: " + std::string(coding_name(coding)) +
                          "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body)),
              text);
  }
  EXPECT_THAT(ask("PUT / HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(ask("PUT / HTTP/1.1\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc"), StartsWith("HTTP/1.1 415"));
}

// rest-api 18.14
// server 23.20
TEST_F(HttpServerTest, AnAnswerIsCompressedWhenAskedHoweverSmall) {
  serve();
  const auto get = [&](const std::string& accepted) { return ask("GET / HTTP/1.1\r\nAccept-Encoding: " + accepted + "\r\n\r\n"); };
  const std::string zipped = get("deflate, gzip");
  EXPECT_THAT(zipped, HasSubstr("Content-Encoding: gzip\r\n"));
  EXPECT_EQ(decode(body_of(zipped), Coding::gzip, 100), "GET / ");
  const std::string deflated = get("deflate");
  EXPECT_THAT(deflated, HasSubstr("Content-Encoding: deflate\r\n"));
  EXPECT_EQ(decode(body_of(deflated), Coding::deflate, 100), "GET / ");
  EXPECT_THAT(get("br, gzip;q=0"), AllOf(Not(HasSubstr("Content-Encoding")), EndsWith("GET / ")));
  handling_.answering = [](const Request&) { return Response::bytes("application/gzip", "abc"); };
  EXPECT_THAT(get("gzip"), AllOf(Not(HasSubstr("Content-Encoding")), EndsWith("abc")));
}

// rest-api 18.10
// server 23.16, 23.23
TEST_F(HttpServerTest, TraceEchoesWhatGrantsNoAccess) {
  serve();
  const std::string answer =
      ask("TRACE /any HTTP/1.1\r\nX-A: b\r\nAuthorization: Basic eA==\r\nCookie: c=d\r\nProxy-Authorization: e\r\n\r\n");
  EXPECT_THAT(answer, AllOf(HasSubstr("Content-Type: message/http\r\n"), Not(HasSubstr("X-Site"))));
  EXPECT_EQ(body_of(answer), "TRACE /any HTTP/1.1\r\nX-A: b\r\n\r\n");
}

TEST_F(HttpServerTest, WhatIsNoHttpIsRefused) {
  serve();
  for (const std::string_view request : {"nonsense\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n", "GET nothing HTTP/1.1\r\n\r\n",
                                         "PUT / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
                                         "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"}) {
    Client client = this->client();
    client.send(request);
    client.send_no_more();
    EXPECT_THAT(client.read_all(), AllOf(StartsWith("HTTP/1.1 400 Bad Request\r\nConnection: close"), EndsWith("\"status\":400}")))
        << request;
  }
}

TEST_F(HttpServerTest, AHeadOfMoreThan64KibIsRefused) {
  serve();
  Client client = this->client();
  client.send("GET / HTTP/1.1\r\nX: " + std::string(70'000, 'x') + "\r\n\r\n");
  client.send_no_more();
  EXPECT_THAT(client.read_all(), StartsWith("HTTP/1.1 431 "));
  EXPECT_THAT(ask("GET / HTTP/1.1\r\nX: " + std::string(60'000, 'x') + "\r\n\r\n"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(HttpServerTest, ABodyBeyondItsLimitIsRefusedHoweverItComes) {
  handling_.admitting = [](Request&) { return Admission{.refusal = {}, .limit = {.bytes = 10, .status = 400, .message = "at most 10"}}; };
  serve();
  const std::string zipped = encode(std::string(1000, 'x'), Coding::gzip);
  const std::string bomb = "Content-Encoding: gzip\r\nContent-Length: " + std::to_string(zipped.size()) + "\r\n\r\n" + zipped;
  for (const std::string& rest : {std::string("Content-Length: 11\r\n\r\n12345678901"), std::string("Content-Length: 100000000\r\n\r\n"),
                                  std::string("Transfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n6\r\n123456\r\n0\r\n\r\n"), bomb}) {
    Client client = this->client();
    client.send("PUT / HTTP/1.1\r\n" + rest);
    client.send_no_more();
    EXPECT_THAT(client.read_all(), AllOf(StartsWith("HTTP/1.1 400 "), HasSubstr("X-Site: a"), HasSubstr("at most 10"))) << rest;
  }
  EXPECT_THAT(ask("PUT / HTTP/1.1\r\nContent-Length: 10\r\n\r\n1234567890"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(HttpServerTest, WhoMayNotAskIsToldBeforeTheBodyComes) {
  handling_.admitting = [](Request&) { return Admission{.refusal = error_response(401, "no"), .limit = {}}; };
  serve();
  Client client = this->client();
  EXPECT_THAT(client.ask("PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"),
              StartsWith("HTTP/1.1 401 Unauthorized\r\nConnection: keep-alive"));
  EXPECT_THAT(client.ask("PUT / HTTP/1.1\r\nContent-Length: 3000000\r\nExpect: 100-continue\r\n\r\n"),
              StartsWith("HTTP/1.1 401 Unauthorized\r\nConnection: close"));
}

TEST_F(HttpServerTest, WhoAsksFirstIsToldToGoOn) {
  serve();
  Client client = this->client();
  client.send("PUT / HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_THAT(client.ask("abc"), EndsWith("PUT / abc"));
}

TEST_F(HttpServerTest, BodiesTogetherHaveALimitToo) {
  HttpServer::Options options = any_port();
  options.body_bytes_in_memory = 100'000;
  serve(options);
  EXPECT_TRUE(eventually([&] {
    Client first = client();
    first.send("PUT / HTTP/1.1\r\nContent-Length: 90001\r\n\r\n" + std::string(90'000, 'x'));
    const std::string second = ask("PUT / HTTP/1.1\r\nContent-Length: 20001\r\n\r\n" + std::string(20'001, 'x'));
    return second.starts_with("HTTP/1.1 503 ") && first.ask("x").starts_with("HTTP/1.1 200 ");  // where the first one has come first
  }));
}

// server 23.22
TEST_F(HttpServerTest, SlowClientsAreLeftWithoutAWord) {
  HttpServer::Options options = any_port();
  options.no_request_timeout = options.request_parse_timeout = options.io_idle_timeout = milliseconds(50);
  serve(options);
  for (const std::string_view beginning : {"", "GET / HT", "PUT / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc"}) {
    Client client = this->client();
    client.send(beginning);
    EXPECT_THAT(client.read_all(), IsEmpty()) << beginning;
  }
}

TEST_F(HttpServerTest, AReaderThatDoesNotReadIsLeft) {
  HttpServer::Options options = any_port();
  options.io_idle_timeout = milliseconds(50);
  std::promise<void> finished;
  options.on_finished = [&](const Exchange&) { finished.set_value(); };
  handling_.answering = [](const Request&) { return Response::bytes("text/plain", std::string(50 << 20, 'x')); };
  serve(options);
  Client client = this->client();
  client.send("GET / HTTP/1.1\r\n\r\n");
  finished.get_future().wait();
  EXPECT_LT(client.read_all().size(), 50 << 20);
}

TEST_F(HttpServerTest, TheLongestIdleConnectionMakesRoomForANewOne) {
  HttpServer::Options options = any_port();
  options.connections = 2;
  serve(options);
  Client first = client(), second = client();
  EXPECT_THAT(first.ask("GET /1 HTTP/1.1\r\n\r\n"), EndsWith("GET /1 "));
  EXPECT_THAT(second.ask("GET /2 HTTP/1.1\r\n\r\n"), EndsWith("GET /2 "));
  Client third = client();
  EXPECT_THAT(third.ask("GET /3 HTTP/1.1\r\n\r\n"), EndsWith("GET /3 "));
  EXPECT_THAT(first.read_all(), IsEmpty());
  EXPECT_THAT(second.ask("GET /2 HTTP/1.1\r\n\r\n"), EndsWith("GET /2 "));
}

TEST_F(HttpServerTest, WhereAllConnectionsAreBusyANewOneIsToldSo) {
  HttpServer::Options options = any_port();
  options.connections = 1;
  std::promise<void> begun, let_go;
  handling_.answering = [&](const Request&) {
    begun.set_value();
    let_go.get_future().wait();
    return Response::empty(200);
  };
  serve(options);
  Client busy = client();
  busy.send("GET / HTTP/1.1\r\n\r\n");
  begun.get_future().wait();
  Client refused = client();
  const std::string answer = refused.answer();
  EXPECT_THAT(answer, AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("Retry-After: 1\r\n"), HasSubstr("{\"message\":\"Too many connections"),
                            EndsWith("\"status\":503}")));
  EXPECT_THAT(refused.read_all(), IsEmpty());
  let_go.set_value();
  EXPECT_THAT(busy.answer(), StartsWith("HTTP/1.1 200 "));
}

TEST_F(HttpServerTest, RequestsBeyondWorkersAndQueueAreAnswered503) {
  HttpServer::Options options = any_port();
  options.worker_threads = 1;
  options.waiting_requests = 1;
  std::promise<void> let_go;
  const std::shared_future<void> gone = let_go.get_future().share();
  std::atomic<int> begun = 0;
  handling_.answering = [&](const Request&) {
    ++begun;
    gone.wait();
    return Response::empty(200);
  };
  serve(options);
  Client first = client(), second = client();
  first.send("GET / HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(eventually([&] { return begun == 1; }));
  Client third = client();
  second.send("GET / HTTP/1.1\r\n\r\n");
  third.send("GET / HTTP/1.1\r\n\r\n");
  std::string refused;  // one of both waits, the other is refused
  EXPECT_TRUE(eventually([&] {
    Client fourth = client();
    fourth.send("GET / HTTP/1.1\r\n\r\n");
    refused = fourth.answer();
    return refused.starts_with("HTTP/1.1 503 ");
  }));
  EXPECT_THAT(refused, AllOf(HasSubstr("Retry-After: 1\r\n"), HasSubstr("\"status\":503}")));
  let_go.set_value();
  EXPECT_THAT(first.answer(), StartsWith("HTTP/1.1 200 "));
  server_.reset();
}

TEST_F(HttpServerTest, AHandlerThatWaitsHoldsNobodyElseUp) {
  std::promise<void> let_go;
  const std::shared_future<void> gone = let_go.get_future().share();
  handling_.answering = [&](const Request& request) {
    if (request.path == "/slow") gone.wait();
    return Response::bytes("text/plain", request.path);
  };
  serve();
  Client slow = client();
  slow.send("GET /slow HTTP/1.1\r\n\r\n");
  EXPECT_THAT(ask("GET /fast HTTP/1.1\r\n\r\n"), EndsWith("/fast"));
  let_go.set_value();
  EXPECT_THAT(slow.answer(), EndsWith("/slow"));
}

TEST_F(HttpServerTest, AnythingThatAHandlerThrowsIsAnError500) {
  handling_.answering = [](const Request&) -> Response { throw std::runtime_error("a secret detail"); };
  serve();
  EXPECT_THAT(ask("GET / HTTP/1.1\r\n\r\n"), AllOf(StartsWith("HTTP/1.1 500 "), EndsWith(R"({"message":"Internal error","status":500})")));
}

TEST_F(HttpServerTest, AHeaderNeverBeginsALineOfItsOwn) {
  handling_.answering = [](const Request&) {
    Response response = Response::empty(200);
    response.headers.add("X-A", "b\r\nX-Evil: c");
    return response;
  };
  serve();
  EXPECT_THAT(ask("GET / HTTP/1.1\r\n\r\n"), HasSubstr("\r\nX-A: b  X-Evil: c\r\n"));
}

TEST_F(HttpServerTest, TheListenerOfARequestIsKnown) {
  HttpServer::Options options = any_port();
  options.admin = HttpServer::Address{"127.0.0.1", 0};
  handling_.answering = [](const Request& request) {
    return Response::bytes("text/plain", request.peer + (request.listener == ListenerKind::admin ? " admin" : " api"));
  };
  serve(options);
  EXPECT_THAT(ask("GET / HTTP/1.1\r\n\r\n"), EndsWith("127.0.0.1 api"));
  EXPECT_THAT(Client(*server_->admin_address()).ask("GET / HTTP/1.1\r\n\r\n"), EndsWith("127.0.0.1 admin"));
}

TEST_F(HttpServerTest, AnAddressInUseIsAnErrorThatNamesIt) {
  serve();
  HttpServer::Options options = any_port();
  options.api = server_->api_address();
  try {
    HttpServer other(options, handling_, log_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "Cannot listen at " + address_text(options.api) + ": Address already in use");
    EXPECT_THAT(error.hint_text(), HasSubstr("--port"));
  }
}

// server 23.6
TEST_F(HttpServerTest, TheRealPortsAreWrittenDown) {
  const TemporaryDirectory directory;
  SystemConfig config;
  config.set("server.port", "0");
  config.set("server.admin.port", "0");
  config.set("server.runtime-info.path", directory / "info");
  serve(HttpServer::Options::of(config));
  write_runtime_info(config, *server_, log_);
  const auto at = [](int port) { return R"([{"host":"127.0.0.1","port":)" + std::to_string(port) + "}]"; };
  EXPECT_EQ(read_file(directory / "info"), R"({"local_addresses":)" + at(server_->api_address().port) + R"(,"local_admin_addresses":)" +
                                               at(server_->admin_address()->port) + '}');
  EXPECT_NE(server_->api_address().port, 0);
}

// server 23.7
TEST(HttpServerOptions, HaveTheDefaultsOfTheOriginal) {
  const HttpServer::Options options = HttpServer::Options::of(SystemConfig::empty());
  EXPECT_EQ(address_text(options.api), "127.0.0.1:65432");
  EXPECT_FALSE(options.admin);
  EXPECT_EQ(options.no_request_timeout, std::chrono::seconds(60));
  EXPECT_EQ(options.request_parse_timeout, std::chrono::seconds(30));
  EXPECT_EQ(options.io_idle_timeout, std::chrono::seconds(300));
}

TEST(HttpServerOptions, AreTakenFromTheConfiguration) {
  SystemConfig config;
  config.set("server.bind", "::1");
  config.set("server.port", "80");
  config.set("server.admin.port", "81");
  config.set("server.http.worker-threads", "3");
  HttpServer::Options options = HttpServer::Options::of(config);
  EXPECT_EQ(address_text(options.api), "[::1]:80");
  EXPECT_EQ(address_text(*options.admin), "[::1]:81");
  EXPECT_EQ(options.worker_threads, 3U);
  config.set("server.admin.bind", "10.0.0.1");
  EXPECT_EQ(address_text(*HttpServer::Options::of(config).admin), "10.0.0.1:81");
  for (const auto& [key, value] :
       {std::pair{"server.port", "65536"}, {"server.http.worker-threads", "0"}, {"server.http.io-idle-timeout", "x"}}) {
    SystemConfig wrong;
    wrong.set(key, value);
    EXPECT_THROW(HttpServer::Options::of(wrong), Error) << key;
  }
}

// --- streams -------------------------------------------------------------------------------------------------------------------

class HttpStreamTest : public HttpServerTest {
 protected:
  HttpStreamTest() {
    handling_.answering = [this](const Request&) {
      Response response = Response::bytes("text/plain", {});
      response.stream = [this](std::shared_ptr<BodyStream> stream) { stream_.set_value(std::move(stream)); };
      return response;
    };
  }
  std::shared_ptr<BodyStream> stream() { return stream_.get_future().get(); }

  std::promise<std::shared_ptr<BodyStream>> stream_;
};

TEST_F(HttpStreamTest, PartsAreSentAsTheyCome) {
  serve();
  Client client = this->client();
  client.send("GET / HTTP/1.1\r\n\r\n");
  const auto stream = this->stream();
  EXPECT_THAT(client.read_until("\r\n\r\n"), AllOf(HasSubstr("Transfer-Encoding: chunked\r\n"), Not(HasSubstr("Content-Length"))));
  EXPECT_TRUE(stream->write("one"));
  EXPECT_EQ(client.read_until("one\r\n"), "3\r\none\r\n");
  EXPECT_TRUE(stream->write("two, two, two"));
  EXPECT_EQ(client.read_until("two, two, two\r\n"), "d\r\ntwo, two, two\r\n");
  stream->finish();
  EXPECT_EQ(client.read_until("0\r\n\r\n"), "0\r\n\r\n");
  EXPECT_FALSE(stream->write("late"));
  client.send("HEAD /again HTTP/1.1\r\n\r\n");
  EXPECT_THAT(client.answer(false), HasSubstr("Transfer-Encoding: chunked")) << "and no stream begins";
}

TEST_F(HttpStreamTest, WhatNobodyHoldsIsFinished) {
  handling_.answering = [](const Request&) {
    Response response = Response::bytes("text/plain", {});
    response.stream = [](const std::shared_ptr<BodyStream>& stream) { stream->write("all"); };
    return response;
  };
  serve();
  Client old = client();
  old.send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_THAT(old.read_all(), AllOf(HasSubstr("Connection: close"), Not(HasSubstr("chunked")), EndsWith("\r\n\r\nall")));
  Client client = this->client();
  client.send("GET / HTTP/1.1\r\n\r\n");
  EXPECT_THAT(client.read_until("0\r\n\r\n"), EndsWith("\r\n\r\n3\r\nall\r\n0\r\n\r\n"));
}

TEST_F(HttpStreamTest, AWriterIsToldWhenItMayGoOn) {
  serve();
  Client client = this->client();
  client.send("GET / HTTP/1.1\r\n\r\n");
  const auto stream = this->stream();
  std::promise<void> ready;
  stream->when_ready([&] { ready.set_value(); });
  stream->write(std::string(20 << 20, 'x'));
  EXPECT_GT(stream->unsent(), 0U) << "nobody reads yet";
  EXPECT_THAT(client.read_until("x\r\n").size(), testing::Gt(20U << 20));
  ready.get_future().wait();
  EXPECT_EQ(stream->unsent(), 0U);
  stream->finish();
  EXPECT_EQ(client.read_until("0\r\n\r\n"), "0\r\n\r\n");
}

TEST_F(HttpStreamTest, AWriterIsToldWhenNobodyReadsAnyMore) {
  serve();
  Client client = this->client();
  client.send("GET / HTTP/1.1\r\n\r\n");
  const auto stream = this->stream();
  EXPECT_THAT(client.read_until("\r\n\r\n"), StartsWith("HTTP/1.1 200 "));
  std::promise<void> told;
  stream->when_ready([&] { told.set_value(); });
  client.leave();
  told.get_future().wait();
  EXPECT_TRUE(stream->closed());
  EXPECT_FALSE(stream->write("late"));
}

TEST_F(HttpStreamTest, AStreamOutlivesItsServer) {
  serve();
  Client client = this->client();
  client.send("GET / HTTP/1.1\r\n\r\n");
  const auto stream = this->stream();
  stream->write("last");
  EXPECT_THAT(client.read_until("last\r\n"), EndsWith("\r\n\r\n4\r\nlast\r\n"));
  server_->stop_listening();
  EXPECT_FALSE(stream->write("late"));
  EXPECT_EQ(client.read_until("0\r\n\r\n"), "0\r\n\r\n");
  EXPECT_TRUE(server_->wait_for_requests());
  server_.reset();
  EXPECT_TRUE(stream->closed());
  stream->finish();
}

// --- the end -------------------------------------------------------------------------------------------------------------------

// server 23.71
TEST_F(HttpServerTest, AtTheEndRunningRequestsAreAnsweredAndNewOnesAreNot) {
  std::promise<void> begun, let_go;
  handling_.answering = [&](const Request& request) {
    if (request.path == "/long") {
      begun.set_value();
      let_go.get_future().wait();
    }
    return Response::bytes("text/plain", request.path);
  };
  serve();
  Client running = client(), open = client();
  EXPECT_THAT(open.ask("GET / HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 200 "));
  running.send("GET /long HTTP/1.1\r\n\r\n");
  begun.get_future().wait();
  server_->stop_listening();
  EXPECT_THAT(open.ask("GET / HTTP/1.1\r\n\r\n"), AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("Connection: close"),
                                                        EndsWith(R"({"message":"The server is shutting down","status":503})")));
  EXPECT_FALSE(server_->wait_for_requests(milliseconds(1)));
  let_go.set_value();
  EXPECT_THAT(running.answer(), AllOf(HasSubstr("Connection: close"), EndsWith("/long")));
  EXPECT_TRUE(server_->wait_for_requests());
  server_->stop();
  EXPECT_THAT(open.read_all(), IsEmpty());
}

TEST_F(HttpServerTest, AServerEndsWhileClientsAreInTheMiddleOfSomething) {
  serve();
  Client idle = client(), half_a_head = client(), half_a_body = client();
  half_a_head.send("GET / HT");
  half_a_body.send("PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc");
  EXPECT_THAT(ask("GET / HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 200 "));
  server_.reset();
  EXPECT_THAT(idle.read_all() + half_a_head.read_all() + half_a_body.read_all(), IsEmpty());
}

}  // namespace
}  // namespace digdag::server
