#include <iostream>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "base/time.h"
#include "base/value.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/messages.h"
#include "cli/settings.h"
#include "dig/script_worker.h"
#include "dig/template.h"

namespace digdag::cli {
namespace {

constexpr const char* usage =
    "Usage: digdag eval [options...] [--] TEXT...\n"
    "  Options:\n"
    "    -P, --params-file FILE           parameters from a YAML or JSON file\n"
    "    -p, --param KEY=VALUE            a parameter (may be repeated)\n"
    "        --timezone TZ                time zone of dates (default: UTC)\n";

struct Request {
  std::optional<std::string> file;
  std::vector<std::string> params;
  std::string timezone = "UTC";
  std::vector<std::string> texts;
};

/// The words as they are: a TEXT keeps its blanks and quotes.
Request parse(const std::vector<std::string>& words) {
  Request request;
  std::size_t i = 0;
  const auto value = [&](const std::string& option) -> const std::string& {
    if (i + 1 >= words.size()) throw task_error("Expected a value after parameter " + option);
    return words[++i];
  };
  for (; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--") {
      request.texts.insert(request.texts.end(), words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end());
      break;
    }
    if (word == "-P" || word == "--params-file") {
      request.file = value(word);
    } else if (word == "-p" || word == "--param") {
      request.params.push_back(value(word));
    } else if (word == "--timezone") {
      request.timezone = value(word);
    } else if (word.size() > 1 && word.starts_with('-')) {
      throw task_error("Unknown option: " + word + " (a TEXT that starts with - needs -- before it)");
    } else {
      request.texts.push_back(word);
    }
  }
  return request;
}

}  // namespace

int eval_command(const Invocation& invocation) {
  if (asks_for_help(invocation.words)) return print_usage(usage);
  const Request request = parse(invocation.words);
  if (request.texts.empty()) return wrong_words(usage, "eval needs at least one TEXT");
  const auto zone = TimeZone::of(request.timezone);
  if (!zone) throw config_error("Unknown time zone: " + request.timezone);
  Value params = Value::object();
  add_params(params, request.file, request.params);
  params.mutable_object().set("timezone", zone->id());
  dig::ScriptWorker worker;
  const dig::TemplateEngine templates(worker, {});
  const dig::Origins origins;
  int code = 0;
  std::string out;
  for (const std::string& text : request.texts) {
    try {
      const Value local = Value::object({{"echo>", Value(to_valid_utf8(text))}});
      const Value all = templates.evaluate(params, local, origins, *zone).all;
      out += to_json(*all.find("echo>")) + "\n";
    } catch (const Error& error) {
      code = report(error);
    }
  }
  std::cout << out;
  return code;
}

}  // namespace digdag::cli
