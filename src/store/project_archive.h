#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "dig/loader.h"

namespace digdag::store {

/// What a project archive (a gzipped tar) may hold at most. 0: no limit.
struct ArchiveLimits {
  std::uint64_t bytes = 2 << 20;  ///< api.max_archive_total_size_limit: of the upload, of each file, and of all files together
  std::uint64_t entries = 100'000;
  std::uint64_t ratio = 1'000;  ///< unpacked bytes for each uploaded one, once 1 MiB was unpacked

  /// For what was accepted once: an archive that was pushed under a larger limit is still run.
  static ArchiveLimits of_stored() { return {.bytes = 0}; }
};

/// One file of a project, below its root.
struct ArchiveEntry {
  enum class Kind : std::uint8_t { file, link, hard_link };
  std::string path;  ///< `sub/a.sh`: relative, normal, with `/`
  Kind kind = Kind::file;
  unsigned mode = 0644;        ///< the nine permission bits
  std::int64_t mtime = 0;      ///< seconds
  std::string target;          ///< of a link, as written; of a hard link, the path of a file that was shown before
  std::string_view content{};  ///< of a file; ends with the call that shows it
};

/// Reads an archive that comes from outside and shows its files and links in their order, without its folders. Every limit, and every path
/// and link that would lead out of the project, is an Error(kind "illegal argument") with the texts of spec/rest-api.md 5.1 (`Input is not
/// in the .gz format`, `Bad zip entry`, …) and a hint that names the entry; entries may have been shown by then. Touches no disk.
void read_archive(std::string_view bytes, const ArchiveLimits& limits, const std::function<void(const ArchiveEntry&)>& show);

/// Unpacks an archive into a directory that is empty and that nobody else writes to, and gives what it has made. Errors of `read_archive`,
/// and Error(kind "io") with path and cause. What stands there after an error is to be removed by the caller.
std::vector<ArchiveEntry> extract_archive(std::string_view bytes, const ArchiveLimits& limits, const std::filesystem::path& directory);

/// What was pushed, checked.
struct Upload {
  std::string md5;  ///< 16 bytes
  dig::Project project;
};
/// Checks an upload as spec/rest-api.md 5.1 steps 1 to 4 say, as far as the archive goes: limits, paths, and loads its workflows. Faults of
/// workflows stand in `project.files[i].errors`; everything else is thrown, see `extract_archive`. Unpacks into a new directory below
/// `temporary_directory`, which is gone when it returns.
Upload check_upload(std::string_view bytes, const ArchiveLimits& limits, const std::filesystem::path& temporary_directory);

/// The files of a project that `archive` and `push` pack (spec/cli.md 8.1): all below the directory but names that begin with `.`, what
/// `.digdagignore` leaves out, and `left_out` (the archive itself; absolute, normal). Sorted by path.
///
/// A link that leaves the project is an Error(illegal argument) `Invalid symbolic link: …`, or with `copy_outgoing_links` becomes what
/// it leads to. Content is not read.
std::vector<ArchiveEntry> project_entries(const std::filesystem::path& directory, bool copy_outgoing_links,
                                          const std::set<std::filesystem::path>& left_out = {});

/// Packs them. The same files give the same bytes: owner 0, no names, modes and times of the files kept. Error(kind "io") with path and
/// cause; a file that changes its size meanwhile is one, too.
void write_archive(const std::filesystem::path& directory, const std::vector<ArchiveEntry>& entries,
                   const std::function<void(std::string_view)>& write);

}  // namespace digdag::store
