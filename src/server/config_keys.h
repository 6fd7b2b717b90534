#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/properties.h"

namespace digdag::server {

/// A key of the system configuration that is known (spec/server.md 4, decisions.md 1, V-05).
struct ConfigKey {
  enum class Type : std::uint8_t {
    text,
    integer,
    boolean,
    duration,
    time_limit,  ///< a duration or `unlimited`
    version,
  };
  enum class Use : std::uint8_t {
    honoured,
    untold,   ///< nothing is said of it: other commands read it, or who reads it speaks
    ignored,  ///< has no meaning here (V-05): one warning
    refused,  ///< has one, but this build cannot do it: the server does not start
  };
  std::string_view name;  ///< one that ends with `*` stands for all that begin so
  Type type = Type::text;
  Use use = Use::honoured;
  std::string_view why = {};                                      ///< of one that is ignored or refused: what follows its name
  std::int64_t least = std::numeric_limits<std::int64_t>::min();  ///< of an integer, and of the seconds of a duration
};

/// All of them, sorted by subject.
const std::vector<ConfigKey>& config_keys();

/// Error(config) for the first key whose value cannot be, or that is refused.
void check_config(const SystemConfig& config);
/// What is to be said about keys that are ignored, and about unknown ones that are mistakes (V-02).
std::vector<std::string> config_warnings(const SystemConfig& config);

}  // namespace digdag::server
