#include "dig/script_engine.h"

#include <cstdlib>
#include <cstring>
#include <ctime>

#include "base/error.h"
#include "base/text.h"
#include "dig/java_calls.h"
#include "dig/script_state.h"
#include "dig/template_scanner.h"

namespace digdag::dig {

extern const unsigned char prelude_bytecode[];
extern const std::size_t prelude_bytecode_size;
extern const unsigned char moment_bytecode[];
extern const std::size_t moment_bytecode_size;

namespace {

ScriptHeap& heap_of(void* udata) { return static_cast<ScriptEngine::State*>(udata)->heap; }
void* allocate(void* udata, duk_size_t size) { return heap_of(udata).allocate(size); }
void* reallocate(void* udata, void* block, duk_size_t size) { return heap_of(udata).reallocate(block, size); }
void release(void* udata, void* block) { heap_of(udata).release(block); }

/// An error that the engine cannot report, for there is no memory left to say so.
void fatal(void*, const char*) { std::_Exit(ScriptHeap::exit_out_of_memory); }

duk_ret_t random_number(duk_context* js) {
  ScriptEngine::State& state = ScriptEngine::State::of(js);
  state.pure = false;
  // SplitMix64
  std::uint64_t z = (state.random += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  duk_push_number(js, static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53);
  return 1;
}

duk_ret_t load(duk_context* js, void*) {
  const auto push_script = [&](const unsigned char* bytecode, std::size_t size) {
    std::memcpy(duk_push_fixed_buffer(js, size), bytecode, size);
    duk_load_function(js);
    duk_call(js, 0);
  };
  install_date(js);
  duk_get_global_string(js, "Math");
  duk_push_string(js, "random");
  duk_push_c_function(js, random_number, 0);
  duk_def_prop(js, -3, DUK_DEFPROP_HAVE_VALUE | DUK_DEFPROP_SET_WRITABLE | DUK_DEFPROP_CLEAR_ENUMERABLE | DUK_DEFPROP_SET_CONFIGURABLE);
  duk_pop(js);
  push_script(prelude_bytecode, prelude_bytecode_size);
  push_java_natives(js);
  duk_call(js, 1);
  push_script(moment_bytecode, moment_bytecode_size);
  // What moment makes when it is first used, it makes here, once, and not in each fork.
  duk_eval_string_noresult(js, "moment('2026-01-02T03:04:05+00:00').add(1, 'days').startOf('month').format('YYYY-MM-DD HH:mm:ss Z')");
  duk_eval_string_noresult(js, "moment('no date')");
  duk_gc(js, 0);
  duk_gc(js, 0);
  return 0;
}

void push_value(duk_context* js, const Value& value) {
  switch (value.kind()) {
    case Kind::null: duk_push_null(js); break;
    case Kind::boolean: duk_push_boolean(js, value.as_boolean()); break;
    case Kind::integer:
    case Kind::big_integer:
    case Kind::number: duk_push_number(js, value.as_number()); break;
    case Kind::string: push_text(js, value.as_string()); break;
    case Kind::array: {
      duk_require_stack(js, 4);
      duk_push_array(js);
      duk_uarridx_t i = 0;
      for (const Value& item : value.as_array()) {
        push_value(js, item);
        duk_put_prop_index(js, -2, i++);
      }
      break;
    }
    case Kind::object:
      duk_require_stack(js, 4);
      duk_push_object(js);
      for (const auto& member : value.as_object()) {
        push_text(js, member.key);
        push_value(js, member.value);
        // As own data, also where the name is __proto__.
        duk_def_prop(js, -3, DUK_DEFPROP_HAVE_VALUE | DUK_DEFPROP_SET_WRITABLE | DUK_DEFPROP_SET_ENUMERABLE | DUK_DEFPROP_SET_CONFIGURABLE);
      }
      break;
  }
}

/// One function for all expressions of a text, so that they share what they assign; the form of the code is the original's,
/// for it decides what counts as one expression (spec/language.md 8.4).
std::string code_of(const std::vector<std::string>& expressions) {
  std::string code = "(function(__stringify){with(this){var __t,__p=[],print=function(){};";
  for (const std::string& expression : expressions) {
    code += "__p.push(((__t=(";
    code += with_java_calls(expression);
    code += "))==null?'':typeof __t=='string'?__t:__stringify(__t)));";
  }
  code += "return __p;}})";
  return code;
}

struct Request {
  const std::string* code;
  const Value* scope;
  std::size_t count;
  std::vector<std::string>* values;
};

duk_ret_t run(duk_context* js, void* udata) {
  const Request& request = *static_cast<Request*>(udata);
  push_text(js, *request.code);
  duk_push_string(js, "expression");
  duk_compile(js, DUK_COMPILE_EVAL);
  duk_call(js, 0);
  push_value(js, *request.scope);
  duk_push_global_stash(js);
  duk_get_prop_string(js, -1, "stringify");
  duk_remove(js, -2);
  duk_call_method(js, 1);
  for (std::size_t i = 0; i < request.count; ++i) {
    duk_get_prop_index(js, -1, static_cast<duk_uarridx_t>(i));
    // A value without JSON (a function) prints as the word undefined.
    request.values->push_back(duk_is_undefined(js, -1) ? "undefined" : text_at(js, -1));
    duk_pop(js);
  }
  return 0;
}

/// The thrown value at the top as the original words it.
std::string error_text(duk_context* js) {
  if (!duk_is_error(js, -1) && duk_is_object(js, -1)) return "Object";
  duk_safe_to_string(js, -1);
  std::string text = replace_all(text_at(js, -1), java_call_mark, "");
  constexpr std::string_view before = "ReferenceError: identifier '", after = "' undefined";
  if (text.starts_with(before) && text.ends_with(after)) {
    return "ReferenceError: " + text.substr(before.size(), text.size() - before.size() - after.size()) + " is not defined";
  }
  return text;
}

}  // namespace

ScriptEngine::State& ScriptEngine::State::of(duk_context* js) {
  duk_memory_functions functions;
  duk_get_memory_functions(js, &functions);
  return *static_cast<State*>(functions.udata);
}

ScriptEngine::ScriptEngine() : state_(std::make_unique<State>()) {
  state_->js = duk_create_heap(allocate, reallocate, release, state_.get(), fatal);
  if (!state_->js) throw Error("runtime", "the JavaScript engine cannot be started");
  if (duk_safe_call(state_->js, load, nullptr, 0, 1) != DUK_EXEC_SUCCESS) {
    const std::string cause = duk_safe_to_string(state_->js, -1);
    duk_destroy_heap(state_->js);
    throw Error("runtime", "the JavaScript engine cannot be started: " + cause);
  }
  duk_pop(state_->js);
}

void ScriptEngine::begin_fork() { state_->heap.begin_fork(); }

ScriptEngine::~ScriptEngine() { duk_destroy_heap(state_->js); }

void ScriptEngine::use_zone(const TimeZone& zone) {
  if (zone == state_->zone) return;
  state_->zone = zone;
  (void)zone.offset_at(Instant{0});
  setenv("TZ", (":" + zone.id()).c_str(), 1);
  tzset();
}

ScriptEngine::Result ScriptEngine::evaluate(const std::vector<std::string>& expressions, const Value& scope, const Limits& limits) {
  Result result;
  for (const std::string& expression : expressions) {
    // The engine takes some newer syntax; what it takes today must not become what workflows rely on.
    if (const auto newer = newer_syntax(expression)) {
      result.error = "SyntaxError: " + std::string(*newer) + " is newer than ES5.1, the language of expressions";
      return result;
    }
  }
  State& state = *state_;
  state.pure = true;
  state.random = limits.random_seed;
  state.heap.limit(static_cast<std::size_t>(limits.memory_bytes));
  const std::string code = code_of(expressions);
  Request request{&code, &scope, expressions.size(), &result.values};
  if (duk_safe_call(state.js, run, &request, 0, 1) != DUK_EXEC_SUCCESS) {
    state.heap.no_limit();
    result.values.clear();
    result.error = error_text(state.js);
    result.out_of_memory = state.heap.was_refused();
    result.undefined_name = result.error.starts_with("ReferenceError: ") && result.error.ends_with(" is not defined");
  }
  duk_pop(state.js);
  state.heap.no_limit();
  result.pure = state.pure;
  return result;
}

std::vector<std::string> ScriptEngine::global_names() {
  std::vector<std::string> names;
  duk_push_global_object(state_->js);
  duk_enum(state_->js, -1, DUK_ENUM_INCLUDE_NONENUMERABLE | DUK_ENUM_OWN_PROPERTIES_ONLY);
  while (duk_next(state_->js, -1, 0)) {
    names.push_back(text_at(state_->js, -1));
    duk_pop(state_->js);
  }
  duk_pop_2(state_->js);
  return names;
}

}  // namespace digdag::dig
