#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <utility>

#include "base/gzip.h"
#include "base/text.h"
#include "store/archive_tree.h"
#include "store/project_archive.h"
#include "store/tar.h"

namespace digdag::store {
namespace {

constexpr std::uint64_t free_bytes = 1 << 20;         // unpacked before the ratio counts
constexpr std::uint64_t most_header_bytes = 1 << 20;  // of a pax header or a long name
constexpr std::uint64_t counted_times = 8;            // how far past the limit the sum is counted, for its message

Error not_gzip(const std::string& why) { return Error("illegal argument", "Input is not in the .gz format").hint(why); }

/// Unpacks gzip, one member after the other. What stands behind the last one does not count.
class Unpacked {
 public:
  Unpacked(std::string_view bytes, std::uint64_t ratio) : packed_(bytes.size()), ratio_(ratio) {
    if (!begins_gzip(bytes)) throw not_gzip("an archive is a tar file packed with gzip, as `digdag archive` makes it");
    inflate_.give(bytes);
  }

  /// How much came; less than `size` only at the end.
  std::size_t read(char* to, std::size_t size) {
    std::size_t got = 0;
    while (got < size && !ended_) {
      got += read_member(to + got, size - got);
      if (got == size) break;
      if (!inflate_.at_end()) throw not_gzip("the data ends too early");
      ended_ = !begins_gzip(inflate_.rest());
      if (!ended_) inflate_.begin_member();
    }
    unpacked_ += got;
    if (ratio_ > 0 && unpacked_ > free_bytes && unpacked_ / ratio_ > packed_)
      throw bad_entry("it unpacks to more than " + std::to_string(ratio_) + " times its size");
    return got;
  }

 private:
  std::size_t read_member(char* to, std::size_t size) {
    try {
      return inflate_.read(to, size);
    } catch (const Error& damaged) {
      throw not_gzip(damaged.message());
    }
  }

  const std::uint64_t packed_, ratio_;
  Inflate inflate_{Inflate::Frame::gzip};
  std::uint64_t unpacked_ = 0;
  bool ended_ = false;
};

template <std::size_t size>
std::string_view text_of(const char (&field)[size]) {
  return {field, strnlen(field, size)};
}

/// Octal digits, or a binary number behind a first byte with its highest bit set.
template <std::size_t size>
std::int64_t number_of(const char (&field)[size]) {
  const auto first = static_cast<unsigned char>(field[0]);
  std::uint64_t number = 0;
  if ((first & 0x80) != 0) {
    // A negative time is not worth keeping.
    if (first == 0xff) return 0;
    for (std::size_t i = 0; i < size; ++i) {
      if (number >> 55 != 0) throw bad_entry("a number in a header is too large");
      number = number << 8 | (static_cast<unsigned char>(field[i]) & (i == 0 ? 0x7f : 0xff));
    }
    return static_cast<std::int64_t>(number);
  }
  const std::string_view digits = trim(text_of(field));
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), number, 8);
  if (!digits.empty() && (failure != std::errc() || end != digits.data() + digits.size() || number >> 62 != 0))
    throw bad_entry("a header holds " + visible(digits) + " in the place of a number");
  return static_cast<std::int64_t>(number);
}

/// What an extended header says about the entry behind it.
struct Extension {
  std::optional<std::string> path, target;
  std::optional<std::int64_t> size, mtime;
};

std::int64_t decimal(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = end == text.data() + text.size() || *end == '.';
  if (failure != std::errc() || !whole)
    throw bad_entry("an extended header holds " + visible(text.substr(0, 50)) + " in the place of a number");
  return number;
}

/// Records `<length> <key>=<value>\n`.
void read_pax(std::string_view records, Extension& extension) {
  while (!records.empty()) {
    std::size_t length = 0;
    const auto [end, failure] = std::from_chars(records.data(), records.data() + records.size(), length);
    const auto digits = static_cast<std::size_t>(end - records.data());
    if (failure != std::errc() || length > records.size() || length < digits + 3 || *end != ' ' || records[length - 1] != '\n')
      throw bad_entry("an extended header is damaged");
    const std::string_view record = records.substr(digits + 1, length - digits - 2);
    records.remove_prefix(length);
    const std::size_t equals = record.find('=');
    if (equals == std::string_view::npos) throw bad_entry("an extended header is damaged");
    const std::string_view key = record.substr(0, equals), value = record.substr(equals + 1);
    if (key == "path") extension.path = value;
    if (key == "linkpath") extension.target = value;
    if (key == "size") extension.size = decimal(value);
    if (key == "mtime") extension.mtime = decimal(value);
    if (key.starts_with("GNU.sparse.")) throw bad_entry("it holds a sparse file");
  }
}

/// Reads the entries of a tar file one after the other.
class Reader {
 public:
  Reader(std::string_view bytes, const ArchiveLimits& limits, const std::function<void(const ArchiveEntry&)>& show)
      : input_(bytes, limits.ratio), limits_(limits), show_(show) {}

  void read_all() {
    TarHeader header;
    while (next_header(header)) {
      if (limits_.entries > 0 && ++entries_ > limits_.entries)
        throw bad_entry("it has more than " + std::to_string(limits_.entries) + " entries");
      read_entry(header);
    }
    if (exceeded()) throw too_large();
    tree_.check_links();
  }

 private:
  bool next_header(TarHeader& header) {
    const std::size_t got = input_.read(reinterpret_cast<char*>(&header), tar_block);
    if (got == 0) return false;
    if (got < tar_block) throw bad_entry("the archive ends within an entry");
    const auto* bytes = reinterpret_cast<const char*>(&header);
    if (std::all_of(bytes, bytes + tar_block, [](char byte) { return byte == 0; })) return false;
    if (number_of(header.checksum) != tar_checksum(header))
      throw bad_entry("a header has a wrong checksum: this is no tar file, or it is damaged");
    return true;
  }

  void read_entry(const TarHeader& header) {
    const auto declared = static_cast<std::uint64_t>(number_of(header.size));
    switch (header.type) {
      case 'x': return read_pax(read_header_text(declared), extension_);
      case 'g':
        read_header_text(declared);  // holds nothing that concerns files
        return;
      case 'L': extension_.path = long_name(declared); return;
      case 'K': extension_.target = long_name(declared); return;
      default: break;
    }
    const Extension extension = std::exchange(extension_, {});
    const std::int64_t size = extension.size.value_or(number_of(header.size));
    if (size < 0) throw bad_entry("an entry has a negative size");
    ArchiveEntry entry;
    const std::string path = extension.path.value_or(name_of(header));
    entry.path = ArchiveTree::normal_path(path);
    entry.mode = static_cast<unsigned>(number_of(header.mode)) & 0777;
    entry.mtime = extension.mtime.value_or(number_of(header.mtime));
    entry.target = extension.target.value_or(std::string(text_of(header.link_name)));
    if (header.type == '5' || (header.type != '2' && header.type != '1' && path.ends_with('/')))
      return skip(static_cast<std::uint64_t>(size));
    if (entry.path.empty()) throw bad_entry("an entry has no name");
    if (header.type == '0' || header.type == '\0' || header.type == '7') return read_file(entry, static_cast<std::uint64_t>(size));
    if (header.type != '1' && header.type != '2') throw bad_entry(visible(entry.path) + " is neither a file nor a link");
    entry.kind = header.type == '1' ? ArchiveEntry::Kind::hard_link : ArchiveEntry::Kind::link;
    if (entry.kind == ArchiveEntry::Kind::hard_link) entry.target = ArchiveTree::normal_path(entry.target);
    skip(static_cast<std::uint64_t>(size));
    add(entry);
  }

  static std::string name_of(const TarHeader& header) {
    std::string name(text_of(header.name));
    const bool ustar = std::memcmp(header.magic, "ustar", 6) == 0;  // with its end: GNU's own format has a blank there
    if (ustar && header.prefix[0] != 0) name = std::string(text_of(header.prefix)) + "/" + name;
    return name;
  }

  void read_file(ArchiveEntry& entry, std::uint64_t size) {
    if (limits_.bytes > 0 && size > limits_.bytes)
      throw Error("illegal argument", "Size of a file in the archive exceeds limit (" + std::to_string(size) + " > " +
                                          std::to_string(limits_.bytes) + " bytes): " + entry.path);
    total_ += size;
    if (limits_.bytes > 0 && total_ / counted_times > limits_.bytes) throw too_large();
    if (exceeded()) return skip(size);
    const std::string content = read_content(size);
    entry.content = content;
    add(entry);
  }

  void add(const ArchiveEntry& entry) {
    tree_.add(entry);
    show_(entry);
  }

  /// Grows as it comes: what a header says about its size may be a lie.
  std::string read_content(std::uint64_t size) {
    std::string content;
    char piece[1 << 16];
    for (std::uint64_t left = size; left > 0;) {
      const std::size_t wanted = std::min<std::uint64_t>(left, sizeof piece);
      if (input_.read(piece, wanted) < wanted) throw bad_entry("the archive ends within an entry");
      content.append(piece, wanted);
      left -= wanted;
    }
    skip_padding(size);
    return content;
  }

  void skip(std::uint64_t size) {
    char piece[1 << 14];
    for (std::uint64_t left = size; left > 0;) {
      const std::size_t wanted = std::min<std::uint64_t>(left, sizeof piece);
      if (input_.read(piece, wanted) < wanted) throw bad_entry("the archive ends within an entry");
      left -= wanted;
    }
    skip_padding(size);
  }
  void skip_padding(std::uint64_t size) {
    char padding[tar_block];
    const std::size_t wanted = (tar_block - size % tar_block) % tar_block;
    if (input_.read(padding, wanted) < wanted) throw bad_entry("the archive ends within an entry");
  }

  std::string read_header_text(std::uint64_t size) {
    if (size > most_header_bytes) throw bad_entry("an extended header is larger than 1 MiB");
    return read_content(size);
  }
  std::string long_name(std::uint64_t size) {
    std::string name = read_header_text(size);
    name.resize(std::min(name.size(), name.find('\0')));
    return name;
  }

  bool exceeded() const { return limits_.bytes > 0 && total_ > limits_.bytes; }
  Error too_large() const {
    return Error("illegal argument",
                 "Total size of the archive exceeds limit (" + std::to_string(total_) + " > " + std::to_string(limits_.bytes) + " bytes)");
  }

  Unpacked input_;
  const ArchiveLimits limits_;
  const std::function<void(const ArchiveEntry&)>& show_;
  ArchiveTree tree_;
  Extension extension_;  // for the next entry
  std::uint64_t entries_ = 0, total_ = 0;
};

}  // namespace

void read_archive(std::string_view bytes, const ArchiveLimits& limits, const std::function<void(const ArchiveEntry&)>& show) {
  Reader(bytes, limits, show).read_all();
}

}  // namespace digdag::store
