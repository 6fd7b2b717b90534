#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/fd.h"
#include "base/file.h"
#include "dig/ignore_rules.h"
#include "store/project_archive.h"
#include "store/tar.h"

namespace digdag::store {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t most_octal = 077777777777;  // in 11 digits
constexpr int most_folders = 200;                  // one in the other: links that are followed may lead in circles

/// Collects the files of a project.
class Walk {
 public:
  Walk(const fs::path& directory, bool copy_outgoing_links, const std::set<fs::path>& left_out)
      : root_(fs::absolute(directory).lexically_normal()), copy_outgoing_links_(copy_outgoing_links), left_out_(left_out) {
    if (!root_.has_filename()) root_ = root_.parent_path();  // without the `/` at its end
    std::error_code failure;
    real_root_ = fs::canonical(root_, failure);
    if (failure) throw Error("no such file", root_.string());
    const fs::path rules = root_ / ".digdagignore";
    if (fs::is_regular_file(rules, failure)) ignored_ = dig::IgnoreRules(digdag::read_file(rules));
  }

  std::vector<ArchiveEntry> entries() {
    walk(root_, 0);
    std::sort(found_.begin(), found_.end(), [](const ArchiveEntry& a, const ArchiveEntry& b) { return a.path < b.path; });
    return std::move(found_);
  }

 private:
  void walk(const fs::path& folder, int depth) {
    if (depth > most_folders)
      throw Error("illegal argument", folder.string() + ": more than " + std::to_string(most_folders) + " folders in each other");
    std::error_code failure;
    fs::directory_iterator entries(folder, failure);
    if (failure == std::errc::no_such_file_or_directory) throw Error("no such file", folder.string());
    if (failure) throw io_error(folder, failure.value());
    for (const fs::directory_entry& entry : entries) {
      const fs::path& path = entry.path();
      if (!path.filename().string().starts_with('.') && !left_out_.contains(path)) add(path, depth);
    }
  }

  void add(const fs::path& path, int depth) {
    struct stat status {};
    if (lstat(path.c_str(), &status) != 0) throw io_error(path, errno);
    const std::string name = path.lexically_relative(root_).string();
    if (ignored_.ignores(name, S_ISDIR(status.st_mode))) return;
    ArchiveEntry entry{.path = name, .mode = status.st_mode & 0777, .mtime = status.st_mtime};
    if (S_ISLNK(status.st_mode)) {
      entry.target = target_inside(path);
      if (!entry.target.empty()) {
        entry.kind = ArchiveEntry::Kind::link;
        entry.mode = 0644;
        found_.push_back(std::move(entry));
        return;
      }
      if (stat(path.c_str(), &status) != 0) throw io_error(path, errno);
      entry.mode = status.st_mode & 0777;
      entry.mtime = status.st_mtime;
    }
    if (S_ISDIR(status.st_mode)) return walk(path, depth + 1);
    if (!S_ISREG(status.st_mode))
      throw Error("io", path.string() + ": is neither a file nor a link").hint("name it in .digdagignore to leave it out");
    found_.push_back(std::move(entry));
  }

  /// Relative to the folder of the link; empty where it leads out and is to be copied.
  std::string target_inside(const fs::path& link) const {
    std::error_code failure;
    const fs::path written = fs::read_symlink(link, failure);
    if (failure) throw io_error(link, failure.value());
    // Where it really lies: a folder that is copied may stand elsewhere.
    const fs::path target = (fs::canonical(link.parent_path()) / written).lexically_normal();
    for (const fs::path& root : {real_root_, root_}) {
      const fs::path from_root = target.lexically_relative(root);
      if (*from_root.begin() != ".." && is_inside(target, root)) return (root_ / from_root).lexically_relative(link.parent_path()).string();
    }
    if (copy_outgoing_links_) return "";
    throw Error("illegal argument", "Invalid symbolic link: Given path '" + target.string() + "' is outside of project directory '" +
                                        root_.string() + "'. Consider to add --copy-outgoing-symlinks option");
  }

  fs::path root_, real_root_;
  const bool copy_outgoing_links_;
  const std::set<fs::path>& left_out_;
  dig::IgnoreRules ignored_;
  std::vector<ArchiveEntry> found_;
};

/// Packs a stream; the same bytes give the same bytes.
class Gzip {
 public:
  explicit Gzip(const std::function<void(std::string_view)>& write) : write_(write) {
    if (deflateInit2(&stream_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) throw std::bad_alloc();
  }
  ~Gzip() { deflateEnd(&stream_); }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  void add(std::string_view bytes) { run(bytes, Z_NO_FLUSH); }
  void finish() { run({}, Z_FINISH); }

 private:
  void run(std::string_view bytes, int flush) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream_.avail_in = static_cast<uInt>(bytes.size());
    char packed[1 << 15];
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(packed);
      stream_.avail_out = sizeof packed;
      deflate(&stream_, flush);
      if (stream_.avail_out < sizeof packed) write_({packed, sizeof packed - stream_.avail_out});
    } while (stream_.avail_out == 0);
  }

  const std::function<void(std::string_view)>& write_;
  z_stream stream_{};
};

template <std::size_t size>
void put_number(char (&field)[size], std::int64_t number) {
  for (std::size_t i = size - 1; i-- > 0; number >>= 3) field[i] = static_cast<char>('0' + (number & 7));
}
template <std::size_t size>
void put_text(char (&field)[size], std::string_view text) {
  std::memcpy(field, text.data(), std::min(text.size(), size));
}

class TarWriter {
 public:
  TarWriter(const fs::path& directory, const std::function<void(std::string_view)>& write) : directory_(directory), gzip_(write) {}

  void add(const ArchiveEntry& entry) {
    if (entry.kind == ArchiveEntry::Kind::link) return put_header(entry, 0);
    const fs::path path = directory_ / entry.path;
    const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat status {};
    if (!file || fstat(file.get(), &status) != 0) throw io_error(path, errno);
    put_header(entry, status.st_size);
    put_content(path, file.get(), status.st_size);
  }
  void finish() {
    gzip_.add(std::string(2 * tar_block, '\0'));
    gzip_.finish();
  }

 private:
  void put_header(const ArchiveEntry& entry, std::int64_t size) {
    TarHeader header{};
    std::string extension;
    if (!put_path(header, entry.path)) extension += pax_record("path", entry.path);
    if (entry.target.size() > sizeof header.link_name) extension += pax_record("linkpath", entry.target);
    if (size > most_octal) extension += pax_record("size", std::to_string(size));
    if (!extension.empty()) put_extension(extension);
    put_text(header.link_name, entry.target);
    header.type = entry.kind == ArchiveEntry::Kind::link ? '2' : '0';
    put_rest(header, entry.mode, size, entry.mtime);
  }

  /// Whole, or else cut: an extension has it then.
  static bool put_path(TarHeader& header, std::string_view path) {
    if (path.size() > sizeof header.name) {
      const std::size_t cut = path.find('/', path.size() - sizeof header.name - 1);
      if (cut != std::string_view::npos && cut > 0 && cut <= sizeof header.prefix && cut + 1 < path.size()) {
        put_text(header.prefix, path.substr(0, cut));
        put_text(header.name, path.substr(cut + 1));
        return true;
      }
    }
    put_text(header.name, path);
    return path.size() <= sizeof header.name;
  }

  /// `<length> <key>=<value>\n`, where the length counts itself.
  static std::string pax_record(std::string_view key, std::string_view value) {
    const std::size_t rest = key.size() + value.size() + 3;
    std::size_t length = rest;
    while (length != rest + std::to_string(length).size()) length = rest + std::to_string(length).size();
    return std::to_string(length) + " " + std::string(key) + "=" + std::string(value) + "\n";
  }
  void put_extension(const std::string& records) {
    TarHeader header{};
    put_text(header.name, "PaxHeader");
    header.type = 'x';
    put_rest(header, 0644, static_cast<std::int64_t>(records.size()), 0);
    gzip_.add(records);
    pad(records.size());
  }

  void put_rest(TarHeader& header, unsigned mode, std::int64_t size, std::int64_t mtime) {
    put_number(header.mode, mode);
    put_number(header.uid, 0);
    put_number(header.gid, 0);
    put_number(header.size, std::min(size, most_octal));
    put_number(header.mtime, std::clamp<std::int64_t>(mtime, 0, most_octal));
    put_text(header.magic, std::string_view("ustar\0", 6));
    put_text(header.version, "00");
    put_number(header.checksum, tar_checksum(header));
    gzip_.add({reinterpret_cast<const char*>(&header), tar_block});
  }

  void put_content(const fs::path& path, int file, std::int64_t size) {
    char piece[1 << 16];
    std::int64_t left = size;
    while (left > 0) {
      const ssize_t got = read(file, piece, static_cast<std::size_t>(std::min<std::int64_t>(left, sizeof piece)));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw io_error(path, errno);
      if (got == 0) break;
      gzip_.add({piece, static_cast<std::size_t>(got)});
      left -= got;
    }
    if (left > 0 || read(file, piece, 1) > 0) throw Error("io", path.string() + ": changed while it was packed");
    pad(static_cast<std::uint64_t>(size));
  }
  void pad(std::uint64_t size) { gzip_.add(std::string((tar_block - size % tar_block) % tar_block, '\0')); }

  const fs::path& directory_;
  Gzip gzip_;
};

}  // namespace

std::vector<ArchiveEntry> project_entries(const fs::path& directory, bool copy_outgoing_links, const std::set<fs::path>& left_out) {
  return Walk(directory, copy_outgoing_links, left_out).entries();
}

void write_archive(const fs::path& directory, const std::vector<ArchiveEntry>& entries,
                   const std::function<void(std::string_view)>& write) {
  TarWriter writer(directory, write);
  for (const ArchiveEntry& entry : entries) writer.add(entry);
  writer.finish();
}

}  // namespace digdag::store
