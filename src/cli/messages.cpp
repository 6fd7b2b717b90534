#include "cli/messages.h"

#include <cstdlib>
#include <cstring>
#include <iostream>

#include "base/text.h"

namespace digdag::cli {
namespace {

/// Kind words follow the message, as the original prints them; what has a place in a file has its place instead.
std::string text_of(const Error& error) {
  if (error.position().known()) return error.report();
  std::string text = error.chain();
  if (!error.hint_text().empty()) text += "\nhint: " + error.hint_text();
  return text;
}

}  // namespace

int print_usage(const std::string& usage) {
  std::cerr << usage << "\n";
  return 0;
}

int wrong_words(const std::string& usage, const std::string& message) {
  std::cerr << usage;
  report(task_error(message));
  const char* strict = std::getenv("DIGDAG_STRICT_EXIT");
  return strict && std::strcmp(strict, "1") == 0 ? 2 : 0;
}

int report(const Error& error) {
  std::cerr << "error: " << visible(text_of(error), "\n\t") << "\n";
  return 1;
}

int report(const Errors& errors) {
  for (const Error& error : errors.errors) report(error);
  return 1;
}

void print_warning(const dig::Warning& warning) {
  std::cerr << "warning: " << to_string(warning.position) << ": " << visible(warning.message, "\t") << " [" << warning.id << "]\n";
}

}  // namespace digdag::cli
