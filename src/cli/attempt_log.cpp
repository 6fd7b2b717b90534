#include "cli/attempt_log.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <iterator>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/gzip.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/waiting.h"

namespace digdag::cli {
namespace {

constexpr int most_connections = 10;  ///< that bring nothing new, to a server that went away; then it is polled

/// The level of `2026-01-02 03:04:05.678 +0000 [INFO] …`; empty where the line has none.
std::string_view level_of(std::string_view line) {
  const std::size_t bracket = line.find_first_not_of("0123456789: -+.");
  if (bracket == std::string_view::npos || line[bracket] != '[') return {};
  const std::size_t end = line.find(']', bracket);
  if (end == std::string_view::npos) return {};
  const std::string_view level = line.substr(bracket + 1, end - bracket - 1);
  const bool letters = std::all_of(level.begin(), level.end(), [](unsigned char c) { return std::isalpha(c) != 0; });
  return letters ? level : std::string_view();
}

/// `2026-01-02 03:04:05.678 +0900`
std::optional<Instant> time_of(std::string_view line) {
  constexpr std::size_t length = 29;
  if (line.size() < length || line[19] != '.' || line[23] != ' ') return std::nullopt;
  const auto local = parse_local_time(line.substr(0, 19));
  const auto zone = TimeZone::of(std::string(line.substr(24, 3)) + ":" + std::string(line.substr(27, 2)));
  int millis = 0;
  if (!local || !zone || std::from_chars(line.data() + 20, line.data() + 23, millis).ec != std::errc()) return std::nullopt;
  return zone->instant(*local).plus_millis(millis);
}

/// The files in the order in which they are shown: tasks by their first file, a task's files by time.
Array in_order(Array files) {
  std::map<std::string, std::string> first;  // times of one form sort as texts
  for (const Value& file : files) {
    const auto [place, is_new] = first.try_emplace(text_at(file, "taskName"), text_at(file, "fileTime"));
    if (!is_new) place->second = std::min(place->second, text_at(file, "fileTime"));
  }
  std::stable_sort(files.begin(), files.end(), [&](const Value& a, const Value& b) {
    const std::string task_a = text_at(a, "taskName"), task_b = text_at(b, "taskName");
    return std::tuple(first[task_a], task_a, text_at(a, "fileTime")) < std::tuple(first[task_b], task_b, text_at(b, "fileTime"));
  });
  return files;
}

}  // namespace

std::vector<LogLine> LogLines::of(std::string_view more, bool whole) {
  unfinished_ += more;
  std::vector<LogLine> lines;
  std::size_t begin = 0;
  while (begin < unfinished_.size()) {
    const std::size_t end = unfinished_.find('\n', begin);
    if (end == std::string::npos && !whole) break;
    const std::string_view line = std::string_view(unfinished_).substr(begin, end == std::string::npos ? end : end - begin);
    begin = end == std::string::npos ? unfinished_.size() : end + 1;
    const std::string_view level = level_of(line);
    const auto time = level.empty() ? std::nullopt : time_of(line);
    if (time) time_ = *time;
    if (!level.empty())
      shown_ = (choice_->verbose || (level != "DEBUG" && level != "TRACE")) && (!choice_->since || (time && *time >= *choice_->since));
    if (shown_) lines.push_back({time_, std::string(line)});
  }
  unfinished_.erase(0, begin);
  return lines;
}

AttemptLog::AttemptLog(Remote& remote, const std::string& attempt_id, LogChoice choice)
    : remote_(remote),
      path_("/api/logs/" + client::path_part(attempt_id) + "/files"),
      live_path_("/api/v2/attempts/" + client::path_part(attempt_id) + "/logs"),
      choice_(std::move(choice)) {}

void AttemptLog::read(bool whole, const std::function<void(std::vector<LogLine>)>& show) {
  client::RestClient::Query query;
  if (!choice_.task.empty()) query.emplace_back("task", choice_.task);
  if (!remote_.direct_download()) query.emplace_back("direct_download", "false");
  std::vector<LogLine> merged;
  for (const Value& file : in_order(list_at(remote_.server().get(path_, query), "files"))) {
    const Value* size = file.find("fileSize");
    const std::int64_t bytes = size && size->is_integer() ? size->as_integer() : 0;
    File& known = file_named(text_at(file, "fileName"));
    if (known.size == bytes && !whole) continue;
    known.size = bytes;
    const std::string content = gunzip(download(file));
    const std::string_view more = std::string_view(content).substr(std::min<std::size_t>(known.bytes, content.size()));
    known.bytes += more.size();
    std::vector<LogLine> lines = known.lines.of(more, whole);
    if (choice_.merged)
      std::move(lines.begin(), lines.end(), std::back_inserter(merged));
    else if (!lines.empty())
      show(std::move(lines));
  }
  std::stable_sort(merged.begin(), merged.end(), [](const LogLine& a, const LogLine& b) { return a.time < b.time; });
  if (!merged.empty()) show(std::move(merged));
}

bool AttemptLog::follow(std::int64_t seconds, const std::function<void(std::vector<LogLine>)>& show, const std::function<void()>& live) {
  client::RestClient::Query query;
  if (!choice_.task.empty()) query.emplace_back("task", choice_.task);
  bool is_live = false, is_done = false;
  std::vector<LogLine> first;  // of all tasks, where they are merged
  Pause pause;
  int tries = 0;
  const auto show_line = [&](std::string_view text) {
    const Value line = parse_json(text);
    const std::string state = text_at(line, "state");
    if (state.empty()) {
      std::vector<LogLine> lines = lines_of(line);
      if (!lines.empty()) {
        pause.reset();
        tries = 0;
      }
      if (choice_.merged && !is_live)
        std::move(lines.begin(), lines.end(), std::back_inserter(first));
      else if (!lines.empty())
        show(std::move(lines));
    }
    if (state == "live" && !std::exchange(is_live, true)) {
      std::stable_sort(first.begin(), first.end(), [](const LogLine& a, const LogLine& b) { return a.time < b.time; });
      if (!first.empty()) show(std::exchange(first, {}));
      live();
    }
    is_done = is_done || state == "done";
  };
  const auto begun = std::chrono::steady_clock::now();
  for (; tries < most_connections && !is_done; ++tries) {
    if (tries > 0) pause.wait();
    const std::int64_t past = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - begun).count();
    if (past >= seconds) return true;
    try {
      remote_.server().lines(live_path_, query, seconds - past, show_line);
    } catch (const client::RestError&) {
      break;  // an older server, or one of the original
    } catch (const Error& error) {
      if (error.kind() != "") throw;
    }
  }
  if (!is_done) {
    if (!first.empty()) show(std::move(first));
    return false;
  }
  for (auto& [name, file] : files_) {
    std::vector<LogLine> last = file.lines.of("", true);
    if (!last.empty()) show(std::move(last));
  }
  return true;
}

/// A connection that is made anew brings what is known already.
std::vector<LogLine> AttemptLog::lines_of(const Value& piece) {
  File& known = file_named(text_at(piece, "file"));
  const auto from = static_cast<std::uint64_t>(value_at(piece, "from").as_integer());
  const auto bytes = static_cast<std::uint64_t>(value_at(piece, "bytes").as_integer());
  if (from + bytes <= known.bytes) return {};
  const std::string text = value_at(piece, "text").as_string();
  const std::size_t skipped = from < known.bytes ? std::min<std::size_t>(known.bytes - from, text.size()) : 0;
  known.bytes = from + bytes;
  return known.lines.of(std::string_view(text).substr(skipped), false);
}

std::string AttemptLog::download(const Value& file) {
  const Value* direct = file.find("direct");
  if (direct && direct->is_object()) direct = direct->find("url");  // of very old servers
  if (direct && direct->is_string() && remote_.direct_download()) return remote_.server().download_directly(direct->as_string());
  return remote_.server().download(path_ + "/" + client::path_part(value_at(file, "fileName").as_string()));
}

}  // namespace digdag::cli
