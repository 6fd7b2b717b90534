#include "store/site_selection.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <string>

#include "base/error.h"

namespace digdag::store {

namespace {

std::vector<std::int64_t> site_ids(const SystemConfig& system, const std::string& key) {
  std::vector<std::int64_t> ids;
  for (const std::string& text : system.list(key)) {
    std::int64_t id = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (problem != std::errc() || end != text.data() + text.size()) {
      throw config_error("Parameter '" + key + "' must be a list of site ids, but one is " + text).hint("for example: " + key + " = 1, 2");
    }
    ids.push_back(id);
  }
  return ids;
}

bool among(const std::vector<std::int64_t>& sites, std::int64_t id) { return std::find(sites.begin(), sites.end(), id) != sites.end(); }

}  // namespace

SiteSelection SiteSelection::of(const SystemConfig& system, std::string_view part) {
  const std::string routing = std::string(part) + ".account_routing.";
  if (!system.boolean_or(routing + "enabled", false)) return {};
  const auto include = site_ids(system, routing + "include");
  const auto exclude = site_ids(system, routing + "exclude");
  if (include.empty() == exclude.empty()) {
    throw config_error("With " + routing + "enabled exactly one of " + routing + "include and " + routing + "exclude must be set");
  }
  return include.empty() ? SiteSelection{Mode::except, exclude} : SiteSelection{Mode::only, include};
}

bool SiteSelection::has(std::int64_t site_id) const { return mode == Mode::all || among(sites, site_id) == (mode == Mode::only); }

SiteSelection SiteSelection::without(const std::vector<std::int64_t>& others) const {
  if (others.empty()) return *this;
  SiteSelection rest{Mode::except, others};
  if (mode == Mode::except) rest.sites.insert(rest.sites.end(), sites.begin(), sites.end());
  if (mode != Mode::only) return rest;
  rest = {Mode::only, {}};
  std::copy_if(sites.begin(), sites.end(), std::back_inserter(rest.sites), [&](std::int64_t site) { return !among(others, site); });
  return rest;
}

}  // namespace digdag::store
