#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/value.h"
#include "dig/template.h"
#include "engine/task.h"

namespace digdag::engine {

/// The parameters that a task sees: immutable layers with shared structure (design "Parameters of a task"). A copy is a
/// pointer. Adding a layer costs what the layer holds, amortised: layers of about the same size are put together when there
/// are many of them, so a chain of 100,000 tasks that each store a key stays linear. Thread-safe (immutable).
class Params {
 public:
  Params() = default;

  /// This, with `values` (an object or null) merged over it (spec/language.md 4.5). `literal`: JSON pointers into `values` that
  /// are of origin `data` although the layer is not.
  Params with(const Value& values, dig::Origin origin = dig::Origin::code, const std::vector<std::string>& literal = {}) const;
  /// The same for values of several origins.
  Params with(const Value& values, const dig::Origins& origins) const;
  /// This without these dotted keys.
  Params without(const std::vector<ConfigKey>& keys) const;

  /// The value of a top-level key, merged over all layers; null where it is not there.
  Value find(std::string_view key) const;
  /// Everything, in the order in which keys first appeared. The object is made once for each set of layers and shared.
  Value to_value() const;
  /// The origins other than code of the strings in `to_value()`.
  dig::Origins origins() const;

 private:
  struct Layer;
  struct Layering;
  explicit Params(std::shared_ptr<const Layer> top) : top_(std::move(top)) {}
  std::shared_ptr<const Layer> top_;  ///< nullptr: no parameters
};

/// What values stored or exported by a task of this operator type count as (spec/decisions.md L-21).
dig::Origin origin_of_operator(std::string_view type);

}  // namespace digdag::engine
