#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace digdag {

/// JSON pointers (RFC 6901): `/export/a~1b` is the member `a/b` of the member `export`.

/// A key as one step of a pointer, without the `/` before it.
std::string pointer_step(std::string_view key);
/// The pointer to a member of what `parent` points to.
std::string pointer_to(std::string_view parent, std::string_view key);
/// The keys of a pointer.
std::vector<std::string> pointer_keys(std::string_view pointer);
/// Whether `pointer` is `above`, or points to something inside of it.
bool is_at_or_below(std::string_view pointer, std::string_view above);

}  // namespace digdag
