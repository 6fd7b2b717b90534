#include "dig/template.h"

#include "base/error.h"
#include "base/text.h"
#include "dig/script_worker.h"
#include "dig/template_caches.h"
#include "dig/template_scanner.h"
#include "dig/template_walk.h"

namespace digdag::dig {

Origin Origins::of(std::string_view pointer) const {
  if (by_pointer_.empty()) return Origin::code;
  for (std::string above(pointer);; above.resize(above.rfind('/'))) {
    if (const auto found = by_pointer_.find(above); found != by_pointer_.end()) return found->second;
    if (above.empty()) return Origin::code;
  }
}

namespace {

bool is_changed_by_evaluation(const std::string& text) {
  if (text.find('$') == std::string::npos) return false;
  const std::vector<Template::Piece> pieces = scan_template(text, true).pieces;
  const auto* const literal = pieces.size() == 1 ? std::get_if<std::string>(&pieces.front()) : nullptr;
  return !literal || *literal != text;
}

}  // namespace

bool contains_template(const Value& value) {
  switch (value.kind()) {
    case Kind::string: return is_changed_by_evaluation(value.as_string());
    case Kind::array:
      for (const Value& element : value.as_array()) {
        if (contains_template(element)) return true;
      }
      return false;
    case Kind::object:
      for (const auto& member : value.as_object()) {
        if (contains_template(member.value)) return true;
      }
      return false;
    default: return false;
  }
}

TemplateEngine::TemplateEngine(ScriptWorker& worker, TemplateOptions options)
    : worker_(worker), options_(options), caches_(std::make_shared<Caches>()) {}

Evaluated TemplateEngine::evaluate(const Value& params, const Value& local, const Origins& origins, const TimeZone& zone,
                                   bool lenient) const {
  Value visible = params;
  std::vector<std::string> warnings;
  for (;;) {
    try {
      const TemplateWalk::Input input{visible, local, origins, zone, options_};
      Evaluated evaluated = TemplateWalk(input, *caches_, worker_).evaluate();
      evaluated.warnings = std::move(warnings);
      return evaluated;
    } catch (const TemplateWalk::Failure& failure) {
      if (!lenient || local.find(failure.key) || !visible.find(failure.key)) throw failure.error;
      // What used the left-out parameter sees that it is missing: the walk begins anew without it.
      visible.mutable_object().erase(failure.key);
      warnings.push_back("Parameter '" + failure.key + "' is left out: " + failure.error.message());
    }
  }
}

void TemplateEngine::interrupt() const { worker_.interrupt(); }

std::string TemplateEngine::render(std::string_view text, const Value& params, const TimeZone& zone) const {
  const Value nothing = Value::object();
  const Origins origins;
  const TemplateWalk::Input input{params, nothing, origins, zone, options_};
  try {
    return TemplateWalk(input, *caches_, worker_).render(text);
  } catch (const TemplateWalk::Failure& failure) {
    throw failure.error;
  }
}

std::optional<std::string> TemplateEngine::syntax_fault(const std::string& expression) const {
  const Value function("typeof function(){ return (" + expression + "\n) }");  // compiled, and called by nobody
  const Value nothing = Value::object();
  const Value text = Value::object({{"literals", Value(Array{Value(""), Value("")})},
                                    {"code", Value(Array{function})},
                                    {"scope", nothing},
                                    {"outer", nothing},
                                    {"fill", Value(Array())}});
  const Value message = Value::object({{"zone", TimeZone().id()}, {"texts", Value(Array{text})}});
  const Value answer = worker_.request(message, {options_.timeout_millis, options_.memory_bytes});
  const Value* const error = answer.find("results")->as_array().at(0).find("error");
  if (error == nullptr) return std::nullopt;
  std::string fault = error->as_string();
  if (!fault.starts_with("SyntaxError: ")) throw config_error(std::move(fault));
  // Lines are those of the function.
  if (const std::size_t line = fault.rfind(" (line "); line != std::string::npos && fault.ends_with(')')) fault.resize(line);
  return replace_all(std::move(fault), "\n", " ");
}

std::string expand_secrets(std::string_view text, const SecretSpans& spans, const std::function<std::string(std::string_view)>& lookup) {
  std::string result;
  std::size_t copied = 0;
  for (const auto& [at, length] : spans) {
    const std::string_view whole = text.substr(at, length);
    const std::string_view inside = whole.substr(2, whole.size() - 3);
    const std::size_t colon = inside.find(':');
    if (colon == std::string_view::npos || trim(inside.substr(0, colon)) != "secret") {
      throw config_error("Invalid parametrization: '" + std::string(whole) + "'");
    }
    result += text.substr(copied, at - copied);
    result += lookup(trim(inside.substr(colon + 1)));
    copied = at + length;
  }
  return result += text.substr(copied);
}

}  // namespace digdag::dig
