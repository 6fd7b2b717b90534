#pragma once

#include <string_view>

namespace digdag::dig {

/// Whether an expression surely changes nothing that another evaluation in the same engine could see, and ends soon: names,
/// literals, arithmetic, and calls of moment and of a few methods of its objects and of strings. Unknown things are not harmless.
bool is_harmless(std::string_view expression);

}  // namespace digdag::dig
