#include "dig/template_value.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <unordered_set>

#include "base/json.h"
#include "base/text.h"

namespace digdag::dig {
namespace {

void append_string(std::string& out, std::string_view text) {
  static constexpr char hex[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += "\\u00";
          out += hex[static_cast<unsigned char>(c) >> 4];
          out += hex[c & 0xf];
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

/// The array index that a key is (`7`, not `07`), which comes first in the order of an object's keys.
std::optional<std::uint32_t> index_of(std::string_view key) {
  if (key.empty() || key.size() > 10 || (key.size() > 1 && key.front() == '0')) return std::nullopt;
  std::uint32_t n = 0;
  const auto end = std::from_chars(key.data(), key.data() + key.size(), n);
  if (end.ec != std::errc() || end.ptr != key.data() + key.size() || n == UINT32_MAX) return std::nullopt;
  return n;
}

void append_json(std::string& out, const Value& value);

void append_members(std::string& out, const Object& object) {
  std::map<std::uint32_t, const Object::Member*> indexed;
  for (const auto& member : object) {
    if (const auto index = index_of(member.key)) indexed.emplace(*index, &member);
  }
  bool first = true;
  const auto append = [&](const Object::Member& member) {
    if (!first) out += ',';
    first = false;
    append_string(out, member.key);
    out += ':';
    append_json(out, member.value);
  };
  for (const auto& [index, member] : indexed) append(*member);
  for (const auto& member : object) {
    if (indexed.empty() || !index_of(member.key)) append(member);
  }
}

void append_json(std::string& out, const Value& value) {
  switch (value.kind()) {
    case Kind::null: out += "null"; break;
    case Kind::boolean: out += value.as_boolean() ? "true" : "false"; break;
    case Kind::integer:
    case Kind::big_integer:
    case Kind::number: out += js_number(value.as_number()); break;
    case Kind::string: append_string(out, value.as_string()); break;
    case Kind::array: {
      out += '[';
      bool first = true;
      for (const Value& item : value.as_array()) {
        if (!first) out += ',';
        first = false;
        append_json(out, item);
      }
      out += ']';
      break;
    }
    case Kind::object:
      out += '{';
      append_members(out, value.as_object());
      out += '}';
      break;
  }
}

const std::unordered_set<std::string_view>& members_of_every_object() {
  static const std::unordered_set<std::string_view> names = {
      "constructor",      "__proto__",        "toString",         "toLocaleString",
      "valueOf",          "hasOwnProperty",   "isPrototypeOf",    "propertyIsEnumerable",
      "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__"};
  return names;
}

}  // namespace

std::string template_text(const Value& value) {
  if (value.is_null()) return {};
  if (value.is_string()) return value.as_string();
  std::string out;
  append_json(out, value);
  return out;
}

PropertyResult read_properties(const Value& variable, const Path& path) {
  using Result = PropertyResult::Kind;
  const Value* at = &variable;
  bool missing = false;
  Value length;
  for (const Path::Step& step : path.steps) {
    if (missing || at->is_null()) {
      return {Result::type_error, "TypeError: Cannot read property '" + step.name + "' of " + (missing ? "undefined" : "null")};
    }
    if (at->is_object()) {
      const Value* const found = at->find(step.name);
      if (!found && members_of_every_object().contains(step.name)) return {Result::javascript, {}};
      missing = found == nullptr;
      if (found) at = found;
    } else if (at->is_array() && step.index) {
      missing = *step.index >= at->as_array().size();
      if (!missing) at = &at->as_array()[*step.index];
    } else if ((at->is_array() || at->is_string()) && step.name == "length") {
      length = static_cast<std::int64_t>(at->is_array() ? at->as_array().size() : utf16_length(at->as_string()));
      at = &length;
    } else {
      return {Result::javascript, {}};
    }
  }
  return {Result::value, missing ? std::string() : template_text(*at)};
}

bool is_javascript_name(std::string_view name) {
  static const std::unordered_set<std::string_view> names = {
      // the global object
      "NaN", "Infinity", "undefined", "Object", "Function", "Array", "String", "Boolean", "Number", "Date", "RegExp", "Error", "EvalError",
      "RangeError", "ReferenceError", "SyntaxError", "TypeError", "URIError", "Math", "JSON", "ArrayBuffer", "DataView", "Int8Array",
      "Uint8Array", "Uint8ClampedArray", "Int16Array", "Uint16Array", "Int32Array", "Uint32Array", "Float32Array", "Float64Array",
      "parseInt", "parseFloat", "eval", "isNaN", "isFinite", "decodeURI", "decodeURIComponent", "encodeURI", "encodeURIComponent", "escape",
      "unescape", "moment", "java",
      // the function around an expression
      "arguments", "print", "__t", "__p", "__stringify"};
  return names.contains(name) || members_of_every_object().contains(name);
}

}  // namespace digdag::dig
