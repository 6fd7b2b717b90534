#pragma once

#include <memory>
#include <vector>

#include "base/error.h"
#include "dig/loader.h"
#include "schedule/scheduler.h"

namespace digdag::cli {

struct ScheduledWorkflow {
  const dig::Workflow* workflow;
  Value config;
  std::unique_ptr<schedule::Scheduler> scheduler;
};

/// What other rooms than the loader have to say about a project. Points into it.
struct Findings {
  std::vector<ScheduledWorkflow> schedules;
  std::vector<Error> errors;  ///< wrong schedules
  std::vector<dig::Warning> warnings;
};
/// `strict`: what only `--strict` looks for as well (cli/strict_check.h).
Findings findings_of(const dig::Project& project, bool strict);

/// On standard error.
void print_warnings(const std::vector<dig::Warning>& warnings);

}  // namespace digdag::cli
