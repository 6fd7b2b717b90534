#pragma once

#include <string>
#include <vector>

namespace digdag::cli {

/// `digdag eval [-P FILE] [-p K=V]... [--timezone TZ] [--] TEXT...`: what each TEXT gives as the value of a task's `echo>`, whose
/// only parameters are those of FILE, then `-p`, and `timezone` (spec/clarifications.md 1.3). Prints one JSON string a line, in
/// order; for a TEXT that cannot be evaluated `error: …` on standard error instead. `words`: everything after `eval`, as it was
/// typed, for a TEXT may have blanks and quotes around it. Returns the exit code.
int eval_command(const std::vector<std::string>& words);

}  // namespace digdag::cli
