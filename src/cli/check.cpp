#include <algorithm>
#include <iostream>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "base/time.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/findings.h"
#include "cli/messages.h"
#include "cli/settings.h"
#include "cli/times.h"
#include "dig/check_report.h"
#include "dig/compiler.h"
#include "dig/declared_params.h"
#include "dig/loader.h"
#include "dig/source_lines.h"
#include "operators/operator.h"

namespace digdag::cli {
namespace {

const std::vector<Option>& check_options() {
  using Kind = Option::Kind;
  static const std::vector<Option> options = with_common_options({
      {{"--project"}, Kind::text, "DIR", "use this directory as the project directory (default: current directory)"},
      {{"-p", "--param"}, Kind::list, "KEY=VALUE", "overwrite a parameter (use multiple times to set many parameters)"},
      {{"-P", "--params-file"}, Kind::text, "PATH.yml", "read parameters from a YAML file"},
      {{"--json"}, Kind::flag, "", "print workflows, tasks, warnings and errors as one JSON object"},
      {{"--strict"}, Kind::flag, "", "warnings are errors; also checks operators, their options, scripts and targets"},
  });
  return options;
}

/// The workflows that a workflow requires, each once, in file order.
std::vector<std::string> required_workflows(const dig::TaskTree& tree) {
  std::vector<std::string> targets;
  for (const auto& task : tree.tasks) {
    const Value* target = task.group ? nullptr : task.local.find("require>");
    if (!target || !target->is_string()) continue;
    if (std::find(targets.begin(), targets.end(), target->as_string()) == targets.end()) targets.push_back(target->as_string());
  }
  return targets;
}

void print_definitions(const dig::Project& project) {
  std::size_t count = 0;
  for (const auto& file : project.files) count += file.workflow.has_value();
  std::cout << "  Definitions (" << count << " workflows):\n";
  for (const auto& file : project.files) {
    if (!file.workflow || !file.tasks) continue;
    std::cout << "    " << file.workflow->name << " (" << file.tasks->tasks.size() << " tasks)\n";
    for (const std::string& target : required_workflows(*file.tasks)) std::cout << "      -> " << visible(target) << "\n";
  }
  std::cout << "\n";
}

/// Values that a declaration refuses become errors. What is required may be missing: nothing runs.
void look_at_params(const dig::Project& project, const dig::Workflow& workflow, const Value& params, Findings& findings) {
  try {
    dig::check_given_params(workflow, params);
  } catch (const Error& error) {
    findings.errors.push_back(dig::SourceLines(project.directory).complete(error));
  }
  for (auto& warning : dig::misspelt_params(workflow, params)) findings.warnings.push_back(std::move(warning));
}

void print_schedules(const std::vector<ScheduledWorkflow>& schedules) {
  const TimeZone zone = TimeZone::system();
  const Instant time = now();
  std::cout << "  Schedules (" << schedules.size() << " entries):\n";
  for (const ScheduledWorkflow& entry : schedules) {
    const schedule::ScheduleTime first = entry.scheduler->first(time);
    std::cout << "    " << entry.workflow->name << ":\n" << to_yaml(entry.config, 6);
    std::cout << "      first session time: " << format_log_time(first.session, zone, false) << "\n";
    std::cout << "      first scheduled to run at: " << format_log_time(first.run, zone, false) << " " << from_now(first.run, time) << "\n";
  }
  std::cout << "\n";
}

/// The workflow that is named, which alone the given parameters are for. Where none is, they must fit all.
std::optional<std::string> named_workflow(const Arguments& arguments) {
  if (arguments.positional().empty()) return {};
  std::string name = arguments.positional()[0];
  if (name.ends_with(".dig")) name.resize(name.size() - 4);
  return name;
}

Findings look_at(const dig::Project& project, const Arguments& arguments, const Value& params) {
  const std::optional<std::string> named = named_workflow(arguments);
  Findings findings = findings_of(project, arguments.has("--strict"));
  for (const auto& file : project.files) {
    if (file.errors.empty() && (!named || file.workflow->name == *named)) look_at_params(project, *file.workflow, params, findings);
  }
  return findings;
}

int check_json(const Arguments& arguments, const Value& params) {
  const dig::Project project = dig::load_project(project_directory(arguments));
  const Findings findings = look_at(project, arguments, params);
  const dig::CheckReport report = dig::check_report(project, named_workflow(arguments), findings.errors, findings.warnings);
  std::cout << to_valid_utf8(to_json(report.json)) << "\n";  // names of files are any bytes
  const bool strict_failure = arguments.has("--strict") && report.has_warnings;
  return report.has_errors || strict_failure ? 1 : 0;
}

int check_text(const Arguments& arguments, const Value& params) {
  std::cout << "  System default timezone: " << TimeZone::system().id() << "\n\n";
  const dig::Project project = dig::load_project(project_directory(arguments));
  std::vector<Error> errors;
  for (const auto& file : project.files) errors.insert(errors.end(), file.errors.begin(), file.errors.end());
  if (errors.empty()) {
    print_definitions(project);
    std::cout << "  Parameters:\n" << to_yaml(params, 4) << "\n";
  }
  std::cout.flush();
  const Findings findings = look_at(project, arguments, params);
  print_warnings(project.warnings);
  print_warnings(findings.warnings);
  errors.insert(errors.end(), findings.errors.begin(), findings.errors.end());
  if (!errors.empty()) throw Errors{errors};
  print_schedules(findings.schedules);
  std::cout.flush();
  const std::size_t warnings = project.warnings.size() + findings.warnings.size();
  if (arguments.has("--strict") && warnings > 0) {
    return report(task_error("check --strict found " + std::to_string(warnings) + (warnings == 1 ? " warning" : " warnings")));
  }
  return 0;
}

}  // namespace

int check_command(const Invocation& invocation) {
  const std::string usage = command_usage(*find_command("check"), describe_options(check_options()));
  if (asks_for_help(invocation.words)) return print_usage(usage);
  const Arguments arguments(check_options(), invocation.words);
  if (arguments.positional().size() > 1) return wrong_words(usage, "check takes at most one workflow");
  log_options(arguments);  // refuses wrong values as every command does
  const Value params = load_params(arguments, load_system_config(arguments, invocation.config));
  return arguments.has("--json") ? check_json(arguments, params) : check_text(arguments, params);
}

}  // namespace digdag::cli
