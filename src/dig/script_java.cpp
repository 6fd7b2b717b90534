#include <cstdint>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "base/error.h"
#include "dig/java_format.h"
#include "dig/java_regex.h"
#include "dig/script_state.h"

// The native half of js/prelude.js. C++ exceptions must not pass through the engine: each function catches its own and throws
// the JavaScript error after everything of C++ is gone.

namespace digdag::dig {
namespace {

constexpr const char* java_string = DUK_HIDDEN_SYMBOL("java.lang.String");

std::u16string utf16_at(duk_context* js, duk_idx_t index) {
  std::u16string out;
  duk_size_t size = 0;
  const char* const bytes = duk_require_lstring(js, index, &size);
  // The engine keeps each UTF-16 unit as one sequence of up to three bytes.
  for (duk_size_t i = 0; i < size;) {
    const auto lead = static_cast<unsigned char>(bytes[i]);
    const auto unit = [&](duk_size_t k) { return i + k < size ? static_cast<unsigned>(bytes[i + k]) & 0x3fu : 0u; };
    if (lead < 0x80) {
      out += static_cast<char16_t>(lead);
      i += 1;
    } else if (lead < 0xe0) {
      out += static_cast<char16_t>(((lead & 0x1fu) << 6) | unit(1));
      i += 2;
    } else {
      out += static_cast<char16_t>(((lead & 0x0fu) << 12) | (unit(1) << 6) | unit(2));
      i += 3;
    }
  }
  return out;
}

void push_utf16(duk_context* js, std::u16string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char16_t unit : text) {
    if (unit < 0x80) {
      out += static_cast<char>(unit);
    } else if (unit < 0x800) {
      out += static_cast<char>(0xc0 | (unit >> 6));
      out += static_cast<char>(0x80 | (unit & 0x3f));
    } else {
      out += static_cast<char>(0xe0 | (unit >> 12));
      out += static_cast<char>(0x80 | ((unit >> 6) & 0x3f));
      out += static_cast<char>(0x80 | (unit & 0x3f));
    }
  }
  duk_push_lstring(js, out.data(), out.size());
}

/// Runs `work`, which pushes a result; what it throws becomes a JavaScript Error of that message.
template <typename Work>
duk_ret_t guarded(duk_context* js, Work work) {
  bool failed = false;
  try {
    work();
  } catch (const std::bad_alloc&) {
    std::_Exit(ScriptHeap::exit_out_of_memory);  // no error that an expression could catch
  } catch (const std::exception& error) {
    failed = true;
    push_text(js, error.what());
  }
  if (!failed) return 1;
  return duk_error(js, DUK_ERR_ERROR, "%s", duk_get_string(js, -1));
}

duk_ret_t matches(duk_context* js) {
  return guarded(js, [js] { duk_push_boolean(js, JavaRegex(utf16_at(js, 1)).matches(utf16_at(js, 0)) ? 1 : 0); });
}

duk_ret_t replace(duk_context* js) {
  return guarded(
      js, [js] { push_utf16(js, JavaRegex(utf16_at(js, 1)).replace(utf16_at(js, 0), utf16_at(js, 2), duk_get_boolean(js, 3) != 0)); });
}

duk_ret_t repeat(duk_context* js) {
  duk_size_t size = 0;
  const char* const text = duk_require_lstring(js, 0, &size);
  const double count = duk_require_number(js, 1);
  const double total = static_cast<double>(size) * count;
  if (ScriptEngine::State::of(js).heap.refuses(total)) {
    return duk_range_error(js, "the repeated string is too long");
  }
  char* const out = static_cast<char*>(duk_push_fixed_buffer(js, static_cast<duk_size_t>(size) * static_cast<duk_size_t>(count)));
  for (duk_size_t i = 0; i < static_cast<duk_size_t>(count); ++i) {
    for (duk_size_t k = 0; k < size; ++k) out[i * size + k] = text[k];
  }
  duk_buffer_to_string(js, -1);
  return 1;
}

Value argument_at(duk_context* js, duk_idx_t index) {
  switch (duk_get_type(js, index)) {
    case DUK_TYPE_UNDEFINED:
    case DUK_TYPE_NULL: return nullptr;
    case DUK_TYPE_BOOLEAN: return duk_get_boolean(js, index) != 0;
    case DUK_TYPE_NUMBER: return duk_get_number(js, index);
    default: return text_at(js, index);
  }
}

duk_ret_t format(duk_context* js) {
  const duk_size_t count = duk_get_length(js, 1);
  // Texts of objects are made first: their toString may throw.
  for (duk_uarridx_t i = 0; i < count; ++i) {
    duk_get_prop_index(js, 1, i);
    if (duk_is_object(js, -1)) duk_to_string(js, -1);
    duk_put_prop_index(js, 1, i);
  }
  return guarded(js, [js, count] {
    std::vector<Value> arguments;
    for (duk_uarridx_t i = 0; i < count; ++i) {
      duk_get_prop_index(js, 1, i);
      arguments.push_back(argument_at(js, -1));
      duk_pop(js);
    }
    push_text(js, java_format(text_at(js, 0), arguments));
  });
}

duk_ret_t mark(duk_context* js) {
  duk_push_true(js);
  duk_put_prop_string(js, 0, java_string);
  duk_dup(js, 0);
  return 1;
}

/// How a template prints a value that is no string.
duk_ret_t stringify(duk_context* js) {
  if (duk_is_object(js, 0) && duk_has_prop_string(js, 0, java_string)) {
    duk_to_string(js, 0);
    return 1;
  }
  duk_push_global_stash(js);
  duk_get_prop_string(js, -1, "json");
  duk_dup(js, 0);
  duk_call(js, 1);
  return 1;
}

duk_ret_t print_with(duk_context* js) {
  duk_push_global_stash(js);
  duk_dup(js, 0);
  duk_put_prop_string(js, -2, "json");
  duk_push_c_function(js, stringify, 1);
  duk_put_prop_string(js, -2, "stringify");
  return 0;
}

}  // namespace

void push_java_natives(duk_context* js) {
  const duk_function_list_entry functions[] = {{"matches", matches, 2}, {"replace", replace, 4}, {"repeat", repeat, 2},
                                               {"format", format, 2},   {"mark", mark, 1},       {"print_with", print_with, 1},
                                               {nullptr, nullptr, 0}};
  duk_push_object(js);
  duk_put_function_list(js, -1, functions);
}

}  // namespace digdag::dig
