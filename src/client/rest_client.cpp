#include "client/rest_client.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <thread>

#include "base/json.h"
#include "base/text.h"
#include "base/version.h"
#include "client/url.h"

namespace digdag::client {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int most_tries = 10;
constexpr std::size_t most_line_bytes = 64 << 20;
constexpr std::chrono::milliseconds first_wait{2};
/// Longer than this a server is not tried again: where it does not even refuse, each try takes a while.
constexpr std::chrono::seconds patience{30};
constexpr std::size_t most_shown_bytes = 4000;
constexpr int no_content = 204;

bool is_passing(int status) { return status >= 500 || status == 408 || status == 429; }

std::string prefix_of(int status) {
  switch (status) {
    case 404: return "Resource not found: ";
    case 409: return "Request conflicted: ";
    case 422: return "Invalid option: ";
    default: return "Status code " + std::to_string(status) + ": ";
  }
}

std::string_view reason_phrase(int status) {
  static constexpr std::array<std::pair<int, std::string_view>, 14> phrases = {{{400, "Bad Request"},
                                                                                {401, "Unauthorized"},
                                                                                {403, "Forbidden"},
                                                                                {404, "Not Found"},
                                                                                {405, "Method Not Allowed"},
                                                                                {406, "Not Acceptable"},
                                                                                {408, "Request Timeout"},
                                                                                {409, "Conflict"},
                                                                                {413, "Payload Too Large"},
                                                                                {429, "Too Many Requests"},
                                                                                {500, "Internal Server Error"},
                                                                                {502, "Bad Gateway"},
                                                                                {503, "Service Unavailable"},
                                                                                {504, "Gateway Timeout"}}};
  const auto found = std::find_if(phrases.begin(), phrases.end(), [&](const auto& phrase) { return phrase.first == status; });
  return found == phrases.end() ? "" : found->second;
}

std::string shown(int status, const std::string& body) {
  if (is_blank(body)) return "HTTP " + std::to_string(status) + " " + std::string(reason_phrase(status));
  return std::string(first_bytes(to_valid_utf8(trim(body)), most_shown_bytes));
}

/// What can be done about an answer, where the original's words do not say it.
std::string remedy_for(int status, const std::string& body) {
  const auto says = [&](std::string_view text) { return body.find(text) != std::string::npos; };
  if (status == 401) return "give --basic-auth USER:PASS, or client.http.headers.authorization = Basic … in the client's configuration";
  if (says("Too many attempts running. Limit: "))
    return "wait until one ends; executor.attempt_max_run of the server's configuration allows more";
  if (says("Size of the uploaded archive file exceeds limit"))
    return "leave files out with .digdagignore; api.max_archive_total_size_limit of the server's configuration allows more";
  if (status == 409 && says("Resource already exists: revision=")) return "a revision never changes: give the new one another name with -r";
  return "";
}

std::string named(const HttpRequest& request) { return request.method + " " + without_user_info(request.url); }

RestError refused(const HttpRequest& request, const HttpResponse& response) { return {response.status, response.body, named(request)}; }

/// A proxy or another program may answer 200 with anything: what is no object says nothing about the request, least of all that it was
/// done.
Value json_of(const HttpRequest& request, const HttpResponse& response) {
  if (response.status == no_content) return {};
  const auto failure = [&](const std::string& what) {
    return Error("", what).because(task_error(named(request))).hint("is there a digdag server behind this endpoint?");
  };
  if (is_blank(response.body)) throw failure("The answer is empty");
  const std::string begin(first_bytes(to_valid_utf8(response.body), 200));
  Value answer;
  try {
    answer = parse_json(response.body);
  } catch (const Error& error) {
    throw failure("The answer is no JSON: " + begin);
  }
  if (!answer.is_object()) throw failure("The answer is no JSON object: " + begin);
  return answer;
}

}  // namespace

std::string parse_endpoint(std::string_view text) {
  const std::size_t scheme_end = text.find("://");
  std::string url(text);
  if (scheme_end == std::string_view::npos)
    url.insert(0, "http://");
  else if (const std::string scheme = lower(text.substr(0, scheme_end)); scheme != "http" && scheme != "https")
    throw task_error("Endpoint must start with http:// or https://: " + without_user_info(text));
  while (url.ends_with('/')) url.pop_back();
  if (const Url parts = parse_url(url); parts.rest.find_first_of("?#") != std::string::npos)
    throw task_error("Endpoint must have neither ? nor #: " + without_user_info(text));
  return url;
}

RestError::RestError(int status, std::string body, const std::string& request)
    : Error(Error("", prefix_of(status) + shown(status, body)).because(task_error(request)).hint(remedy_for(status, body))),
      status_(status),
      body_(std::move(body)) {}

Value RestClient::get(std::string_view path, const Query& query) {
  const HttpRequest wanted = request("GET", url_of(path, query));
  return json_of(wanted, send_repeatedly(wanted));
}

std::string RestClient::question(std::string_view path, const Query& query) const { return named(request("GET", url_of(path, query))); }

Value RestClient::post(std::string_view path, const Value& body) { return send_json("POST", path, body); }

Value RestClient::put(std::string_view path, const Value& body) { return send_json("PUT", path, body); }

RestClient::Pushed RestClient::put_archive(std::string_view path, const Query& query, std::string bytes) {
  HttpRequest wanted = request("PUT", url_of(path, query));
  wanted.headers.emplace_back("Content-Type", "application/gzip");
  wanted.body = std::move(bytes);
  wanted.has_body = true;
  const HttpResponse response = send(wanted);
  return {json_of(wanted, response), response.header("digdag-missed-sessions").value_or("")};
}

Value RestClient::remove(std::string_view path) {
  const HttpRequest wanted = request("DELETE", url_of(path, {}));
  return json_of(wanted, send(wanted));
}

std::string RestClient::download(std::string_view path, const Query& query) {
  HttpRequest wanted = request("GET", url_of(path, query));
  wanted.follow_redirects = true;
  wanted.max_redirects = 10;
  for (const auto& header : settings_.headers) wanted.private_headers.push_back(header.first);
  return send_repeatedly(wanted).body;
}

void RestClient::lines(std::string_view path, const Query& query, std::int64_t seconds, const std::function<void(std::string_view)>& line) {
  HttpRequest wanted = request("GET", url_of(path, query));
  wanted.timeout_seconds = seconds;
  std::string unfinished;
  std::exception_ptr failure;  // it must not pass through libcurl
  std::atomic<bool> failed = false;
  wanted.stopped = &failed;
  wanted.receive = [&](std::string_view piece) {
    if (failed) return;
    unfinished += piece;
    std::size_t begin = 0;
    try {
      for (std::size_t end = 0; (end = unfinished.find('\n', begin)) != std::string::npos; begin = end + 1)
        line(std::string_view(unfinished).substr(begin, end - begin));
    } catch (...) {
      failure = std::current_exception();
      failed = true;
    }
    unfinished.erase(0, begin);
    if (unfinished.size() > most_line_bytes && !failed) {
      failure = std::make_exception_ptr(Error("", "A line of the answer is longer than 64 MiB").because(task_error(named(wanted))));
      failed = true;
    }
  };
  try {
    send(wanted);
  } catch (const Error&) {
    if (!failure) throw;
  }
  if (failure) std::rethrow_exception(failure);
}

std::string RestClient::download_directly(const std::string& url) {
  HttpRequest wanted = request("GET", url);
  wanted.headers.clear();
  wanted.follow_redirects = true;
  return send_repeatedly(wanted).body;
}

std::string RestClient::url_of(std::string_view path, const Query& query) const {
  std::string url = settings_.endpoint + std::string(path);
  char before = '?';
  for (const auto& [name, value] : query) {
    url += before + name + "=" + form_urlencode(value);
    before = '&';
  }
  return url;
}

HttpRequest RestClient::request(std::string method, std::string url) const {
  HttpRequest wanted;
  wanted.method = std::move(method);
  wanted.url = std::move(url);
  wanted.headers = settings_.headers;
  wanted.user_agent = "DigdagClient/" + std::string(version);
  wanted.names_accepted_types = false;  // as the original; servers answer JSON
  wanted.timeout_seconds = INT64_MAX;
  wanted.connect_timeout_seconds = 30;
  wanted.idle_timeout_seconds = 300;
  wanted.follow_redirects = false;
  wanted.insecure = settings_.insecure;
  wanted.most_response_bytes = SIZE_MAX;
  wanted.needed_by = "digdag";
  wanted.proxy_for = [this](const std::string& target) {
    std::string warning;
    auto proxy = proxy_from_environment(target, &warning);
    if (!warning.empty() && settings_.warned) settings_.warned(warning);
    return proxy;
  };
  return wanted;
}

HttpResponse RestClient::send(const HttpRequest& wanted) {
  HttpRequest kept = wanted;
  kept.connections = &connections_;
  HttpResponse response;
  try {
    response = http_request(kept);
  } catch (const Error& error) {
    if (error.kind() != "io") throw;
    throw Error("", "cannot reach " + without_user_info(wanted.url) + " (" + error.message() + ")")
        .hint("is the server running? -e URL or client.http.endpoint in the configuration names another one");
  }
  if (response.status < 200 || response.status >= 300) throw refused(wanted, response);
  return response;
}

HttpResponse RestClient::send_repeatedly(const HttpRequest& wanted) {
  const auto begun = Clock::now();
  auto wait = first_wait;
  for (int tries = 1;; ++tries) {
    const auto is_last = [&] { return tries == most_tries || Clock::now() - begun + wait > patience; };  // a try itself may last
    try {
      return send(wanted);
    } catch (const RestError& error) {
      if (is_last() || !is_passing(error.status())) throw;
    } catch (const Error&) {
      if (is_last()) throw;
    }
    std::this_thread::sleep_for(wait);
    wait *= 2;
  }
}

Value RestClient::send_json(std::string method, std::string_view path, const Value& body) {
  HttpRequest wanted = request(std::move(method), url_of(path, {}));
  wanted.headers.emplace_back("Content-Type", "application/json");
  wanted.body = to_json(body);
  wanted.has_body = true;
  return json_of(wanted, send(wanted));
}

std::string path_part(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  constexpr std::string_view harmless = "-._~+@=";  // as the original sends them in the names of log files
  std::string part;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || harmless.find(c) != std::string_view::npos) {
      part += c;
    } else {
      part += '%';
      part += digits[static_cast<unsigned char>(c) >> 4];
      part += digits[static_cast<unsigned char>(c) & 15];
    }
  }
  return part;
}

}  // namespace digdag::client
