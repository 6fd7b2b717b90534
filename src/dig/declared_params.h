#pragma once

#include <vector>

#include "base/error.h"
#include "base/value.h"
#include "dig/workflow.h"

namespace digdag::dig {

// The attempt parameters that a file declares with `_params` (spec/decisions.md L-40): types, defaults, what is required.

/// What is wrong with the value of `_params`, an object, at the places of its keys.
std::vector<Error> faults_of_declared_params(const Value& declared);

/// Checks `given` (typed as given; text counts where it parses) and returns the defaults of the others, the lowest layer of
/// parameters. Throws Error(config) naming the parameter, what is wrong and what it should be.
Value declared_params(const Workflow& workflow, const Value& given);

}  // namespace digdag::dig
