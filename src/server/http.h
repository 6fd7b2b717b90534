#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/value.h"

namespace digdag::server {

/// Header fields in the order of the message; names are compared without regard to case.
class Headers {
 public:
  using Field = std::pair<std::string, std::string>;

  Headers() = default;
  Headers(std::initializer_list<Field> fields) : fields_(fields) {}

  void add(std::string_view name, std::string_view value) { fields_.emplace_back(name, value); }
  /// Replaces what has this name.
  void set(std::string_view name, std::string_view value);
  /// The first of this name; nullptr where there is none.
  const std::string* find(std::string_view name) const;
  /// All of this name, joined by `, `; empty where there is none.
  std::string joined(std::string_view name) const;

  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }
  bool empty() const { return fields_.empty(); }

 private:
  std::vector<Field> fields_;
};

/// The parameters after `?`, percent-decoded, `+` read as a blank. Of a repeated parameter the first counts; unknown ones are nobody's
/// business (spec/rest-api.md 1.2).
class Query {
 public:
  Query() = default;
  explicit Query(std::string_view raw);

  bool has(std::string_view name) const;
  /// HttpError(400) where the text holds a NUL, which no database takes.
  std::optional<std::string> text(std::string_view name) const;
  /// HttpError(404 without body) where the text is no number of that size; an empty one is none either.
  std::optional<std::int32_t> int32(std::string_view name) const;
  std::optional<std::int64_t> int64(std::string_view name) const;
  /// True for `true` in any case and for nothing else.
  bool flag(std::string_view name) const;
  /// Every value of a parameter that may be repeated (`clear_schedule`), in order.
  std::vector<std::string> all(std::string_view name) const;

 private:
  const std::string* find(std::string_view name) const;

  std::vector<std::pair<std::string, std::string>> parameters_;
};

/// Who asks, as the authenticator found out (spec/server.md 6).
struct Identity {
  int site_id = 0;
  std::string user;  ///< empty where nobody has to say who they are
  bool admin = false;
};

struct Route;

enum class ListenerKind : std::uint8_t { api, admin };

/// A request as handlers see it. Everything is decoded once and stays as it is; only one thread at a time has it.
struct Request {
  std::string method;    ///< as sent: `GET`
  std::string target;    ///< as sent: `/api/projects?name=a%20b`
  std::string path;      ///< the target's path as sent, still encoded: `/api/projects`
  std::string protocol;  ///< `HTTP/1.1`
  Headers headers;
  Query query;
  ListenerKind listener = ListenerKind::api;
  std::string peer;  ///< the address of the other end, without its port
  /// What `Content-Length` said; nothing where the body came in chunks or there was none.
  std::optional<std::uint64_t> content_length;
  std::string body;  ///< after `Content-Encoding: gzip | deflate` was undone

  Identity identity;             ///< set by the authenticator
  const Route* route = nullptr;  ///< the one that matched; none for the user interface

  /// A path parameter of the route that matched, percent-decoded (`+` is a plus there).
  /// `{id:int}` and `{id:long}` have been checked: `number` gives them.
  /// HttpError(400) where the text holds a NUL.
  const std::string& parameter(std::string_view name) const;
  std::int64_t number(std::string_view name) const;
  std::vector<std::pair<std::string, std::string>> parameters;  ///< set by the router

  /// The body as a JSON object. HttpError(400) for anything else: no JSON, or a list.
  Value json_object() const;
  const std::string* header(std::string_view name) const { return headers.find(name); }
};

/// Takes a target apart: `path`, `query` (an absolute `http://host/path` as well). False where it is none of HTTP's.
bool set_target(Request& request, std::string_view target);
/// The segments of a path as sent, each percent-decoded, `+` literally; `/a/b/` and `/a/b` give the same two, `//a` begins with an
/// empty one, `/` gives none.
std::vector<std::string> path_segments(std::string_view path);

/// The far end of a body whose parts come later, from any thread: a live log, a long poll, server-sent events.
class BodyStream {
 public:
  virtual ~BodyStream() = default;
  /// Hands on some bytes and does not wait for the network. False where nobody reads any more: then stop.
  virtual bool write(std::string bytes) = 0;
  /// Nothing more comes. A stream whose last reference goes away is finished too.
  virtual void finish() = 0;
  /// How many bytes wait for the network. Back pressure: whoever has much to say writes while this is small, and goes on in `when_ready`.
  virtual std::size_t unsent() const = 0;
  /// Called each time all bytes have been handed to the network, and once when nobody reads any more (then `closed`). From the
  /// I/O thread: it must not block, and hands work to another thread. Replaces the one before.
  virtual void when_ready(std::function<void()> call) = 0;
  virtual bool closed() const = 0;
};

/// An answer. Date, Content-Length, compression and connection headers are the server's business.
struct Response {
  int status = 200;
  std::string content_type;  ///< empty: none
  std::string body;
  Headers headers;
  /// In place of `body`: called on a worker thread after the head has been queued; keeps the stream and returns soon. Sent in
  /// chunks, never compressed. Not called for HEAD.
  std::function<void(std::shared_ptr<BodyStream>)> stream;

  static Response json(const Value& value, int status = 200);
  /// No body and no type: how the original answers what its routing refuses.
  static Response empty(int status);
  static Response bytes(std::string_view content_type, std::string bytes);
};

/// `{"message":"…","status":404}` (spec/rest-api.md 2).
Response error_response(int status, std::string_view message);

/// What a handler throws to answer with an error. Without a message the body is empty.
class HttpError : public std::runtime_error {
 public:
  HttpError(int status, const std::string& message) : std::runtime_error(message), status_(status) {}
  static HttpError empty(int status) { return HttpError(status); }

  int status() const { return status_; }
  Response response() const;

 private:
  explicit HttpError(int status) : std::runtime_error(""), status_(status) {}

  int status_;
};

/// The status that belongs to the kind of an error (spec/execution.md 29): 400 for what the asker can mend (`config`, `parser`, `illegal
/// argument`, limits), 404 `not found`, 409 `conflict`, 403 `access denied`; nothing where it is unexpected, hence 500.
std::optional<int> status_of(const Error& error);

/// How large a body may be, both as sent and after decoding; and the answer where it is larger.
struct BodyLimit {
  std::uint64_t bytes = 16 << 20;
  int status = 413;
  std::string message;  ///< empty: one that names the limit
};

/// What a request is told before its body is read.
struct Admission {
  std::optional<Response> refusal;
  BodyLimit limit;
};

/// What stands behind the listeners. Thread-safe.
class Handler {
 public:
  virtual ~Handler() = default;
  /// The head has come, the body has not: refuse now what needs no body. Called on the I/O thread: it never waits, reads no file and asks
  /// no database. May note things in the request (`identity`, `parameters`).
  virtual Admission admit(Request& request) = 0;
  /// Called on a worker thread, with the body. Throws nothing.
  virtual Response answer(Request& request) = 0;
  /// Adds the headers that every answer has, also one that the server gives by itself. On the I/O thread, like `admit`.
  virtual void add_headers(const Request& request, Response& response) = 0;
};

}  // namespace digdag::server
