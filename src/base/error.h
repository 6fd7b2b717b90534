#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include "base/position.h"

namespace digdag {

/// What went wrong: a message, the kind of error, where, and what to do about it (design rule 5). Never holds a secret.
///
/// `kind` is the word that the original appends in parentheses (`config`, `runtime`, `illegal argument`, `secret not found`,
/// `task limit exceeded`, …; spec/operators.md 1.2). An empty kind is an error that an operator raised on purpose
/// (the original's TaskExecutionException) and has no suffix.
class Error : public std::runtime_error {
 public:
  Error(std::string_view kind, std::string message);

  // Each returns itself, so that `throw config_error("…").at(position).hint("…")` reads well.
  Error&& at(Position position) &&;
  /// The same; the caret is as long as `what`, the text that stands there.
  Error&& at(Position position, std::string_view what) &&;
  Error&& hint(std::string text) &&;
  /// The line of the file that `at` points into, shown above a caret.
  Error&& source(std::string line, unsigned caret_length = 1) &&;
  /// What caused it; its message follows as `> …` where a whole chain is shown.
  Error&& because(Error cause) &&;

  const std::string& message() const { return details_->message; }
  const std::string& kind() const { return details_->kind; }
  const Position& position() const { return details_->position; }
  const std::string& hint_text() const { return details_->hint; }
  const std::string& source_line() const { return details_->source_line; }
  unsigned caret_length() const { return details_->caret_length; }
  const Error* cause() const { return details_->cause.get(); }

  /// `message (kind)`, or the message alone where the kind is empty: the `message` of a task's error object.
  std::string message_with_kind() const;
  /// The whole chain: messages not yet contained, each after `\n> ` (spec/operators.md 1.2, "Console message").
  std::string chain() const;
  /// What a person sees: `FILE:LINE:COLUMN: message`, the source line, a caret, `> causes`, `hint: …` (spec/decisions.md
  /// L-02); `message (kind)` where no place is known (spec/cli.md 4). No `error: ` before it and no line end after it.
  std::string report() const;

 private:
  struct Details {
    std::string kind, message, hint, source_line;
    Position position;
    unsigned caret_length = 1;
    std::shared_ptr<const Error> cause;
  };
  Details& own_details();  // copied first where another copy of the error shares them

  std::shared_ptr<Details> details_;
};

/// The error of a configuration: wrong key, type or value (the original's ConfigException).
Error config_error(std::string message);
/// An error that an operator raises on purpose; shown without a kind (the original's TaskExecutionException).
Error task_error(std::string message);

}  // namespace digdag
