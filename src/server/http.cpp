#include "server/http.h"

#include <strings.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/json.h"
#include "base/text.h"

namespace digdag::server {
namespace {

bool same_name(std::string_view a, std::string_view b) { return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0; }

std::string decoded(std::string_view text) { return to_valid_utf8(percent_decode(text)); }

template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  Number number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

template <typename Number>
std::optional<Number> number_of(const std::string* text) {
  if (text == nullptr) return std::nullopt;
  const std::optional<Number> number = parse_number<Number>(*text);
  if (!number) throw HttpError::empty(404);
  return number;
}

}  // namespace

void Headers::set(std::string_view name, std::string_view value) {
  std::erase_if(fields_, [&](const Field& field) { return same_name(field.first, name); });
  add(name, value);
}

const std::string* Headers::find(std::string_view name) const {
  const auto found = std::find_if(fields_.begin(), fields_.end(), [&](const Field& field) { return same_name(field.first, name); });
  return found == fields_.end() ? nullptr : &found->second;
}

std::string Headers::joined(std::string_view name) const {
  std::string all;
  for (const auto& [field, value] : fields_) {
    if (!same_name(field, name)) continue;
    if (!all.empty()) all += ", ";
    all += value;
  }
  return all;
}

Query::Query(std::string_view raw) {
  for (std::string_view rest = raw; !rest.empty();) {
    const std::string_view parameter = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), parameter.size() + 1));
    if (parameter.empty()) continue;
    const auto text = [](std::string_view encoded) { return decoded(replace_all(std::string(encoded), "+", " ")); };
    const std::size_t equals = std::min(parameter.find('='), parameter.size());
    parameters_.emplace_back(text(parameter.substr(0, equals)), text(parameter.substr(std::min(equals + 1, parameter.size()))));
  }
}

const std::string* Query::find(std::string_view name) const {
  const auto found = std::find_if(parameters_.begin(), parameters_.end(), [&](const auto& parameter) { return parameter.first == name; });
  return found == parameters_.end() ? nullptr : &found->second;
}

bool Query::has(std::string_view name) const { return find(name) != nullptr; }

std::optional<std::string> Query::text(std::string_view name) const {
  const std::string* found = find(name);
  if (found == nullptr) return std::nullopt;
  if (found->find('\0') != std::string::npos)
    throw HttpError(400, "Parameter '" + std::string(name) + "' must not contain a NUL character");
  return *found;
}

std::optional<std::int32_t> Query::int32(std::string_view name) const { return number_of<std::int32_t>(find(name)); }

std::optional<std::int64_t> Query::int64(std::string_view name) const { return number_of<std::int64_t>(find(name)); }

bool Query::flag(std::string_view name) const {
  const std::string* found = find(name);
  return found != nullptr && same_name(*found, "true");
}

std::vector<std::string> Query::all(std::string_view name) const {
  std::vector<std::string> values;
  for (const auto& [key, value] : parameters_)
    if (key == name) values.push_back(value);
  return values;
}

const std::string& Request::parameter(std::string_view name) const {
  const auto found = std::find_if(parameters.begin(), parameters.end(), [&](const auto& one) { return one.first == name; });
  if (found == parameters.end()) throw std::logic_error("the route has no parameter " + std::string(name));
  if (found->second.find('\0') != std::string::npos) throw HttpError(400, "The path must not contain a NUL character");
  return found->second;
}

std::int64_t Request::number(std::string_view name) const {
  const std::optional<std::int64_t> parsed = parse_number<std::int64_t>(parameter(name));
  if (!parsed) throw HttpError::empty(404);
  return *parsed;
}

Value Request::json_object() const {
  if (is_blank(body)) throw HttpError(400, "The request body must be a JSON object, but it is empty");
  Value value = parse_json(body);
  if (!value.is_object()) throw HttpError(400, "The request body must be a JSON object");
  return value;
}

bool set_target(Request& request, std::string_view target) {
  request.target = target;
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    target.remove_prefix(scheme.size());
    target.remove_prefix(std::min(target.find_first_of("/?"), target.size()));
    if (!target.starts_with('/')) return false;
  }
  if (!target.starts_with('/') && target != "*") return false;
  target = target.substr(0, target.find('#'));
  const std::size_t question = target.find('?');
  request.path = target.substr(0, question);
  if (question != std::string_view::npos) request.query = Query(target.substr(question + 1));
  return true;
}

std::vector<std::string> path_segments(std::string_view path) {
  std::vector<std::string> segments;
  if (path.starts_with('/')) path.remove_prefix(1);
  if (path.empty()) return segments;
  for (const std::string& segment : split(path, '/')) segments.push_back(decoded(segment));
  if (segments.back().empty()) segments.pop_back();
  return segments;
}

Response Response::json(const Value& value, int status) {
  return {.status = status, .content_type = "application/json", .body = to_json(value), .headers = {}, .stream = {}};
}

Response Response::empty(int status) { return {.status = status, .content_type = {}, .body = {}, .headers = {}, .stream = {}}; }

Response Response::bytes(std::string_view content_type, std::string bytes) {
  return {.status = 200, .content_type = std::string(content_type), .body = std::move(bytes), .headers = {}, .stream = {}};
}

Response error_response(int status, std::string_view message) {
  return Response::json(Value::object({{"message", to_valid_utf8(message)}, {"status", status}}), status);
}

Response HttpError::response() const { return *what() == '\0' ? Response::empty(status_) : error_response(status_, what()); }

std::optional<int> status_of(const Error& error) {
  static constexpr std::array<std::pair<std::string_view, int>, 13> statuses{{
      {"config", 400},
      {"parser", 400},
      {"syntax", 400},
      {"illegal argument", 400},
      {"model validation", 400},
      {"pattern syntax", 400},
      {"no match", 400},
      {"multiple task match", 400},
      {"task limit exceeded", 400},
      {"attempt limit exceeded", 400},
      {"access denied", 403},
      {"not found", 404},
      {"conflict", 409},
  }};
  const auto found = std::find_if(statuses.begin(), statuses.end(), [&](const auto& one) { return one.first == error.kind(); });
  return found == statuses.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace digdag::server
