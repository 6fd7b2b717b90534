#pragma once

#include <vector>

#include "dig/loader.h"
#include "dig/workflow.h"

namespace digdag::dig {

/// Where a plain path inside of a map gives the template of an exported parameter as it is written (W-raw-template): such a text
/// sees the parameters unevaluated (spec/language.md 8.1). Looks at operator tasks with all that they inherit from `_export`, and
/// at those that would be generated from their `_do` and so on. Each place is told once.
std::vector<Warning> find_raw_templates(const TaskTree& tasks);

}  // namespace digdag::dig
