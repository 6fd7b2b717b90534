#include <filesystem>
#include <iostream>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/lookups.h"
#include "cli/remote.h"
#include "store/project_archive.h"

namespace digdag::cli {
namespace {

namespace fs = std::filesystem;
using Kind = Option::Kind;

/// A new directory below another one, with all in it gone in the end.
class Unpacked {
 public:
  explicit Unpacked(const fs::path& folder) : path_(folder / (".digdag.archive-" + random_uuid())) {
    std::error_code failure;
    fs::create_directories(path_, failure);
    if (failure) throw Error("io", path_.string() + ": " + failure.message());
  }
  ~Unpacked() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Unpacked(const Unpacked&) = delete;
  Unpacked& operator=(const Unpacked&) = delete;
  const fs::path& path() const { return path_; }

 private:
  const fs::path path_;
};

/// Moves an entry to its place: over a file that is there, never over a link, and not through a link that leads elsewhere.
void put_in_place(const fs::path& from, const fs::path& folder, const store::ArchiveEntry& entry) {
  const fs::path target = folder / entry.path;
  std::error_code failure;
  if (!is_inside(target.parent_path(), folder))
    throw task_error("Archive includes an invalid entry: " + entry.path).hint(target.parent_path().string() + " is a link to elsewhere");
  if (fs::is_symlink(target, failure)) throw Error("file already exists", target.string());
  fs::create_directories(target.parent_path(), failure);
  if (!failure) fs::rename(from / entry.path, target, failure);
  if (failure) throw Error("io", target.string() + ": " + failure.message());
}

std::string archive_of(Remote& remote, const Value& project, const std::string& revision) {
  client::RestClient::Query query = {{"revision", revision}};
  if (!remote.direct_download()) query.emplace_back("direct_download", "false");
  try {
    return remote.server().download("/api/projects/" + client::path_part(text_at(project, "id")) + "/archive", query);
  } catch (const client::RestError& error) {
    if (error.status() != 404) throw;
    throw task_error("Project archive of revision '" + revision + "' does not exist.").because(error);
  }
}

int download(const Arguments& arguments, Remote& remote) {
  const std::string& name = arguments.positional()[0];
  const Value project = project_named(remote.server(), name);
  const std::string revision = arguments.text("-r").value_or(text_at(project, "revision"));
  const fs::path folder = arguments.text_or("-o", name);
  const std::string bytes = archive_of(remote, project, revision);
  const Unpacked unpacked(folder);
  for (const store::ArchiveEntry& entry : store::extract_archive(bytes, store::ArchiveLimits::of_stored(), unpacked.path())) {
    put_in_place(unpacked.path(), folder, entry);
    std::cout << "  " << visible((folder / entry.path).string());
    if (entry.kind == store::ArchiveEntry::Kind::link) std::cout << " -> " << visible(entry.target);
    std::cout << "\n";
  }
  std::cout << "Extracted project '" << name << "' revision '" << visible(revision) << "' to " << folder.string() << ".\n";
  return 0;
}

}  // namespace

int download_command(const Invocation& invocation) {
  return client_command(invocation, "download",
                        {
                            {{"-r", "--revision"}, Kind::text, "NAME", "revision to fetch (default: the latest)"},
                            {{"-o", "--output"}, Kind::text, "DIR", "directory to extract to (default: name of the project)"},
                        },
                        {1, 1}, download);
}

}  // namespace digdag::cli
