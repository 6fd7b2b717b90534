#pragma once

#include <string_view>

namespace digdag::operators {

/// Whether Digdag has an operator of this name that is not built in yet.
bool is_missing_operator(std::string_view name);

}  // namespace digdag::operators
