#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/properties.h"

namespace digdag::store {

/// Which sites this process serves (spec/server.md 4.3).
struct SiteSelection {
  enum class Mode : std::uint8_t { all, only, except };
  Mode mode = Mode::all;
  std::vector<std::int64_t> sites;

  /// Reads `<part>.account_routing.enabled`, `.include` and `.exclude`; `part` is agent, executor or scheduler. Throws Error(config).
  static SiteSelection of(const SystemConfig& system, std::string_view part);
  bool has(std::int64_t site_id) const;
  /// Those of this one that are not in `others`.
  SiteSelection without(const std::vector<std::int64_t>& others) const;
};

}  // namespace digdag::store
