#include "cli/remote.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <iostream>
#include <limits>

#include "base/base64.h"
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "base/version.h"
#include "cli/messages.h"
#include "cli/settings.h"
#include "client/url.h"

namespace digdag::cli {
namespace {

constexpr const char* default_endpoint = "http://127.0.0.1:65432";

std::vector<Option> with_client_options(std::vector<Option> options) {
  using Kind = Option::Kind;
  const std::vector<Option> shared = {
      {{"-e", "--endpoint"},
       Kind::text,
       "URL",
       "server's address: http://HOST[:PORT], https://… or HOST[:PORT] (default: 127.0.0.1:65432)"},
      {{"-H", "--header"}, Kind::list, "KEY=VALUE", "additional HTTP header (use multiple times to set many)"},
      {{"--basic-auth"}, Kind::text, "USER:PASS", "user and password"},
      {{"--disable-version-check"}, Kind::flag, "", "do not ask whether the server takes this version"},
      {{"--disable-cert-validation"}, Kind::flag, "", "accept any TLS certificate"},
  };
  options.insert(options.end(), shared.begin(), shared.end());
  return with_common_options(std::move(options));
}

Log::Options client_log_options(const Arguments& arguments) {
  Log::Options options = log_options(arguments);
  if (!arguments.has("--log-to")) options.console_to_stderr = true;
  return options;
}

void set_header(client::Headers& headers, const std::string& name, std::string value) {
  std::erase_if(headers, [&](const auto& header) { return lower(header.first) == lower(name); });
  headers.emplace_back(name, std::move(value));
}

/// Those of the configuration < -H < --basic-auth.
client::Headers headers_of(const Arguments& arguments, const SystemConfig& system) {
  client::Headers headers;
  for (auto& [name, value] : system.below("client.http.headers.")) set_header(headers, name, value);
  for (auto& [name, value] : key_values(arguments.list("-H"), "-H")) set_header(headers, name, value);
  if (const auto user = arguments.text("--basic-auth")) {
    if (const std::size_t colon = user->find(':'); colon == std::string::npos || colon == 0 || colon + 1 == user->size())
      throw UsageError{"Expected format: username:password"};
    set_header(headers, "Authorization", "Basic " + base64(*user));
  }
  return headers;
}

client::RestSettings settings_of(const Arguments& arguments, const SystemConfig& system, Log& log) {
  const std::string endpoint = client::parse_endpoint(arguments.text_or("-e", system.get_or("client.http.endpoint", default_endpoint)));
  log.write(LogLevel::debug, "main", "cli", "Using endpoint " + client::without_user_info(endpoint));
  return {.endpoint = endpoint,
          .headers = headers_of(arguments, system),
          .insecure = arguments.has("--disable-cert-validation"),
          .warned = [&log](const std::string& text) { log.write(LogLevel::warn, "main", "cli", text); }};
}

std::string version_check_mode_of(const Arguments& arguments) {
  std::string mode = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) ? "interactive" : "batch";
  for (const auto& [key, value] : arguments.dynamic()) {
    if (key == "io.digdag.cli.versionCheckMode") mode = value;
  }
  if (mode != "batch" && mode != "interactive")
    throw Error("illegal argument", "io.digdag.cli.versionCheckMode must be batch or interactive");
  return mode;
}

int run_with_usage(const Invocation& invocation, std::string_view name, const std::vector<Option>& options, WordCount words,
                   const std::function<int(const Arguments&)>& run) {
  const std::string usage = command_usage(*find_command(name), describe_options(options));
  if (asks_for_help(invocation.words)) return print_usage(usage);
  const Arguments arguments(options, invocation.words);
  const std::size_t count = arguments.positional().size();
  if (count < words.least || count > words.most)
    return wrong_words(usage, count < words.least ? std::string(name) + " needs more words" : std::string(name) + " takes fewer words");
  try {
    return run(arguments);
  } catch (const WrongWords& wrong) {
    return wrong_words(usage, wrong.message);
  } catch (const UsageError& error) {
    if (error.usage) std::cerr << usage;
    return report(task_error(error.message));
  }
}

}  // namespace

Remote::Remote(const Arguments& arguments, const std::optional<std::string>& config_before)
    : system_(load_system_config(arguments, config_before)),
      log_(client_log_options(arguments)),
      client_(settings_of(arguments, system_, log_)),
      direct_download_(!system_.boolean_or("client.http.disable_direct_download", false)),
      version_check_mode_(version_check_mode_of(arguments)),
      version_is_fine_(arguments.has("--disable-version-check")) {}

client::RestClient& Remote::server() {
  if (!version_is_fine_) check_version();
  version_is_fine_ = true;
  return client_;
}

void Remote::check_version() {
  const Value answer = client_.get("/api/version/check", {{"client", std::string(version)}});
  const std::string both = " (client: " + std::string(version) + ", server: " + text_at(answer, "serverVersion") + ")";
  if (const Value* compatible = answer.find("apiCompatible"); compatible && compatible->is_boolean() && !compatible->as_boolean())
    throw task_error("This client version is not API compatible to the server" + both + ".")
        .hint("install the digdag that belongs to the server; --disable-version-check tries this one");
  const Value* obsolete = answer.find("upgradeRecommended");
  if (!obsolete || !obsolete->is_boolean() || !obsolete->as_boolean()) return;
  const std::string text = "This client version is obsoleted. It is recommended to upgrade" + both + ".";
  if (version_check_mode_ == "interactive") throw task_error(text).hint("--disable-version-check uses it all the same");
  log_.write(LogLevel::warn, "main", "cli", text);
}

int client_command(const Invocation& invocation, std::string_view name, std::vector<Option> own_options, WordCount words,
                   const std::function<int(const Arguments&, Remote&)>& run) {
  return run_with_usage(invocation, name, with_client_options(std::move(own_options)), words, [&](const Arguments& arguments) {
    Remote remote(arguments, invocation.config);
    return run(arguments, remote);
  });
}

int local_command(const Invocation& invocation, std::string_view name, std::vector<Option> own_options, WordCount words,
                  const std::function<int(const Arguments&)>& run) {
  return run_with_usage(invocation, name, with_common_options(std::move(own_options)), words, run);
}

bool is_id(std::string_view word, std::int64_t most) {
  std::int64_t id = 0;
  const auto [end, failure] = std::from_chars(word.data(), word.data() + word.size(), id);
  return failure == std::errc() && end == word.data() + word.size() && id >= 0 && id <= most;
}

std::string id_word(const std::string& word) {
  if (!is_id(word, std::numeric_limits<std::int64_t>::max()))
    throw UsageError{"For input string: \"" + word + "\"\nhint: an id is a number, as lists such as `digdag attempts` show it", true};
  return word;
}

Value value_at(const Value& answer, std::string_view path) {
  Value value = answer;
  for (const std::string& name : split(path, '.')) {
    const Value* next = value.find(name);
    if (!next) return {};
    value = Value(*next);
  }
  return value;
}

std::string text_at(const Value& answer, std::string_view path) {
  const Value value = value_at(answer, path);
  if (value.is_null()) return "";
  return value.is_string() ? value.as_string() : to_json(value);
}

std::string shown_at(const Value& answer, std::string_view path) { return visible(text_at(answer, path)); }

Array list_at(const Value& answer, std::string_view name) {
  const Value* list = answer.find(name);
  return list && list->is_array() ? list->as_array() : Array();
}

}  // namespace digdag::cli
