#include "cli/summary.h"

#include <cctype>
#include <cstdio>

#include "agent/failure.h"
#include "base/json.h"
#include "base/text.h"
#include "base/time.h"

namespace digdag::cli {
namespace {

constexpr std::string_view hints =
    "  * Use --session <daily | hourly | \"yyyy-MM-dd[ HH:mm:ss]\"> to not reuse the last session time.\n"
    "  * Use --rerun, --start +NAME, or --goal +NAME argument to rerun skipped tasks.";

/// A text of a workflow as a terminal may get it: a message that has several lines keeps them.
std::string harmless(std::string_view text) { return visible(text, "\n\t"); }

/// How to go on: the same command for the session, which skips what succeeded; nothing where no state was saved. With tasks selected
/// by hand from the failed one on; a generated task cannot be named then: the task that generates it is.
std::string resume_hint(const std::string& failed_task, const RunTexts& texts) {
  if (texts.state_directory.empty()) return "";
  const std::string command = harmless("digdag " + join(texts.resume_words, " ") + " --session " + shell_quoted(texts.session));
  if (!texts.goal.empty()) return "hint: " + command + "    runs " + harmless(texts.goal) + " again\n";
  if (!texts.selected) return "hint: " + command + "    goes on from here\n";
  if (failed_task.empty()) return "";
  return "hint: " + command + " --start " + harmless(shell_quoted(failed_task.substr(0, failed_task.find('^')))) +
         "    runs again from here\n";
}

/// The text that the original shows: what follows `Exception: ` where that stands inside of the message.
std::string shown_message(const Value& error) {
  const Value* message = error.find("message");
  std::string text = message && message->is_string() ? message->as_string() : "";
  const std::size_t marker = text.find("Exception: ");
  if (marker != std::string::npos && marker > 0) text.erase(0, marker + 11);
  return text;
}

std::string indented(std::string_view text, std::string_view indent) {
  std::string result;
  for (const std::string& line : split(text, '\n')) result += (line.empty() ? "" : std::string(indent)) + line + "\n";
  return result;
}

std::string details_of(const engine::Attempt& tasks, engine::TaskIndex task, const agent::RunFailed* failure) {
  std::string place = to_string(tasks.position(task));
  if (failure && failure->cause.position().known()) place = to_string(failure->cause.position());
  std::string text;
  if (failure && failure->cause.cause()) {
    const std::string causes = failure->cause.chain().substr(failure->cause.message_with_kind().size());
    if (!is_blank(causes)) text += indented(trim(harmless(causes)), "      ");
  }
  std::string circumstances = place.empty() ? "" : "at " + place;
  if (failure && failure->millis > 0)
    circumstances += std::string(circumstances.empty() ? "" : ", ") + "after " + seconds_text(failure->millis);
  if (!circumstances.empty()) text += "      " + circumstances + "\n";
  if (failure && !is_blank(failure->last_output)) {
    constexpr std::size_t most_lines = 10;
    constexpr std::string_view blanks = " \t\r\n";  // a command may begin or end with an escape: trim would cut into that
    std::string_view output = failure->last_output;
    output = output.substr(0, output.find_last_not_of(blanks) + 1);
    auto lines = split(output.substr(output.find_first_not_of(blanks)), '\n');
    if (lines.size() > most_lines) lines.erase(lines.begin(), lines.end() - most_lines);
    text += "      last output:\n" + indented(join(lines, "\n"), "        ");
  }
  if (failure && !failure->cause.hint_text().empty()) text += "      hint: " + harmless(failure->cause.hint_text()) + "\n";
  return text;
}

std::string saved_at(const RunTexts& texts) {
  return "Task state is saved at " + texts.state_directory + " directory.\n" + std::string(hints);
}

/// `GROUP_ERROR`, as the original writes it in its logs.
std::string state_word(engine::TaskState state) {
  std::string word(engine::to_string(state));
  for (char& letter : word) letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
  return word;
}

}  // namespace

std::string shell_quoted(const std::string& word) {
  if (!word.empty() &&
      word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-_./:=@%,^") == std::string::npos)
    return word;
  return "'" + replace_all(word, "'", "'\\''") + "'";
}

std::string seconds_text(std::int64_t millis) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", static_cast<double>(millis) / 1000);
  return text;
}

std::string success_text(const LocalRun& run, const RunTexts& texts) {
  std::string text;
  if (run.skipped_by_state() > 0) {
    text =
        std::to_string(run.executed()) + " executed, " + std::to_string(run.skipped_by_state()) + " skipped (saved state; use --rerun)\n";
  }
  if (texts.state_directory.empty()) return text + "Success.\n" + std::string(hints);
  return text + "Success. " + saved_at(texts);
}

std::string failure_text(const engine::Attempt& tasks, const LocalRun& run, const RunTexts& texts) {
  std::string text = "error: \n";
  std::string first_failed;
  for (const engine::TaskIndex task : tasks.newest_rows()) {
    const bool own_error = tasks.state(task) == engine::TaskState::error;
    const bool group_with_error = tasks.state(task) == engine::TaskState::group_error && !shown_message(tasks.error(task)).empty();
    if (!own_error && !group_with_error) continue;
    const std::string name = tasks.full_name(task);
    if (first_failed.empty()) first_failed = name;
    text += "  * " + visible(agent::shown_task_name(name)) + ":\n" + indented(harmless(shown_message(tasks.error(task))), "    ") +
            details_of(tasks, task, run.failure_of(task));
  }
  text += resume_hint(first_failed, texts);
  text += "\n";
  if (!texts.state_directory.empty()) text += saved_at(texts);
  return text;
}

std::vector<std::string> task_dump(const engine::Attempt& tasks) {
  std::vector<std::string> lines;
  const auto id_of = [](engine::TaskIndex task) { return std::to_string(task + 1); };
  const auto fact = [&](const char* name, const std::string& value) { lines.push_back("    " + std::string(name) + ": " + value); };
  for (engine::TaskIndex task = 0; task < static_cast<engine::TaskIndex>(tasks.size()); ++task) {
    std::vector<std::string> upstreams;
    for (const engine::TaskIndex upstream : tasks.upstreams(task)) upstreams.push_back(id_of(upstream));
    const engine::TaskResult* result = tasks.result(task);
    const auto retry_at = tasks.retry_at(task);
    Value config = tasks.export_config(task).is_object() ? tasks.export_config(task) : Value::object();
    merge(config, tasks.local(task));
    lines.push_back("  Task[" + id_of(task) + "]: " + tasks.full_name(task));
    fact("parent", tasks.parent(task) == engine::no_task ? "(root)" : id_of(tasks.parent(task)));
    fact("upstreams", join(upstreams, ","));
    fact("state", state_word(tasks.state(task)));
    fact("retryAt", retry_at ? format_instant(*retry_at) : "-");
    fact("config", to_json(config));
    fact("taskType", tasks.is_group(task) ? "1" : "0");
    fact("exported", to_json(result && result->export_params.is_object() ? result->export_params : Value::object()));
    fact("stored", to_json(result && result->store_params.is_object() ? result->store_params : Value::object()));
    fact("stateParams", to_json(tasks.state_params(task)));
    fact("error", to_json(tasks.error(task)));
  }
  return lines;
}

std::string interrupted_text(const engine::Attempt* tasks, const RunTexts& texts) {
  std::string text = "error: interrupted\n";
  if (tasks) {
    for (const engine::TaskIndex task : tasks->newest_rows()) {
      const engine::TaskState state = tasks->state(task);
      if (state != engine::TaskState::running && state != engine::TaskState::retry_waiting) continue;
      text += "  * " + visible(tasks->full_name(task)) + ":\n    interrupted" +
              (state == engine::TaskState::running ? "" : " while it waited") + "\n";
    }
  }
  text += resume_hint("", texts) + "\n";
  if (!texts.state_directory.empty()) text += saved_at(texts);
  return text;
}

}  // namespace digdag::cli
