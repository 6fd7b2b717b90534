#pragma once

#include <vector>

#include "dig/loader.h"

namespace digdag::cli {

/// What `check --strict` finds beyond the ordinary warnings (spec/decisions.md C-13, L-12), in the tasks that stand in the files and in
/// those that would be generated from their `_do`, `_else_do`, `_check` and `_error`:
///
/// - `W-unknown-operator`: no operator of this build has that name
/// - `W-unknown-option`: a key that the operator's manual does not name, and that is no parameter of the user's own program; of
///   those that begin with `_` there only what looks like a reserved key
/// - `W-javascript`: an expression that is no JavaScript (ES5.1)
std::vector<dig::Warning> strict_warnings(const dig::Project& project);

}  // namespace digdag::cli
