#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/time.h"
#include "base/value.h"

namespace digdag::dig {

class ScriptWorker;

/// Where the text of a parameter came from, which decides whether it is a template (spec/decisions.md L-21).
enum class Origin : std::uint8_t {
  code,    ///< written in a workflow or given with -p: `${…}` and `${secret:…}` count
  stored,  ///< stored by py>, rb> or a plugin: `${…}` counts, `${secret:…}` never
  data,    ///< fetched from outside (http>, queries), `error` values, some loop variables: literal
};

/// The origins other than `code` of the strings in a tree, by JSON pointer (`/http/last_content`). A pointer to an object
/// or list speaks for everything below it, unless a longer one is there.
class Origins {
 public:
  void set(std::string pointer, Origin origin) { by_pointer_[std::move(pointer)] = origin; }
  Origin of(std::string_view pointer) const;
  bool empty() const { return by_pointer_.empty(); }
  const std::unordered_map<std::string, Origin>& all() const { return by_pointer_; }

 private:
  std::unordered_map<std::string, Origin> by_pointer_;
};

struct TemplateOptions {
  bool extended_syntax = true;                                                     ///< eval.extended-syntax
  std::int64_t timeout_millis = 10'000;                                            ///< eval.timeout
  std::int64_t memory_bytes = 64 << 20;                                            ///< eval.memory
  enum class StoredParams { code, all, none } stored_params = StoredParams::code;  ///< eval.stored-params
};

/// Where `${secret:key}` may be replaced in an evaluated text: byte offset and length of the whole `${secret:key}`.
using SecretSpans = std::vector<std::pair<std::size_t, std::size_t>>;

/// What evaluation of a task gives.
struct Evaluated {
  Value all;                                                  ///< params and local keys, every template replaced by its text
  std::unordered_map<std::string, SecretSpans> secret_spans;  ///< by JSON pointer of a string in `all`
  std::vector<std::string> warnings;                          ///< lenient mode: params that were left out, and why
};

/// Whether a text in it is changed by evaluation: a `$` alone makes no template.
bool contains_template(const Value& value);

/// Evaluates the templates of tasks as the original does: every string of every visible parameter, in order and scope of
/// spec/language.md 8.1. Plain paths are looked up natively; the rest of a task goes to the JavaScript worker in one request.
///
/// Thread-safe; several evaluations may run at once.
class TemplateEngine {
 public:
  /// `worker` must outlive the engine; it is started at the first expression that needs JavaScript.
  TemplateEngine(ScriptWorker& worker, TemplateOptions options);

  /// `params`: parameters and runtime variables, raw (the scope). `local`: the task's own keys, merged over them.
  /// `lenient`: an inherited parameter whose template fails is left out with a warning (handlers, L-20).
  /// Throws Error(config) `Failed to evaluate a variable <text> (<Name>Error: …)` at the position of the key.
  Evaluated evaluate(const Value& params, const Value& local, const Origins& origins, const TimeZone& zone, bool lenient = false) const;

  /// One text with the given (already evaluated) params as scope: files rendered by operators (spec/language.md 8.7).
  std::string render(std::string_view text, const Value& params, const TimeZone& zone) const;

  /// What makes an expression no JavaScript, `SyntaxError: …` in one line; nothing where it is some. Evaluates nothing of it.
  /// Throws Error(config) where the worker cannot tell (`evaluation took longer than 10s`, …).
  std::optional<std::string> syntax_fault(const std::string& expression) const;

  /// Ends the evaluations that run, for good: they and all later ones that need JavaScript throw.
  void interrupt() const;

  const TemplateOptions& options() const { return options_; }

  struct Caches;

 private:
  ScriptWorker& worker_;
  TemplateOptions options_;
  std::shared_ptr<Caches> caches_;  ///< scanned templates and results that are the same every time
};

/// Replaces each allowed `${secret:key}` by `lookup(key)`; `${x:…}` with another command than `secret` at an allowed place is
/// Error(config) `Invalid parametrization: '…'` (spec/language.md 10).
std::string expand_secrets(std::string_view text, const SecretSpans& spans, const std::function<std::string(std::string_view)>& lookup);

}  // namespace digdag::dig
