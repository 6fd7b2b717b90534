#include "engine/params.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <utility>

#include "base/json_pointer.h"
#include "base/text.h"
#include "engine/param_run.h"

namespace digdag::engine {

using dig::Origin;
using dig::Origins;

namespace {

Origins without_those_below(const Origins& origins, std::string_view path) {
  Origins result;
  for (const auto& [pointer, origin] : origins.all()) {
    if (!is_at_or_below(pointer, path)) result.set(pointer, origin);
  }
  return result;
}

/// Gives everything at and below `path` the origins that it has in `from`, where it stands at `path_in_from`.
void replace_origins(Origins& into, const std::string& path, const Origins& from, const std::string& path_in_from) {
  Origins result = without_those_below(into, path);
  const Origin whole = from.of(path_in_from);
  if (whole != result.of(path)) result.set(path, whole);
  for (const auto& [pointer, origin] : from.all()) {
    if (pointer.size() > path_in_from.size() && is_at_or_below(pointer, path_in_from)) {
      result.set(path + pointer.substr(path_in_from.size()), origin);
    }
  }
  into = std::move(result);
}

/// Follows `merge(below, over)`: what is replaced takes the origins of `over`.
void merge_origins(Origins& into, const std::string& path, const Value& below, const Value& over, const Origins& from,
                   const std::string& path_in_from) {
  if (!below.is_object() || !over.is_object()) {
    replace_origins(into, path, from, path_in_from);
    return;
  }
  for (const auto& member : over.as_object()) {
    const std::string step = pointer_to("", member.key);
    const Value* existing = below.find(member.key);
    merge_origins(into, path + step, existing ? *existing : Value(), member.value, from, path_in_from + step);
  }
}

std::shared_ptr<const Origins> unless_empty(Origins origins) {
  if (origins.empty()) return nullptr;
  return std::make_shared<const Origins>(std::move(origins));
}

bool erase_below(Value& object, std::string_view path) {
  const std::size_t dot = path.find('.');
  const std::string_view key = path.substr(0, dot);
  if (!object.is_object() || !object.find(key)) return false;
  if (dot == std::string_view::npos) return object.mutable_object().erase(key);
  if (!object.find(key)->is_object()) return false;
  return erase_below(*object.mutable_object().find_mutable(key), path.substr(dot + 1));
}

}  // namespace

/// The newest keys, and what lies below them.
struct Params::Layer {
  ParamRun run;
  std::shared_ptr<const Layer> below;
  bool has_own_keys = false;  ///< whether here or below a key begins with `_`
  bool has_removed = false;   ///< whether here or below a removed key is remembered
  std::size_t level = 0;      ///< tells how many keys `run` has: 0 below 64, 1 below 4,096, …
  /// How many layers of each level stand here and below, down to the next one of a higher level.
  std::array<std::uint16_t, 4> layers_of_level{};

  // Made on first demand, perhaps by several threads at once.
  struct Whole {
    std::once_flag made;
    Value value;
    Origins origins;
  };
  mutable Whole whole;

  /// One layer after the other: they may be thousands.
  ~Layer() {
    std::shared_ptr<const Layer> next = std::move(below);
    while (next && next.use_count() == 1) next = std::shared_ptr<const Layer>(next->below);
  }
};

namespace {

constexpr std::size_t layers_put_together = 64;

std::size_t level_of(std::size_t keys) {
  std::size_t level = 0;
  for (; keys >= layers_put_together && level < 3; keys /= layers_put_together) ++level;
  return level;
}

ParamRun::Slot slot_of(ParamEntry entry, bool reappears) {
  const std::uint64_t hash = ParamRun::hash_of(entry.key);
  return ParamRun::Slot{std::make_shared<const ParamEntry>(std::move(entry)), hash, reappears};
}

/// What `member` of a new layer makes of the entry that is there, if any.
ParamEntry merged(const ParamEntry* existing, const Object::Member& member, const Origins& origins) {
  ParamEntry entry{member.key, member.value, member.position, false, nullptr};
  if (existing && existing->value.is_object() && member.value.is_object()) {
    entry.value = existing->value;
    merge(entry.value, member.value);
  }
  if ((existing && existing->origins) || !origins.empty()) {
    Origins result = existing && existing->origins ? *existing->origins : Origins();
    merge_origins(result, "", existing ? existing->value : Value(), member.value, origins, pointer_to("", member.key));
    entry.origins = unless_empty(std::move(result));
  }
  return entry;
}

}  // namespace

/// Puts layers together and looks for keys in them.
struct Params::Layering {
  using Pointer = std::shared_ptr<const Layer>;

  static const ParamEntry* find(const Layer* top, std::string_view key) {
    if (!top || (key.starts_with('_') && !top->has_own_keys)) return nullptr;
    const std::uint64_t hash = ParamRun::hash_of(key);
    for (const Layer* layer = top; layer; layer = layer->below.get()) {
      if (const auto* slot = layer->run.find(key, hash)) return slot->entry.get();
    }
    return nullptr;
  }

  static Pointer push(ParamRun run, Pointer below) {
    auto layer = std::make_shared<Layer>();
    for (const auto& slot : run.slots()) {
      if (slot.entry && slot.entry->key.starts_with('_')) layer->has_own_keys = true;
      if (slot.entry && slot.entry->removed) layer->has_removed = true;
    }
    layer->has_own_keys |= below && below->has_own_keys;
    layer->has_removed |= below && below->has_removed;
    layer->level = level_of(run.size());
    auto& counts = layer->layers_of_level;
    for (std::size_t level = layer->level; level < counts.size() && below; ++level) counts[level] = below->layers_of_level[level];
    ++counts[layer->level];
    layer->run = std::move(run);
    layer->below = std::move(below);
    if (counts[layer->level] < layers_put_together) return layer;
    return put_together(*layer);
  }

  /// The layers from `top` on down to the next one of a higher level as one.
  static Pointer put_together(const Layer& top) {
    std::vector<const Layer*> layers;
    for (const Layer* layer = &top; layer && layer->level <= top.level; layer = layer->below.get()) layers.push_back(layer);
    const Pointer below = layers.back()->below;
    return push(together(layers, below == nullptr), below);
  }

  /// `layers` stand newest first. Where nothing lies below them, removed keys need not be remembered.
  static ParamRun together(const std::vector<const Layer*>& layers, bool nothing_below) {
    std::size_t keys = 0;
    for (const Layer* layer : layers) keys += layer->run.size();
    ParamRun run;
    run.reserve(keys);
    for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer) {
      for (const auto& slot : (*layer)->run.slots()) {
        if (slot.entry) run.set(slot);
      }
    }
    if (!nothing_below) return run;
    ParamRun present;
    present.reserve(run.size());
    for (const auto& slot : run.slots()) {
      if (slot.entry && !slot.entry->removed) present.set(ParamRun::Slot{slot.entry, slot.hash, false});
    }
    return present;
  }

  static const Layer::Whole& whole(const Layer& top) {
    std::call_once(top.whole.made, [&top] {
      std::vector<const Layer*> layers;
      for (const Layer* layer = &top; layer; layer = layer->below.get()) layers.push_back(layer);
      const ParamRun run = together(layers, true);
      Object value;
      value.reserve(run.size());
      for (const auto& slot : run.slots()) {
        value.set(slot.entry->key, slot.entry->value, slot.entry->position);
        if (!slot.entry->origins) continue;
        for (const auto& [pointer, origin] : slot.entry->origins->all()) {
          top.whole.origins.set(pointer_to("", slot.entry->key) + pointer, origin);
        }
      }
      top.whole.value = Value(std::move(value));
    });
    return top.whole;
  }
};

Params Params::with(const Value& values, Origin origin, const std::vector<std::string>& literal) const {
  Origins origins;
  if (origin != Origin::code) origins.set("", origin);
  for (const std::string& pointer : literal) origins.set(pointer, Origin::data);
  return with(values, origins);
}

Params Params::with(const Value& values, const Origins& origins) const {
  if (!values.is_object() || values.as_object().empty()) return *this;
  ParamRun run;
  run.reserve(values.as_object().size());
  for (const auto& member : values.as_object()) {
    // What is there matters only to an object, and to the place of a key that was removed.
    const bool matters = top_ && (member.value.is_object() || top_->has_removed);
    const ParamEntry* existing = matters ? Layering::find(top_.get(), member.key) : nullptr;
    const bool reappears = existing && existing->removed;
    run.set(slot_of(merged(reappears ? nullptr : existing, member, origins), reappears));
  }
  return Params(Layering::push(std::move(run), top_));
}

Params Params::without(const std::vector<ConfigKey>& keys) const {
  Params result = *this;
  for (const ConfigKey& key : keys) {
    const std::size_t dot = key.find('.');
    const ParamEntry* existing = Layering::find(result.top_.get(), std::string_view(key).substr(0, dot));
    if (!existing || existing->removed) continue;
    ParamEntry entry = *existing;
    if (dot == std::string::npos) {
      entry = ParamEntry{key, {}, {}, true, nullptr};
    } else {
      if (!erase_below(entry.value, std::string_view(key).substr(dot + 1))) continue;
      if (entry.origins) {
        // ConfigKeys need no escapes: their names are letters, digits and underscores.
        entry.origins = unless_empty(without_those_below(*entry.origins, "/" + replace_all(key.substr(dot + 1), ".", "/")));
      }
    }
    ParamRun run;
    run.set(slot_of(std::move(entry), false));
    result.top_ = Layering::push(std::move(run), result.top_);
  }
  return result;
}

Value Params::find(std::string_view key) const {
  const ParamEntry* entry = Layering::find(top_.get(), key);
  return entry ? entry->value : Value();
}

Value Params::to_value() const {
  static const Value nothing = Value::object();
  return top_ ? Layering::whole(*top_).value : nothing;
}

Origins Params::origins() const { return top_ ? Layering::whole(*top_).origins : Origins(); }

Origin origin_of_operator(std::string_view type) {
  static constexpr std::array<std::string_view, 9> fetching = {"http",    "pg",       "redshift", "td",       "bq",
                                                               "s3_wait", "gcs_wait", "emr",      "param_get"};
  const bool data = std::find(fetching.begin(), fetching.end(), type) != fetching.end() || type.starts_with("td_") ||
                    type.starts_with("bq_") || type.starts_with("redshift_");
  return data ? Origin::data : Origin::stored;
}

}  // namespace digdag::engine
