#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.h"

namespace digdag {

/// The error of a system call that failed with this number: kind "io", the path and the cause (`x/y: No space left on device`).
Error io_error(const std::filesystem::path& path, int error);

/// The whole file. Error(kind "no such file") `<path>` where it is missing; another error names the path and the cause.
/// Files of more than `most_bytes` are refused.
std::string read_file(const std::filesystem::path& path, std::size_t most_bytes = std::size_t{1} << 30);
/// The same for a file that somebody else has left: a pipe or a device, which might never end, is an error.
std::string read_regular_file(const std::filesystem::path& path, std::size_t most_bytes = std::size_t{1} << 30);

/// Writes to a temporary name beside it and renames (no fsync): readers see the old content or the new one, never a part.
/// Error(kind "io") with the path and the cause (`No space left on device`); the temporary file is removed then.
void write_file_atomically(const std::filesystem::path& path, std::string_view content, unsigned mode = 0644);

/// Makes a file that must not exist yet. Error(kind "io") with the path and the cause.
void write_new_file(const std::filesystem::path& path, std::string_view content, unsigned mode);

/// Whether `path`, links followed, lies inside `root` (compared by components). A path that does not exist is judged by
/// its existing part.
bool is_inside(const std::filesystem::path& path, const std::filesystem::path& root);

/// Removes what is there, also below folders of ours that were made read-only; follows no links. What cannot be removed stays.
void remove_tree(const std::filesystem::path& path);

}  // namespace digdag
