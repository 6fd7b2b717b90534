#include "cli/findings.h"

#include "base/text.h"
#include "cli/messages.h"
#include "cli/strict_check.h"
#include "dig/source_lines.h"
#include "schedule/warnings.h"

namespace digdag::cli {
namespace {

void look_at_schedule(const dig::Project& project, const dig::Workflow& workflow, Findings& findings) {
  const Object::Member* config = workflow.config.as_object().find_member("schedule");
  if (!config) return;
  std::vector<schedule::UnusedKey> unused;
  try {
    findings.schedules.push_back({&workflow, config->value, schedule::scheduler_of(workflow.config, workflow.timezone, &unused)});
  } catch (const Error& error) {
    findings.errors.push_back(dig::SourceLines(project.directory).complete(error));
  }
  for (const schedule::UnusedKey& key : unused)
    findings.warnings.push_back({key.position.known() ? key.position : config->position, "W-schedule-key",
                                 std::string(trim(key.text)) + " A server refuses it at push."});
  for (const auto& warning : schedule::schedule_warnings(config->value))
    findings.warnings.push_back({warning.position.known() ? warning.position : config->position, warning.id, warning.message});
}

}  // namespace

Findings findings_of(const dig::Project& project, bool strict) {
  Findings findings;
  for (const auto& file : project.files) {
    if (file.workflow) look_at_schedule(project, *file.workflow, findings);
  }
  if (strict) {
    auto more = strict_warnings(project);
    findings.warnings.insert(findings.warnings.end(), more.begin(), more.end());
  }
  return findings;
}

void print_warnings(const std::vector<dig::Warning>& warnings) {
  for (const dig::Warning& warning : warnings) print_warning(warning);
}

}  // namespace digdag::cli
