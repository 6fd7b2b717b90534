#pragma once

#include <duktape.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/time.h"
#include "dig/script_engine.h"
#include "dig/script_heap.h"

namespace digdag::dig {

/// What the native functions of the engine share. Reached from the engine through `ScriptEngine::State::of`.
struct ScriptEngine::State {
  duk_context* js = nullptr;
  TimeZone zone;
  bool pure = true;
  std::uint64_t random = 1;

  ScriptHeap heap;

  static State& of(duk_context* js);
};

/// Replaces Date by one with the local times of `State::zone`, lenient parsing and Java's way to print (script_date.cpp).
void install_date(duk_context* js);
/// Pushes the object of native functions that js/prelude.js uses (script_java.cpp).
void push_java_natives(duk_context* js);

/// Pushes a UTF-8 text; characters beyond U+FFFF become two surrogates, as JavaScript counts them.
void push_text(duk_context* js, std::string_view utf8);
/// The string at `index` as valid UTF-8; surrogates without partner become U+FFFD.
std::string text_at(duk_context* js, duk_idx_t index);

}  // namespace digdag::dig
