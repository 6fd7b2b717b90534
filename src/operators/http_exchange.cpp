#include "operators/http_exchange.h"

#include <algorithm>

#include "base/base64.h"
#include "base/json.h"
#include "base/json_pointer.h"
#include "base/text.h"
#include "base/version.h"
#include "client/url.h"
#include "operators/http_content.h"

namespace digdag::operators {
namespace {

constexpr std::int64_t most_wait_seconds = 30;
constexpr std::size_t summary_units = 200;
constexpr std::int64_t default_most_content = 65536, most_characters = std::int64_t{1} << 60;

bool is_idempotent(const std::string& method) { return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "TRACE"; }

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  return text;
}

std::string with_query(std::string uri, const std::string& query) {
  if (query.empty()) return uri;
  const std::size_t fragment = std::min(uri.find('#'), uri.size());
  const bool has_query = uri.find('?') < fragment;
  return uri.insert(fragment, (has_query ? "&" : "?") + query);
}

/// Keys are not templates, so only those that stand in the task as written may name secrets.
Value with_secret_keys(const Value& value, const Value* written, const std::function<std::string(const std::string&)>& expand) {
  if (value.is_array()) {
    Array array;
    for (std::size_t i = 0; i < value.as_array().size(); ++i) {
      const bool same = written != nullptr && written->is_array() && i < written->as_array().size();
      array.push_back(with_secret_keys(value.as_array()[i], same ? &written->as_array()[i] : nullptr, expand));
    }
    return array;
  }
  if (!value.is_object()) return value;
  Object object;
  for (const auto& member : value.as_object()) {
    const Value* below = written != nullptr ? written->find(member.key) : nullptr;
    object.set(below != nullptr ? expand(member.key) : member.key, with_secret_keys(member.value, below, expand), member.position);
  }
  return object;
}

/// The places of `${command:key}` in a text.
dig::SecretSpans spans_of(const std::string& text) {
  dig::SecretSpans spans;
  for (std::size_t at = text.find("${"); at != std::string::npos; at = text.find("${", at + 2)) {
    const std::size_t end = text.find('}', at);
    const std::size_t colon = text.find(':', at);
    if (end != std::string::npos && colon < end) spans.emplace_back(at, end + 1 - at);
  }
  return spans;
}

}  // namespace

HttpExchange::HttpExchange(TaskContext& task, const Rules& rules)
    : task_(task),
      rules_(rules),
      system_(*task.system),
      most_content_(static_cast<std::size_t>(
          std::clamp<std::int64_t>(system_.integer_or(rules.most_content_key, default_most_content), 0, most_characters))),
      merged_(params_with_defaults(task, "http")),
      options_(merged_) {
  request_.method = upper(options_.string_or("method", "GET"));
  request_.timeout_seconds = options_.long_integer_or("timeout", 30);
  request_.follow_redirects = options_.boolean_or("follow_redirects", true);
  request_.max_redirects = static_cast<int>(system_.integer_or("config.http.max_redirects", 8));
  request_.insecure = options_.boolean_or("insecure", false);
  request_.user_agent = system_.get_or("config.http.user_agent", "Digdag/" + std::string(version));
  request_.most_response_bytes = most_content_ * 4 + 4;  // no encoding needs more for a character
  request_.allowed_hosts = system_.list(rules_.allowed_hosts_key);
  request_.denied_cidrs = system_.list("config.http.denied_cidrs");
  request_.stopped = task.stopped;
  request_.needed_by = rules_.operator_name;
  retry_ = options_.boolean_or("retry", is_idempotent(request_.method));
  read_uri();
  read_headers();
  read_content();
  read_proxy();
}

std::optional<std::string> HttpExchange::secret(std::string_view key) const { return task_.secrets ? task_.secrets(key) : std::nullopt; }

Value HttpExchange::option_with_secrets(std::string_view key) const {
  const std::string own = pointer_to("", key), nested = pointer_to("/http", key);
  const Value* defaults = task_.config.find("http");
  const bool has_own = task_.config.find(key) != nullptr;
  const bool has_default = defaults != nullptr && defaults->find(key) != nullptr;
  Value value = has_own ? task_.with_secrets_in(own) : has_default ? task_.with_secrets_in(nested) : Value();
  if (has_own && has_default && value.is_object()) {
    const Value more = task_.with_secrets_in(nested);
    if (more.is_object()) merge_default(value, more);
  }
  return with_secret_keys(value, task_.unevaluated_local.find(key), [this](const std::string& name) {
    return dig::expand_secrets(name, spans_of(name), [this](std::string_view secret_key) { return task_.secret(secret_key); });
  });
}

void HttpExchange::read_uri() {
  const auto hidden = rules_.secret_uri ? secret("http.uri") : std::nullopt;
  request_.hidden_url = hidden.has_value();
  const std::string uri = hidden ? *hidden : task_.with_secrets("/_command");
  const Value query = option_with_secrets("query");
  request_.url = query.is_null() ? uri : with_query(uri, http_query(query));
  try {
    const client::Url parsed = client::parse_url(request_.url);
    shown_uri_ = hidden ? parsed.scheme + "://***" : client::without_user_info(request_.url);
  } catch (const Error&) {
    if (hidden) throw Error("illegal argument", "The secret http.uri is not a URI");
    throw;
  }
}

void HttpExchange::read_headers() {
  if (const auto authorization = secret("http.authorization")) {
    request_.headers.emplace_back("Authorization", *authorization);
  } else if (const auto user = secret("http.user")) {
    const std::string token = base64(*user + ':' + secret("http.password").value_or(""));
    if (task_.hide) task_.hide(token);
    request_.headers.emplace_back("Authorization", "Basic " + token);
  }
  const Value headers = option_with_secrets("headers");
  if (headers.is_null()) return;
  if (!headers.is_array()) throw unexpected_type("array type", "headers", headers);
  const Array& written = options_.find("headers")->as_array();
  for (std::size_t i = 0; i < headers.as_array().size(); ++i) {
    const Value& header = headers.as_array()[i];
    const bool good = header.is_object() && header.as_object().size() == 1 && header.as_object()[0].value.is_scalar();
    if (!good) throw config_error("Invalid header: " + to_json(header)).hint("write each header as its own list item: - Name: value");
    const auto& member = header.as_object()[0];
    request_.headers.emplace_back(member.key, member.value.is_null() ? "" : convert_to_string(member.value, member.key));
    if (!(header == written[i])) request_.private_headers.push_back(member.key);  // it holds a secret
  }
}

void HttpExchange::read_content() {
  const Value content = option_with_secrets("content");
  if (content.is_null()) return;
  HttpContent made = http_content(content, options_.optional_string("content_format"), options_.optional_string("content_type"));
  request_.body = std::move(made.body);
  request_.has_body = true;
  const bool has_type = std::any_of(request_.headers.begin(), request_.headers.end(),
                                    [](const auto& header) { return lower(header.first) == "content-type"; });
  if (!has_type) request_.headers.emplace_back("Content-Type", std::move(made.type));
}

void HttpExchange::read_proxy() {
  const auto proxy_of = [](const Config& config) {
    return client::HttpProxy{.host = config.string("host"),
                             .port = static_cast<int>(config.integer("port")),
                             .tls = config.boolean_or("tls", false),
                             .user = {},
                             .password = {}};
  };
  const Value own = options_.nested_or_empty("proxy");
  if (system_.boolean_or("config.http.allow_user_proxy", false) && Config(own).boolean_or("enabled", false)) {
    request_.proxy_for = [proxy = proxy_of(Config(own))](const std::string&) { return proxy; };
    return;
  }
  if (system_.boolean_or("config.http.proxy.enabled", false)) {
    Value of_system = Value::object();
    for (const auto& [key, value] : system_.below("config.http.proxy.")) of_system.mutable_object().set(key, value);
    request_.proxy_for = [proxy = proxy_of(Config(of_system))](const std::string&) { return proxy; };
    return;
  }
  request_.proxy_for = [this](const std::string& url) {
    std::string warning;
    auto proxy = client::proxy_from_environment(url, &warning);
    if (!warning.empty()) task_.warn(warning);
    return proxy;
  };
}

std::variant<client::HttpResponse, RetryLater> HttpExchange::perform() {
  task_.info("Sending HTTP request: " + request_.method + ' ' + shown_uri_);
  client::HttpResponse response;
  try {
    response = client::http_request(request_);
  } catch (const Error& error) {
    if (error.kind() != "io") throw;
    const Error failure("runtime", error.message());
    if (!retry_ || (task_.stopped != nullptr && *task_.stopped)) throw failure;
    return again_later(failure);
  }
  const int status = response.status;
  task_.info("Received HTTP response: " + request_.method + ' ' + shown_uri_ + ": " + std::to_string(status) + ' ' + http_reason(status));
  const bool success = (status >= 200 && status < 300) || (status >= 300 && status < 400 && !request_.follow_redirects);
  if (success) return response;
  const Error error = status_error(response);
  if (response.redirect_failed || !(status == 408 || status == 429 || (retry_ && !(status >= 400 && status < 500)))) throw error;
  return again_later(error);
}

Error HttpExchange::status_error(const client::HttpResponse& response) const {
  const int status = response.status;
  const char* what = status >= 400 && status < 500   ? "HTTP 4XX Client Error: "
                     : status >= 500 && status < 600 ? "HTTP 5XX Server Error: "
                                                     : "Unexpected HTTP status: ";
  Error error = task_error(what + request_.method + ' ' + shown_uri_ + " - " + std::to_string(status) + ' ' + http_reason(status) +
                           body_summary(response));
  if (!response.redirect_failed) return error;
  return std::move(error).hint(response.header("location") ? "more than " + std::to_string(request_.max_redirects) + " redirects"
                                                           : "the redirect has no Location");
}

std::string HttpExchange::body_summary(const client::HttpResponse& response) const {
  if (response.redirect_failed || response.body_bytes == 0) return "";
  if (response.truncated || response.body_bytes > most_content_) return ": (too long response body)";
  const std::string text = client::decode_text(response.body, "UTF-8");
  return ": " + (utf16_length(text) <= summary_units ? text : first_utf16_units(text, summary_units - 3) + "...");
}

RetryLater HttpExchange::again_later(const Error& error) const {
  const Value request_state = Config(task_.state).nested_or_empty("request");
  const std::int64_t tries = std::clamp<std::int64_t>(Config(request_state).integer_or("retry", 0), 0, 1 << 30);
  const auto most = Config(task_.local).optional_integer("max_retries");
  if (most && tries >= *most) throw error;
  const std::int64_t seconds = tries < 5 ? std::int64_t{1} << tries : most_wait_seconds;
  task_.warn("HTTP request failed. " + error.message() + ": retrying in " + std::to_string(seconds) + " seconds");
  Value state = task_.state;
  state.mutable_object().set("request", Value::object({{"operation", Value::object()}, {"retry", tries + 1}}));
  return {seconds * 1000, std::move(state)};
}

std::string HttpExchange::content_of(const client::HttpResponse& response) const {
  std::string text = response.truncated ? std::string() : client::body_text(response);
  const std::size_t units = response.truncated ? response.body_bytes : utf16_length(text);
  if (units > most_content_)
    throw task_error("Response content too large: " + std::to_string(units) + " > " + std::to_string(most_content_));
  return text;
}

}  // namespace digdag::operators
