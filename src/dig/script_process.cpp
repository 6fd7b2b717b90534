#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/time.h"
#include "dig/frame.h"
#include "dig/harmless.h"
#include "dig/script_engine.h"
#include "dig/script_fork.h"
#include "dig/script_sandbox.h"
#include "dig/script_worker.h"

// The worker process. It answers requests one after the other:
//
//   {"zone": "Asia/Tokyo", "timeout_millis": 10000, "memory_bytes": 67108864,
//    "texts": [{"literals": ["a", "b"], "code": ["x + 1"], "scope": {"x": 1}, "outer": {}, "fill": [{"in": "scope", "path": ["y"], "from":
//    0}]}]}
//   → {"results": [{"values": ["2"], "pure": true}]}, or {"error": "ReferenceError: …"} for the last of them
//
// `scope` are the variables of a text, `outer` those that count where a name has no value else (decisions L-23). `fill` puts
// the result of an earlier text of this request into them. The first error ends the request. Nothing is evaluated in this
// process: a fork of it sees what was loaded before the first request. A text has one for itself, or shares it with others that
// can leave nothing behind either, of this request or of earlier ones.

namespace digdag::dig {
namespace {

constexpr int connection = 3;

/// A text costs a tenth of its fork.
constexpr std::size_t most_texts_of_a_fork = 64;

bool has_error(const Value& result) { return result.find("error") != nullptr; }

bool is_undefined_name(const Value& result) {
  const Value* const undefined = result.find("undefined_name");
  return undefined && undefined->is_boolean() && undefined->as_boolean();
}

/// Evaluates texts in forks: each has one of its own, but for harmless ones, which share one, also those of several requests.
class Forks {
 public:
  Forks(ScriptEngine& engine, const ScriptSandbox& sandbox) : engine_(engine), sandbox_(sandbox) {}

  /// What the texts of the next request are evaluated with.
  void use(const TimeZone& zone, const ScriptFork::Limits& limits) {
    if (zone != zone_ || (shared_ && limits != shared_->limits())) shared_.reset();
    engine_.use_zone(zone);
    zone_ = zone;
    limits_ = limits;
  }

  /// The results of one text, or of harmless ones up to the first error (script_fork.h). What fails beside others is evaluated
  /// once more by itself: it may have been the time or memory of all.
  Array evaluate(const std::vector<ScriptText>& texts, bool harmless) {
    if (!harmless) return evaluate_alone(texts.front());
    const bool alone = !shared_ && texts.size() == 1;
    if (!shared_) shared_ = std::make_unique<ScriptFork>(engine_, sandbox_, limits_, connection);
    Array results = shared_->evaluate(texts);
    const auto broken = [](const Value& result) { return has_error(result) && !is_undefined_name(result); };
    if (broken(results.back()) || shared_->texts() >= most_texts_of_a_fork) shared_.reset();
    return broken(results.front()) && !alone ? evaluate_alone(texts.front()) : results;
  }

 private:
  Array evaluate_alone(const ScriptText& text) { return ScriptFork(engine_, sandbox_, limits_, connection).evaluate({text}); }

  ScriptEngine& engine_;
  const ScriptSandbox& sandbox_;
  TimeZone zone_;
  ScriptFork::Limits limits_{};
  std::unique_ptr<ScriptFork> shared_;
};

// ---- requests ----------------------------------------------------------------------------------------------------------

const Value& member(const Value& object, std::string_view key) {
  const Value* const found = object.find(key);
  if (!found) throw Error("runtime", "the request has no member " + std::string(key));
  return *found;
}

/// Sets the value at a path of keys and indexes that exists.
void set_at(Value& root, const Array& path, const std::string& text) {
  Value* at = &root;
  for (const Value& step : path) {
    at = at->is_array() ? &at->mutable_array().at(static_cast<std::size_t>(std::stoull(step.as_string())))
                        : at->mutable_object().find_mutable(step.as_string());
    if (!at) throw Error("runtime", "the request fills a place that is not there");
  }
  *at = Value(text);
}

/// Literals and values in turn.
std::string assemble(const Value& text, const Value& result) {
  std::string out;
  const Array& literals = member(text, "literals").as_array();
  const Array& values = member(result, "values").as_array();
  for (std::size_t i = 0; i < literals.size(); ++i) {
    out += literals[i].as_string();
    if (i < values.size()) out += values[i].as_string();
  }
  return out;
}

/// `outer` with the variables of `scope` over it.
Value widened(const Value& outer, const Value& scope) {
  Value all = scope;
  for (const auto& entry : outer.as_object()) {
    if (!all.find(entry.key)) all.mutable_object().set(entry.key, entry.value);
  }
  return all;
}

/// A text with the results of earlier ones where it needs them.
ScriptText filled(const Value& asked, const std::vector<std::string>& evaluated) {
  Value text = asked;
  for (const Value& fill : member(asked, "fill").as_array()) {
    const auto from = static_cast<std::size_t>(member(fill, "from").as_integer());
    set_at(*text.mutable_object().find_mutable(member(fill, "in").as_string()), member(fill, "path").as_array(), evaluated.at(from));
  }
  ScriptText made{{}, member(text, "scope")};
  for (const Value& code : member(text, "code").as_array()) made.code.push_back(code.as_string());
  return made;
}

/// Texts that may be evaluated one after the other in one fork.
struct Together {
  std::vector<ScriptText> texts;
  bool harmless = true;  ///< false: one that may leave something behind
};

/// The next texts that leave nothing behind and need no result of each other, at most `most`; or one of any kind.
Together next_texts(const Array& texts, const std::vector<std::string>& evaluated, std::size_t most) {
  Together together;
  for (std::size_t i = evaluated.size(); i < texts.size() && together.texts.size() < most; ++i) {
    const Array& fills = member(texts[i], "fill").as_array();
    const bool needs_these = std::any_of(fills.begin(), fills.end(), [&](const Value& fill) {
      return member(fill, "from").as_integer() >= static_cast<std::int64_t>(evaluated.size());
    });
    if (needs_these) break;
    const Array& code = member(texts[i], "code").as_array();
    const bool harmless = std::all_of(code.begin(), code.end(), [](const Value& each) { return is_harmless(each.as_string()); });
    if (!harmless && !together.texts.empty()) break;
    together.texts.push_back(filled(texts[i], evaluated));
    together.harmless = harmless;
    if (!harmless) break;
  }
  return together;
}

Value answer(Forks& forks, const Value& request) {
  const auto zone = TimeZone::of(member(request, "zone").as_string());
  if (!zone) throw Error("runtime", "unknown time zone");
  forks.use(*zone, {member(request, "memory_bytes").as_integer(), member(request, "timeout_millis").as_integer()});
  const Array& texts = member(request, "texts").as_array();
  Array results;
  std::vector<std::string> evaluated;
  std::size_t most_together = most_texts_of_a_fork;
  while (evaluated.size() < texts.size()) {
    const std::size_t first = evaluated.size();
    Together together = next_texts(texts, evaluated, most_together);
    if (together.texts.empty()) throw Error("runtime", "a text of the request needs the result of a later one");
    Array some = forks.evaluate(together.texts, together.harmless);
    // Others may fail as well, and each would have all that follow it evaluated again.
    if (some.size() < together.texts.size()) most_together = 1;
    const Value& outer = member(texts[first], "outer");
    if (is_undefined_name(some[0]) && !outer.as_object().empty()) {
      ScriptText& text = together.texts.front();
      text.scope = widened(outer, text.scope);
      some = forks.evaluate({text}, together.harmless);
    }
    for (std::size_t i = 0; i < some.size(); ++i) {
      const bool failed = has_error(some[i]);
      if (failed && i > 0) break;  // once more, as the first of the next ones
      if (!failed) evaluated.push_back(assemble(texts[first + i], some[i]));
      results.push_back(std::move(some[i]));
      if (failed) return Value::object({{"results", Value(std::move(results))}});
    }
  }
  return Value::object({{"results", Value(std::move(results))}});
}

}  // namespace

int script_worker_main() {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGINT, SIG_IGN);  // the one who started us decides when we end
  syscall(SYS_close_range, connection + 1, ~0u, 0);
  try {
    ScriptEngine engine;
    const ScriptSandbox sandbox(ScriptFork::worker_fd);
    Forks forks(engine, sandbox);
    std::string text;
    while (read_frame(connection, text) == FrameEnd::complete) {
      Value reply;
      try {
        reply = answer(forks, parse_json(text));
      } catch (const std::exception& error) {
        reply = Value::object({{"failed", Value(std::string(error.what()))}});
      }
      if (!write_frame(connection, to_json(reply), Channel::socket)) break;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "digdag --js-worker: %s\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace digdag::dig
