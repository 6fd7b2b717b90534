// Names of log files and of what they belong to: whatever somebody asks for, nothing outside of the attempt's directory is read, and a name
// that we make is one part of a path that says what it was made of.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "base/error.h"
#include "store/log_storage.h"

using namespace digdag;
using namespace digdag::store;

namespace {
void require(bool holds) {
  if (!holds) std::abort();
}

constexpr std::string_view outside = "not a log";

/// A directory of logs with one file, and beside and above it what must not be read.
struct Logs {
  std::filesystem::path root;
  LogAttempt attempt{
      .site_id = 0, .project_id = 1, .workflow_name = "w", .session_time = {}, .timezone = {}, .retry_attempt_name = {}, .created_at = {}};
  std::unique_ptr<LogStorage> storage;

  Logs() {
    char pattern[] = "/tmp/fuzz-log-XXXXXX";
    root = std::filesystem::path(mkdtemp(pattern)) / "logs";
    const std::filesystem::path folder = root / attempt.directory();
    std::filesystem::create_directories(folder);
    for (const std::filesystem::path& secret : {root.parent_path() / "x", root / "x", folder.parent_path() / "x"})
      std::ofstream(secret) << outside;
    std::filesystem::create_symlink(root / "x", folder / "link.log.gz");
    std::ofstream(folder / "+a@0000000000000000.a.log.gz") << "log";
    storage = local_log_storage(root);
  }
  ~Logs() { std::filesystem::remove_all(root.parent_path()); }
};
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Logs logs;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    std::string read;
    logs.storage->read(
        logs.attempt, text, [](std::uint64_t) {},
        [&](std::string_view piece) {
          read += piece;
          return true;
        });
    require(read.find(outside) == std::string::npos);
  } catch (const Error&) {
  }
  if (const auto parsed = LogFileName::parse(text)) {
    const std::string again = parsed->text();
    require(!again.empty() && again.size() <= 255 && again.find('/') == std::string::npos && LogFileName::parse(again).has_value());
  }
  LogAttempt named = logs.attempt;
  named.workflow_name = text;
  named.retry_attempt_name = text;
  const std::filesystem::path directory = named.directory();
  require(directory.is_relative() && std::distance(directory.begin(), directory.end()) == 2);
  for (const std::filesystem::path& part : directory) require(part != ".." && part != "." && part.native().size() <= 255);
  return 0;
}
