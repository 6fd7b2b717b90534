#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/value.h"

namespace digdag::dig {

/// java.lang.String.format for values of JavaScript: null, booleans, numbers (whole ones count as integers) and texts.
/// Conversions: `%d %x %X %o %s %S %f %e %E %g %G %c %C %b %B %h %n %%` with flags, width, precision and argument index as
/// java.util.Formatter has them; half is rounded up. Throws Error(illegal argument) where Java throws, and for dates (`%t`).
std::string java_format(std::string_view pattern, const std::vector<Value>& arguments);

}  // namespace digdag::dig
