#pragma once

#include <vector>

#include "base/error.h"
#include "base/value.h"
#include "dig/loader.h"
#include "dig/workflow.h"

namespace digdag::dig {

// The attempt parameters that a file declares with `_params` (spec/decisions.md L-40): types, defaults, what is required.

/// What is wrong with the value of `_params`, an object, at the places of its keys.
std::vector<Error> faults_of_declared_params(const Value& declared);

/// Throws Error(config) naming the parameter, what is wrong and what it should be, for a value that its declaration refuses
/// (typed as given; text counts where it parses).
void check_given_params(const Workflow& workflow, const Value& given);

/// The names in `given`, an object, that are not declared but look like a declared one that is not given (`W-unknown-param`).
std::vector<Warning> misspelt_params(const Workflow& workflow, const Value& given);

/// Checks `given` and returns the defaults of the others, the lowest layer of parameters. Throws what `check_given_params` throws,
/// and Error(config) for a required parameter that is not given.
Value declared_params(const Workflow& workflow, const Value& given);

}  // namespace digdag::dig
