#pragma once

#include <string_view>

namespace digdag {

/// The version of this program, as `--version`, the banner and the user agent of http> show it.
inline constexpr std::string_view version = "0.11.0";

}  // namespace digdag
