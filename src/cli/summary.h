#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cli/local_run.h"
#include "engine/attempt.h"

namespace digdag::cli {

/// What the closing texts of a local run need to name (spec/cli.md 6.2 "End of a run", decisions.md C-11).
struct RunTexts {
  std::vector<std::string> resume_words;  ///< of the command that was given: `run w.dig -p k=v`, quoted for a shell
  std::string session;                    ///< `2026-01-02 03:04:05`, in the workflow's zone
  std::string goal;                       ///< of --goal, which runs again however far it came
  bool selected = false;                  ///< by --rerun or --start: state of tasks behind a failed one may be of earlier runs
  std::string state_directory;            ///< empty where nothing was saved
};

/// A word as a shell reads it back: in quotes where it needs them.
std::string shell_quoted(const std::string& word);

/// `12.4 s`
std::string seconds_text(std::int64_t millis);

/// `Success. Task state is saved at … directory.` and the two hints.
std::string success_text(const LocalRun& run, const RunTexts& texts);
/// `error: `, each failed task with its cause, its last output, its place and duration, then how to go on.
std::string failure_text(const engine::Attempt& tasks, const LocalRun& run, const RunTexts& texts);
/// Every task with what is known of it, a line for each fact: what `-l debug` shows at the end (spec/cli.md 6.2).
std::vector<std::string> task_dump(const engine::Attempt& tasks);
/// After Ctrl-C or a signal.
std::string interrupted_text(const engine::Attempt* tasks, const RunTexts& texts);

}  // namespace digdag::cli
