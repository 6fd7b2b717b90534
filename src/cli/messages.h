#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "dig/loader.h"

namespace digdag::cli {

/// Several errors of one project, thrown together.
struct Errors {
  std::vector<Error> errors;
};

/// The usage on standard error; exit code 0.
int print_usage(const std::string& usage);
/// Wrong positional words: the usage, then `error: …`; exit code 0 as the original's, 2 where DIGDAG_STRICT_EXIT=1 asks for it
/// (spec/decisions.md C-01).
int wrong_words(const std::string& usage, const std::string& message);
/// `error: …` with place, source line, hint and causes, to standard error; exit code 1.
int report(const Error& error);
int report(const Errors& errors);
/// `warning: FILE:LINE:COLUMN: … [ID]`, to standard error.
void print_warning(const dig::Warning& warning);

}  // namespace digdag::cli
