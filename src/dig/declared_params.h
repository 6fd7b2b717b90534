#pragma once

#include "base/value.h"
#include "dig/workflow.h"

namespace digdag::dig {

/// The attempt parameters that a file declares with `_params` (spec/decisions.md L-40): types, defaults, what is required.
/// Checks `given` (typed as given; text counts where it parses) and returns the defaults of the others, the lowest layer of
/// parameters. Throws Error(config) naming the parameter, what is wrong and what it should be.
Value declared_params(const Workflow& workflow, const Value& given);

}  // namespace digdag::dig
