#include "dig/template_walk.h"

#include <algorithm>

#include "base/json.h"
#include "base/json_pointer.h"
#include "base/text.h"
#include "dig/script_worker.h"
#include "dig/template_value.h"

namespace digdag::dig {
namespace {

/// Results of texts whose variables are bigger than this are not remembered.
constexpr std::size_t most_key_bytes = 64 << 10;

/// A key whose value is config of tasks to come and is evaluated there.
bool is_verbatim(std::string_view key) { return key == "_do" || key == "_else_do"; }

/// `${cmd:key}` in `text` within one of `runs`.
SecretSpans find_secrets(const std::string& text, const std::vector<std::pair<std::size_t, std::size_t>>& runs) {
  SecretSpans spans;
  for (const auto& [begin, end] : runs) {
    for (std::size_t at = text.find("${", begin); at != std::string::npos && at < end; at = text.find("${", at)) {
      const std::size_t colon = text.find(':', at + 3);
      const std::size_t close = colon == std::string::npos ? colon : text.find('}', colon + 2);
      const bool one_line = close != std::string::npos && text.find_first_of("\r\n", at) >= close;
      if (close == std::string::npos || close >= end || !one_line || text.find('}', at) < colon) {
        at += 2;
        continue;
      }
      spans.emplace_back(at, close + 1 - at);
      at = close + 1;
    }
  }
  return spans;
}

}  // namespace

// ---- the walk ----------------------------------------------------------------------------------------------------------

Evaluated TemplateWalk::evaluate() {
  all_ = in_.params.is_object() ? in_.params : Value::object();
  merge(all_, in_.local.is_object() ? in_.local : Value::object());
  object(all_, nullptr);
  flush();
  for (const Pending& pending : pending_) {
    Value* at = &all_;
    for (const std::string& step : pointer_keys(pending.pointer)) {
      at = at->is_array() ? &at->mutable_array().at(std::stoull(step)) : at->mutable_object().find_mutable(step);
    }
    *at = Value(pending.result);
  }
  return {std::move(all_), std::move(spans_), {}};
}

std::string TemplateWalk::render(std::string_view text) {
  Value value(text);
  const Value nothing = Value::object();
  const Level level{nullptr, &nothing, 0, ""};
  this->text(value, level, {});
  flush();
  return pending_.empty() ? value.as_string() : pending_.front().result;
}

void TemplateWalk::object(Value& value, const Level* outer) {
  Level level{outer, &value, 0, pointer_};
  for (; level.done < value.as_object().size(); ++level.done) {
    const Object::Member& member = value.as_object()[level.done];
    if (is_verbatim(member.key) || !caches_.has_dollar(member.value)) continue;
    Value rebuilt = member.value;
    const Position position = member.position;
    const std::size_t length = pointer_.size();
    pointer_ += '/';
    pointer_ += pointer_step(member.key);
    const std::string key = member.key;
    if (visit(rebuilt, level, position)) *value.mutable_object().find_mutable(key) = std::move(rebuilt);
    pointer_.resize(length);
  }
}

bool TemplateWalk::visit(Value& value, const Level& level, Position position) {
  if (value.is_string()) return text(value, level, position);
  if (value.is_object()) {
    object(value, &level);
    return true;
  }
  if (!value.is_array()) return false;
  for (std::size_t i = 0; i < value.as_array().size(); ++i) {
    if (!caches_.has_dollar(value.as_array()[i])) continue;
    Value rebuilt = value.as_array()[i];
    const std::size_t length = pointer_.size();
    pointer_ += '/' + std::to_string(i);
    if (visit(rebuilt, level, position)) value.mutable_array()[i] = std::move(rebuilt);
    pointer_.resize(length);
  }
  return true;
}

bool TemplateWalk::text(Value& value, const Level& level, Position position) {
  if (!in_.origins.empty() && is_literal(pointer_)) return false;
  const auto scanned = caches_.template_of(value.as_string(), in_.options.extended_syntax);
  std::vector<std::string> values;
  if (!paths(*scanned, level, position, values)) {
    defer(scanned, level, position, value);
    return true;
  }
  const std::string result = assemble(*scanned, values, parts_of(*scanned, level), pointer_);
  if (result == value.as_string()) return false;
  value = Value(result);
  return true;
}

bool TemplateWalk::paths(const Template& text, const Level& level, Position position, std::vector<std::string>& values) {
  // Any other expression may assign to what a path names.
  for (const auto& piece : text.pieces) {
    const auto* const expression = std::get_if<Expression>(&piece);
    if (expression && !expression->path) return false;
  }
  for (const auto& piece : text.pieces) {
    const auto* const expression = std::get_if<Expression>(&piece);
    if (!expression) continue;
    const Path& path = *expression->path;
    Place place = find_near(level, path.variable);
    if (!place.value && is_javascript_name(path.variable)) return false;
    if (!place.value) place = find_around(level, path.variable);
    if (!place.value) fail(pointer_, position, text.text, "ReferenceError: " + path.variable + " is not defined");
    if (is_pending(place, path)) return false;
    PropertyResult result = read_properties(*place.value, path);
    if (result.kind == PropertyResult::Kind::javascript) return false;
    if (result.kind == PropertyResult::Kind::type_error) fail(pointer_, position, text.text, result.text);
    values.push_back(std::move(result.text));
  }
  return true;
}

// ---- variables ---------------------------------------------------------------------------------------------------------

TemplateWalk::Place TemplateWalk::find_near(const Level& level, std::string_view name) const {
  const Object& built = level.built->as_object();
  const Object::Member* const member = built.empty() ? nullptr : built.find_member(name);
  if (member && static_cast<std::size_t>(member - &built[0]) < level.done) return {&member->value, true, pointer_to(level.pointer, name)};
  const Value* const param = in_.params.find(name);
  return param ? Place{param, false, pointer_to("", name)} : Place{};
}

TemplateWalk::Place TemplateWalk::find_around(const Level& level, std::string_view name) const {
  for (const Level* outer = level.outer; outer; outer = outer->outer) {
    const Object& built = outer->built->as_object();
    const Object::Member* const member = built.empty() ? nullptr : built.find_member(name);
    if (member && static_cast<std::size_t>(member - &built[0]) < outer->done) {
      return {&member->value, true, pointer_to(outer->pointer, name)};
    }
  }
  return {};
}

bool TemplateWalk::is_pending(const Place& place, const Path& path) const {
  if (!place.built || pending_.empty()) return false;
  std::string pointer = place.pointer;
  for (const Path::Step& step : path.steps) pointer += '/' + pointer_step(step.name);
  return std::any_of(pending_.begin(), pending_.end(), [&](const Pending& pending) {
    return is_at_or_below(pending.pointer, pointer) || is_at_or_below(pointer, pending.pointer);
  });
}

void TemplateWalk::add_fills(Array& fills, const char* in, const std::string& name, const Place& place) const {
  if (!place.built) return;
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    if (!is_at_or_below(pending_[i].pointer, place.pointer)) continue;
    Array path{Value(name)};
    for (std::string& step : pointer_keys(std::string_view(pending_[i].pointer).substr(place.pointer.size())))
      path.emplace_back(std::move(step));
    fills.push_back(Value::object({{"in", in}, {"path", Value(std::move(path))}, {"from", static_cast<std::int64_t>(i)}}));
  }
}

// ---- JavaScript --------------------------------------------------------------------------------------------------------

void TemplateWalk::defer(const std::shared_ptr<const Template>& text, const Level& level, Position position, Value& value) {
  Value scope = Value::object(), outer = Value::object();
  Array literals{Value("")}, code, fills;
  bool dynamic = false;
  const auto add = [&](Value& into, const char* in, const std::string& name, const Place& place) {
    if (into.find(name)) return;
    into.mutable_object().set(name, *place.value);
    add_fills(fills, in, name, place);
  };
  for (const auto& piece : text->pieces) {
    if (const auto* const literal = std::get_if<std::string>(&piece)) {
      literals.back() = Value(literals.back().as_string() + *literal);
      continue;
    }
    const Expression& expression = std::get<Expression>(piece);
    code.emplace_back(expression.code);
    literals.emplace_back("");
    dynamic = dynamic || expression.dynamic;
    for (const std::string& name : expression.identifiers) {
      if (const Place near = find_near(level, name); near.value) {
        add(scope, "scope", name, near);
      } else if (const Place around = find_around(level, name); around.value) {
        add(outer, "outer", name, around);
      }
    }
  }
  if (dynamic) {
    scope = Value::object();
    outer = Value::object();
    fills.clear();
    if (in_.params.is_object()) {
      for (const auto& member : in_.params.as_object()) add(scope, "scope", member.key, find_near(level, member.key));
    }
    for (const Level* at = &level; at; at = at->outer) {
      const Object& built = at->built->as_object();
      for (std::size_t i = 0; i < at->done; ++i) {
        const bool near = at == &level;
        add(near ? scope : outer, near ? "scope" : "outer", built[i].key, {&built[i].value, true, pointer_to(at->pointer, built[i].key)});
      }
    }
  }
  Pending pending{text, pointer_, position, parts_of(*text, level), {}, {}, {}};
  if (!dynamic && fills.empty()) {
    pending.cache_key = in_.zone.id() + '\n' + text->text + '\0' + to_json(scope) + '\0' + to_json(outer);
    if (pending.cache_key.size() > most_key_bytes) {
      pending.cache_key.clear();
    } else if (const auto found = caches_.results.find(pending.cache_key)) {
      value = Value(assemble(*text, **found, pending.parts, pointer_));
      return;
    }
  }
  pending.request = Value::object({{"literals", Value(std::move(literals))},
                                   {"code", Value(std::move(code))},
                                   {"scope", std::move(scope)},
                                   {"outer", std::move(outer)},
                                   {"fill", Value(std::move(fills))}});
  pending_.push_back(std::move(pending));
  value = Value("");
}

void TemplateWalk::flush() {
  if (pending_.empty()) return;
  Array texts;
  for (Pending& pending : pending_) texts.push_back(std::move(pending.request));
  const Value message = Value::object({{"zone", in_.zone.id()}, {"texts", Value(std::move(texts))}});
  Value answer;
  std::string broken;
  try {
    answer = worker_.request(message, {in_.options.timeout_millis, in_.options.memory_bytes});
  } catch (const Error& error) {
    broken = error.message();
  }
  const Value* const results = answer.find("results");
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    Pending& pending = pending_[i];
    const Value result = results && i < results->as_array().size() ? results->as_array()[i] : Value();
    const Value* const values = result.find("values");
    if (!values) {
      const Value* const error = result.find("error");
      if (broken.empty()) broken = error ? error->as_string() : "evaluation gave no answer";
      const Pending failed = std::move(pending);
      pending_.clear();
      fail(failed.pointer, failed.position, failed.text->text, broken);
    }
    std::vector<std::string> texts_of_values;
    for (const Value& value : values->as_array()) texts_of_values.push_back(value.as_string());
    const Value* const pure = result.find("pure");
    if (!pending.cache_key.empty() && pure && pure->is_boolean() && pure->as_boolean()) {
      std::size_t bytes = 64;
      for (const std::string& value : texts_of_values) bytes += value.size() + 32;
      caches_.results.insert(std::move(pending.cache_key), std::make_shared<const std::vector<std::string>>(texts_of_values), bytes);
    }
    pending.result = assemble(*pending.text, texts_of_values, pending.parts, pending.pointer);
  }
}

void TemplateWalk::fail(const std::string& pointer, Position position, std::string_view text, const std::string& why) {
  // Texts that wait stand before this one; one of them may fail first.
  flush();
  const std::vector<std::string> steps = pointer_keys(pointer);
  Error error = config_error("Failed to evaluate a variable " + std::string(text) + " (" + why + ")");
  if (position.known()) error = std::move(error).at(position);
  throw Failure{std::move(error), steps.empty() ? std::string() : steps.front()};
}

// ---- what is code ------------------------------------------------------------------------------------------------------

bool TemplateWalk::is_literal(const std::string& pointer) const {
  const Origin origin = origin_of_built(pointer);
  switch (in_.options.stored_params) {
    case TemplateOptions::StoredParams::all: return false;
    case TemplateOptions::StoredParams::none: return origin != Origin::code;
    default: return origin == Origin::data;
  }
}

/// What the task itself says is code, also where it replaces a parameter that is not.
Origin TemplateWalk::origin_of_built(const std::string& pointer) const {
  const Value* local = &in_.local;
  const Value* param = &in_.params;
  for (const std::string& step : pointer_keys(pointer)) {
    local = local->find(step);
    if (!local) break;
    param = param ? param->find(step) : nullptr;
    if (!local->is_object() || !param || !param->is_object()) return Origin::code;
  }
  return in_.origins.of(pointer);
}

bool TemplateWalk::is_clean(const Place& place) const {
  const Origin origin = place.built ? origin_of_built(place.pointer) : in_.origins.of(place.pointer);
  if (origin != Origin::code) return false;
  for (const auto& [pointer, below] : in_.origins.all()) {
    if (below != Origin::code && is_at_or_below(pointer, place.pointer) && (!place.built || origin_of_built(pointer) != Origin::code))
      return false;
  }
  if (!place.built) return true;
  return std::none_of(runs_.begin(), runs_.end(), [&](const auto& run) { return is_at_or_below(run.first, place.pointer); });
}

std::vector<TemplateWalk::Part> TemplateWalk::parts_of(const Template& text, const Level& level) const {
  std::vector<Part> parts;
  if (in_.origins.empty()) return parts;
  for (const auto& piece : text.pieces) {
    const auto* const expression = std::get_if<Expression>(&piece);
    if (!expression) continue;
    Part part;
    part.dynamic = expression->dynamic;
    part.path = expression->path.has_value();
    const auto use = [&](const std::string& name) -> Place* {
      Place place = find_near(level, name);
      if (!place.value) place = find_around(level, name);
      if (!place.value) return nullptr;
      part.places.push_back(std::move(place));
      return &part.places.back();
    };
    if (expression->path) {
      if (Place* const place = use(expression->path->variable)) {
        for (const Path::Step& step : expression->path->steps) place->pointer += '/' + pointer_step(step.name);
      }
    } else {
      for (const std::string& name : expression->identifiers) use(name);
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

std::string TemplateWalk::assemble(const Template& text, const std::vector<std::string>& values, const std::vector<Part>& parts,
                                   const std::string& pointer) {
  std::string result;
  Runs runs;
  const auto code = [&](std::size_t begin, std::size_t end) {
    if (!runs.empty() && runs.back().second == begin) {
      runs.back().second = end;
    } else if (end > begin) {
      runs.emplace_back(begin, end);
    }
  };
  const bool all_code = in_.origins.empty();
  const bool stored = !all_code && origin_of_built(pointer) != Origin::code;
  std::size_t next = 0;
  for (const auto& piece : text.pieces) {
    const std::size_t begin = result.size();
    if (const auto* const literal = std::get_if<std::string>(&piece)) {
      result += *literal;
      if (!stored) code(begin, result.size());
      continue;
    }
    result += values.at(next);
    if (!all_code && !stored) {
      const Part& part = parts.at(next);
      const auto known =
          part.path && !part.places.empty() && part.places.front().built ? runs_.find(part.places.front().pointer) : runs_.end();
      if (known != runs_.end()) {
        for (const auto& [from, to] : known->second) code(begin + from, begin + to);
      } else if (!part.dynamic &&
                 std::all_of(part.places.begin(), part.places.end(), [&](const Place& place) { return is_clean(place); })) {
        code(begin, result.size());
      }
    }
    ++next;
  }
  record(pointer, result, all_code ? nullptr : &runs);
  return result;
}

void TemplateWalk::record(const std::string& pointer, const std::string& result, const Runs* runs) {
  const Runs whole{{0, result.size()}};
  if (runs && *runs != whole && !result.empty()) runs_.insert_or_assign(pointer, *runs);
  if (result.find("${") == std::string::npos) return;
  SecretSpans spans = find_secrets(result, runs ? *runs : whole);
  if (!spans.empty()) spans_.insert_or_assign(pointer, std::move(spans));
}

}  // namespace digdag::dig
