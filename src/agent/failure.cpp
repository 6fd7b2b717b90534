#include "agent/failure.h"

#include <algorithm>
#include <exception>
#include <new>

#include "base/text.h"

namespace digdag::agent {
namespace {

constexpr std::size_t most_error_bytes = 64 << 10;

/// At most 64 KiB, cut between characters, with a mark.
std::string cut(std::string text) {
  const std::string_view kept = first_bytes(text, most_error_bytes);
  if (kept.size() == text.size()) return text;
  return std::string(kept) + "… (" + std::to_string(text.size() - kept.size()) + " more bytes)";
}

/// The first error of the chain that says something.
const Error& first_with_message(const Error& error) {
  const Error* speaking = &error;
  while (speaking->message().empty() && speaking->cause() != nullptr) speaking = speaking->cause();
  return speaking->message().empty() ? error : *speaking;
}

}  // namespace

Value error_object(const Error& error) {
  Object object;
  if (error.kind().empty()) {
    object.set("message", cut(error.message()));
    if (error.cause() != nullptr) object.set("stacktrace", "");
  } else {
    const std::string& message = first_with_message(error).message();
    object.set("message", cut((message.empty() ? std::string("failed") : message) + " (" + error.kind() + ")"));
    object.set("stacktrace", "");
  }
  return object;
}

std::string shown_task_name(std::string_view full_name) {
  constexpr std::size_t longest = 200, kept = 60;
  const std::size_t begin_ends = full_name.substr(0, kept).rfind('^'),
                    end_begins = full_name.find('^', full_name.size() - std::min(kept, full_name.size()));
  if (full_name.size() <= longest || begin_ends == std::string_view::npos || end_begins == std::string_view::npos)
    return std::string(full_name);
  return std::string(full_name.substr(0, begin_ends)) + "^…" + std::string(full_name.substr(end_begins));
}

std::string failure_message(const Error& error, std::string_view task_name) {
  const std::string name = shown_task_name(task_name);
  if (error.kind().empty()) return "Task " + name + " failed.\n" + error.chain();
  if (error.kind() == "config") return "Configuration error at task " + name + ": " + error.chain();
  return "Task failed with unexpected error: " + error.chain();
}

Error with_texts(const Error& error, const std::function<std::string(std::string_view)>& change) {
  Error changed = Error(error.kind(), change(error.message())).at(error.position()).hint(change(error.hint_text()));
  changed = std::move(changed).source(change(error.source_line()), error.caret_length());
  if (error.cause() != nullptr) changed = std::move(changed).because(with_texts(*error.cause(), change));
  return changed;
}

Error current_error() {
  try {
    throw;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Error("out of memory", "not enough memory to run the task");
  } catch (const std::exception& exception) {
    return Error("runtime", exception.what());
  } catch (...) {
    return Error("runtime", "an unknown exception");
  }
}

}  // namespace digdag::agent
