#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "base/value.h"
#include "schedule/requested_time.h"
#include "server/http.h"

namespace digdag::server {

/// The fields of a JSON body. Absent and null are the same; unknown fields are nobody's business (spec/rest-api.md 1.2). Everything
/// that is not as it must be is HttpError(400) that names the field.
class Body {
 public:
  explicit Body(const Request& request) : object_(request.json_object()) {}
  explicit Body(Value object) : object_(std::move(object)) {}

  /// `… some of required attributes are not set [workflowId, params]` where any of them is missing.
  void require(std::initializer_list<std::string_view> names) const;
  bool has(std::string_view name) const { return find(name) != nullptr; }

  // Of fields that must be there (see `require`):
  std::string text(std::string_view name) const;
  std::string secret(std::string_view name) const;  ///< a text that no error shows
  std::int64_t id(std::string_view name) const;     ///< a string of digits or a number
  bool flag(std::string_view name) const;
  Instant instant(std::string_view name) const;  ///< with a zone
  Value object(std::string_view name) const;

  std::optional<std::string> optional_text(std::string_view name) const;
  std::optional<std::int32_t> optional_int(std::string_view name) const;
  std::optional<Instant> optional_instant(std::string_view name) const;
  /// An instant or a local time.
  std::optional<schedule::RequestedTime> optional_time(std::string_view name) const;

 private:
  /// Nothing for an absent one and for null.
  const Value* find(std::string_view name) const;
  const Value& at(std::string_view name) const;

  Value object_;
};

}  // namespace digdag::server
