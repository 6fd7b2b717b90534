#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/value.h"
#include "dig/loader.h"

namespace digdag::dig {

/// What `digdag check --json` prints: `workflows` with their compiled tasks, `errors`, `warnings`
/// (conformance/language/README.md, spec/clarifications.md 1.10, 1.11). Files with errors are not among the workflows.
struct CheckReport {
  Value json;
  bool has_errors = false;    ///< exit status 1
  bool has_warnings = false;  ///< exit status 1 with --strict
};

/// `workflow`: only this one; a name that the project does not have is an error. `more_errors` and `more_warnings` are what
/// other rooms found: a wrong `schedule:`, unknown operators; they belong to the file that their position names.
CheckReport check_report(const Project& project, const std::optional<std::string>& workflow, const std::vector<Error>& more_errors = {},
                         const std::vector<Warning>& more_warnings = {});

/// A workflow as it stands in `workflows`.
Value describe(const Workflow& workflow, const TaskTree& tasks);

}  // namespace digdag::dig
