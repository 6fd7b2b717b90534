#include <array>
#include <cstdio>

#include "base/json.h"
#include "base/text.h"
#include "server/access_log.h"

namespace digdag::server {
namespace {

constexpr std::string_view json_pattern =
    "json{time:%{time,yyyy-MM-dd'T'HH:mm:ss.SSSZ} host:%h forwardedfor:%{i,X-Forwarded-For} method:%m uri:%U%q protocol:%H status:%s "
    "size:%B "
    "referer:%{i,Referer} ua:%{i,User-Agent} vhost:%{i,Host} reqtime:%T}";
constexpr std::string_view common_pattern = "%h %l %u %t \"%r\" %s %b";
constexpr std::array month_names{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

Error bad_pattern(const std::string& why) {
  return config_error("server.access-log.pattern: " + why)
      .hint("it is json, json{key:%m …}, common, combined, or a text with attributes such as %h %t \"%r\" %s %b %{i,User-Agent}");
}

std::string padded(std::int64_t number, std::size_t digits) {
  const std::string text = std::to_string(number);
  return text.size() < digits ? std::string(digits - text.size(), '0') + text : text;
}

/// `21/Nov/2026:00:19:19 +0000`, in brackets.
std::string apache_time(Instant instant, const TimeZone& zone) {
  const LocalTime time = zone.local(instant);
  return '[' + padded(time.day, 2) + '/' + month_names[static_cast<std::size_t>(time.month - 1)] + '/' + padded(time.year, 4) + ':' +
         padded(time.hour, 2) + ':' + padded(time.minute, 2) + ':' + padded(time.second, 2) + ' ' + format_offset(instant, zone) + ']';
}

/// The letters of Java's SimpleDateFormat that logs use.
std::string field_of_time(char letter, std::size_t length, Instant instant, const TimeZone& zone) {
  const LocalTime time = zone.local(instant);
  switch (letter) {
    case 'y': return length == 2 ? padded(time.year % 100, 2) : padded(time.year, length);
    case 'M': return length > 2 ? month_names[static_cast<std::size_t>(time.month - 1)] : padded(time.month, length);
    case 'd': return padded(time.day, length);
    case 'H': return padded(time.hour, length);
    case 'm': return padded(time.minute, length);
    case 's': return padded(time.second, length);
    case 'S': return padded((instant.millis % 1000 + 1000) % 1000, length);
    case 'Z': return format_offset(instant, zone);
    default: throw bad_pattern(std::string("the time has an unknown letter '") + letter + "' (known: y M d H m s S Z)");
  }
}

std::string formatted_time(std::string_view pattern, Instant instant, const TimeZone& zone) {
  std::string text;
  for (std::size_t i = 0; i < pattern.size();) {
    const char c = pattern[i];
    if (c == '\'') {
      const std::size_t end = std::min(pattern.find('\'', i + 1), pattern.size());
      text += end == i + 1 ? "'" : std::string(pattern.substr(i + 1, end - i - 1));
      i = end + 1;
    } else if (('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z')) {
      const std::size_t length = std::min(pattern.find_first_not_of(c, i), pattern.size()) - i;
      text += field_of_time(c, length, instant, zone);
      i += length;
    } else {
      text += c;
      ++i;
    }
  }
  return text;
}

std::optional<std::string> copied(const std::string* text) { return text == nullptr ? std::nullopt : std::optional(*text); }

std::string query_of(const Request& request) {
  const std::size_t question = request.target.find('?');
  return question == std::string::npos ? std::string() : request.target.substr(question);
}

std::string seconds_text(std::chrono::microseconds duration) {
  const std::int64_t millis = duration.count() / 1000;
  return std::to_string(millis / 1000) + '.' + padded(millis % 1000, 3);
}

}  // namespace

AccessLogFormat::AccessLogFormat(std::string_view pattern, TimeZone zone) : zone_(std::move(zone)) {
  if (pattern == "json") pattern = json_pattern;
  if (!pattern.starts_with("json{")) {
    const std::string combined = std::string(common_pattern) + " \"%{i,Referer}\" \"%{i,User-Agent}\"";
    parts_ = parts_of(pattern == "common" ? common_pattern : pattern == "combined" ? std::string_view(combined) : pattern);
    return;
  }
  if (!pattern.ends_with('}')) throw bad_pattern("`json{` has no `}` at its end");
  for (const std::string& member : split(pattern.substr(5, pattern.size() - 6), ' ')) {
    if (member.empty()) continue;
    const std::size_t colon = member.find(':');
    if (colon == std::string::npos) throw bad_pattern("'" + member + "' has no colon");
    json_.emplace_back(member.substr(0, colon), parts_of(std::string_view(member).substr(colon + 1)));
  }
}

AccessLogFormat::Parts AccessLogFormat::parts_of(std::string_view pattern) const {
  Parts parts;
  std::string literal;
  const auto end_literal = [&] {
    if (!literal.empty()) parts.emplace_back([text = literal](const Exchange&) { return std::optional(text); });
    literal.clear();
  };
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '%') {
      literal += pattern[i];
    } else if (pattern.substr(i, 2) == "%%") {
      literal += pattern[++i];
    } else if (pattern.substr(i, 2) == "%{") {
      const std::size_t end = pattern.find('}', i);
      if (end == std::string_view::npos) throw bad_pattern("`%{` has no `}`");
      end_literal();
      parts.push_back(named_attribute(pattern.substr(i + 2, end - i - 2)));
      i = end;
    } else {
      end_literal();
      parts.push_back(attribute(pattern.substr(i + 1, 1)));
      ++i;
    }
  }
  end_literal();
  return parts;
}

AccessLogFormat::Part AccessLogFormat::attribute(std::string_view letter) const {
  using Text = std::optional<std::string>;
  switch (letter.empty() ? ' ' : letter[0]) {
    case 'a':
    case 'h': return [](const Exchange& exchange) { return Text(exchange.request.peer); };
    case 'l': return [](const Exchange&) { return Text(); };
    case 'u':
      return
          [](const Exchange& exchange) { return exchange.request.identity.user.empty() ? Text() : Text(exchange.request.identity.user); };
    case 't': return [zone = zone_](const Exchange& exchange) { return Text(apache_time(exchange.finished, zone)); };
    case 'r':
      return [](const Exchange& exchange) {
        return Text(exchange.request.method + ' ' + exchange.request.target + ' ' + exchange.request.protocol);
      };
    case 'm': return [](const Exchange& exchange) { return Text(exchange.request.method); };
    case 'U': return [](const Exchange& exchange) { return Text(exchange.request.path); };
    case 'q': return [](const Exchange& exchange) { return Text(query_of(exchange.request)); };
    case 'H': return [](const Exchange& exchange) { return Text(exchange.request.protocol); };
    case 's': return [](const Exchange& exchange) { return Text(std::to_string(exchange.status)); };
    case 'b':
      return [](const Exchange& exchange) { return exchange.bytes_sent == 0 ? Text("-") : Text(std::to_string(exchange.bytes_sent)); };
    case 'B': return [](const Exchange& exchange) { return Text(std::to_string(exchange.bytes_sent)); };
    case 'v': return [](const Exchange& exchange) { return copied(exchange.request.header("Host")); };
    case 'T': return [](const Exchange& exchange) { return Text(seconds_text(exchange.duration)); };
    case 'D': return [](const Exchange& exchange) { return Text(std::to_string(exchange.duration.count() / 1000)); };
    default: throw bad_pattern("unknown attribute '%" + std::string(letter) + "'");
  }
}

AccessLogFormat::Part AccessLogFormat::named_attribute(std::string_view text) const {
  const std::size_t comma = std::min(text.find(','), text.size());
  const std::string_view kind = text.substr(0, comma);
  std::string name(text.substr(std::min(comma + 1, text.size())));
  if (kind == "i") return [name](const Exchange& exchange) { return copied(exchange.request.header(name)); };
  if (kind == "o") return [name](const Exchange& exchange) { return copied(exchange.answer_headers.find(name)); };
  if (kind == "time") {
    formatted_time(name, Instant{}, zone_);  // refuses what it does not know
    return [name, zone = zone_](const Exchange& exchange) { return std::optional(formatted_time(name, exchange.finished, zone)); };
  }
  throw bad_pattern("unknown attribute '%{" + std::string(text) + "}'");
}

std::string AccessLogFormat::line(const Exchange& exchange) const {
  if (json_.empty()) {
    std::string line;
    for (const Part& part : parts_) {
      const std::optional<std::string> text = part(exchange);
      line += text && !text->empty() ? visible(to_valid_utf8(*text)) : text ? "" : "-";
    }
    return line + '\n';
  }
  Object object;
  for (const auto& [key, parts] : json_) {
    std::optional<std::string> value;
    for (const Part& part : parts)
      if (const std::optional<std::string> text = part(exchange)) value = value.value_or("") + *text;
    object.set(key, value ? Value(to_valid_utf8(*value)) : Value());
  }
  return to_json(Value(std::move(object))) + '\n';
}

}  // namespace digdag::server
