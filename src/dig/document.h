#pragma once

#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/value.h"
#include "dig/loader.h"

namespace digdag::dig {

/// A loaded file with everything that was found in it.
struct Document {
  Value value;                    ///< an object; as far as it goes where there are errors
  std::vector<Error> errors;      ///< of this file and of the files that it includes, each with its source line
  bool complete = true;           ///< every file could be read and parsed
  std::vector<Warning> warnings;  ///< from reading: L-01, L-05, L-07
};

/// Loads YAML text and whatever it includes: types, keys, merges, includes (spec/language.md 2). Collects errors: the first
/// syntax error of each file, else everything that is wrong. Throws nothing that the text could cause.
Document load_document(std::string_view text, const Source& source, const LoadLimits& limits);

}  // namespace digdag::dig
