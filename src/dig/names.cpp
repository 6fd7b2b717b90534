#include "dig/names.h"

#include <fmt/format.h>

#include <optional>

#include "base/text.h"

namespace digdag::dig {
namespace {

constexpr std::size_t longest_name = 255;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_task_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) ||
         std::string_view("_-=[]{}%&@`,.^").find(c) != std::string_view::npos;
}

std::size_t length_of_character(std::string_view text, std::size_t at) {
  std::size_t length = 1;
  while (at + length < text.size() && (static_cast<unsigned char>(text[at + length]) & 0xC0U) == 0x80) ++length;
  return length;
}

/// The rule for the text of a task's name; at most one fault is named.
std::optional<std::string> raw_fault(std::string_view name) {
  if (name.empty()) return "must not be blank";
  if (is_digit(name[0])) return "must not start with a digit (0-9)";
  if (name[0] != '+' && name[0] != '^') return "must start with '+'";
  for (std::size_t i = 1; i < name.size(); ++i) {
    if (!is_task_character(name[i]))
      return fmt::format("must not contain character '{}'", visible(name.substr(i, length_of_character(name, i))));
  }
  if (name.size() > longest_name) return "must not be longer than 255 characters";
  return std::nullopt;
}

std::string fault(std::string_view field, std::string_view message, std::string_view name) {
  return fmt::format("{} {}: \"{}\"", field, message, visible(name));
}

}  // namespace

const char* const allowed_task_name = "a task's name is + and letters a-z A-Z, digits and _ - = [ ] { } % & @ ` , .";

std::vector<std::string> faults_of_workflow_name(std::string_view name) {
  std::vector<std::string> faults;
  const auto add = [&](std::string_view message) { faults.push_back(fault("name", message, name)); };
  if (name.empty()) add("must not be blank");
  if (!name.empty() && is_digit(name[0])) add("must not start with a numeric digit (0-9)");
  if (!name.empty() && std::string_view("+^@/\\:*?\"<>|").find(name[0]) != std::string_view::npos) {
    add("must not include special symbols (+ ^ @ / \\ / : * ? \" < > |)");
  }
  if (name.ends_with(".dig")) add("must not end with .dig");
  if (utf16_length(name) > longest_name) add("must not be longer than 255 characters");
  return faults;
}

std::vector<std::string> faults_of_top_task_name(std::string_view name) {
  std::vector<std::string> faults;
  if (!name.starts_with('+')) faults.push_back(fault("task name", "must start with '+'", name));
  if (name.find('^') != std::string_view::npos) faults.push_back(fault("task name", "must not contain ^ character", name));
  if (const std::optional<std::string> raw = raw_fault(name)) faults.push_back(fault("task name", *raw, name));
  return faults;
}

std::vector<std::string> faults_of_task_name(std::string_view name) {
  if (const std::optional<std::string> raw = raw_fault(name)) return {fault("name", *raw, name)};
  return {};
}

}  // namespace digdag::dig
