#pragma once

#include <vector>

#include "dig/loader.h"

namespace digdag::cli {

/// What `check --strict` finds beyond the ordinary warnings (spec/decisions.md C-13, L-12), in the tasks that stand in the files:
///
/// - `W-unknown-operator`: no operator of this build has that name
/// - `W-unknown-option`: a key that the operator's manual does not name, and that is no parameter of the user's own program
/// - `W-javascript`: an expression that is no JavaScript (ES5.1)
std::vector<dig::Warning> strict_warnings(const dig::Project& project);

}  // namespace digdag::cli
