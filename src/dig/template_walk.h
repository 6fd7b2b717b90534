#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/position.h"
#include "dig/template.h"
#include "dig/template_caches.h"
#include "dig/template_scanner.h"

namespace digdag::dig {

/// One evaluation of one task: goes through its strings in the order of spec/language.md 8.1.
///
/// Plain paths are looked up at once. A text that needs JavaScript gets a number and an empty place; later texts that use it
/// wait likewise, and all of them go to the worker in one request at the end (or before an error, so that the first one of the
/// task is reported).
class TemplateWalk {
 public:
  struct Input {
    const Value& params;
    const Value& local;
    const Origins& origins;
    const TimeZone& zone;
    const TemplateOptions& options;
  };

  /// A text that cannot be evaluated, and the top-level key that it stands under.
  struct Failure {
    Error error;
    std::string key;
  };

  TemplateWalk(const Input& input, TemplateEngine::Caches& caches, ScriptWorker& worker) : in_(input), caches_(caches), worker_(worker) {}

  /// Everything. Throws Failure.
  Evaluated evaluate();
  /// One text; `params` are its variables. Throws Failure.
  std::string render(std::string_view text);

 private:
  /// An object that is being rebuilt. Its members before `done` are visible to the strings in it.
  struct Level {
    const Level* outer;
    const Value* built;
    std::size_t done;
    std::string pointer;
  };
  /// Where the value of a variable was found.
  struct Place {
    const Value* value = nullptr;
    bool built = false;  ///< among the rebuilt ones, else in the params
    std::string pointer;
  };
  /// What a text is made of, for the question which parts of it are code.
  using Runs = std::vector<std::pair<std::size_t, std::size_t>>;
  struct Part {
    std::vector<Place> places;  ///< what an expression uses
    bool dynamic = false;       ///< it may use everything
    bool path = false;
  };
  struct Pending {
    std::shared_ptr<const Template> text;
    std::string pointer;
    Position position;
    std::vector<Part> parts;
    std::string cache_key;  ///< empty where the result must not be remembered
    Value request;
    std::string result;
  };

  void object(Value& value, const Level* outer);
  bool visit(Value& value, const Level& level, Position position);
  bool text(Value& value, const Level& level, Position position);
  /// The values of all expressions; nothing where JavaScript is needed.
  bool paths(const Template& text, const Level& level, Position position, std::vector<std::string>& values);
  void defer(const std::shared_ptr<const Template>& text, const Level& level, Position position, Value& value);
  void flush();
  void finish(Pending& pending, std::vector<std::string> values);

  Place find_near(const Level& level, std::string_view name) const;
  Place find_around(const Level& level, std::string_view name) const;
  bool is_pending(const Place& place, const Path& path) const;
  void add_fills(Array& fills, const char* in, const std::string& name, const Place& place) const;

  bool is_literal(const std::string& pointer) const;
  Origin origin_of_built(const std::string& pointer) const;
  bool is_clean(const Place& place) const;
  std::vector<Part> parts_of(const Template& text, const Level& level) const;
  std::string assemble(const Template& text, const std::vector<std::string>& values, const std::vector<Part>& parts,
                       const std::string& pointer);
  void record(const std::string& pointer, const std::string& result, const Runs* runs);

  [[noreturn]] void fail(const std::string& pointer, Position position, std::string_view text, const std::string& why);

  const Input& in_;
  TemplateEngine::Caches& caches_;
  ScriptWorker& worker_;
  Value all_;
  std::string pointer_;
  std::vector<Pending> pending_;
  std::unordered_map<std::string, Runs> runs_;  ///< the parts that are code, of texts that are not code as a whole
  std::unordered_map<std::string, SecretSpans> spans_;
};

}  // namespace digdag::dig
