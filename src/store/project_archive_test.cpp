#include "store/project_archive.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <zlib.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "base/base64.h"
#include "base/file.h"
#include "base/json.h"
#include "base/temporary_directory_for_test.h"
#include "store/tar.h"

namespace digdag::store {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string gzip(std::string_view bytes) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

/// An archive as somebody else has written it.
class Tar {
 public:
  Tar& file(const std::string& path, const std::string& content = "") { return entry('0', path, content); }
  Tar& link(const std::string& path, const std::string& target, char type = '2') { return entry(type, path, "", target); }
  Tar& entry(char type, const std::string& path, const std::string& content = "", const std::string& target = "",
             std::optional<std::uint64_t> size = {}) {
    TarHeader header{};
    std::memcpy(header.name, path.data(), std::min<std::size_t>(path.size(), 100));
    std::memcpy(header.link_name, target.data(), std::min<std::size_t>(target.size(), 100));
    std::strcpy(header.mode, "0000644");
    std::snprintf(header.size, sizeof header.size, "%011llo", static_cast<unsigned long long>(size.value_or(content.size())));
    std::strcpy(header.mtime, "00000000005");
    std::memcpy(header.magic, "ustar", 6);
    header.type = type;
    std::snprintf(header.checksum, sizeof header.checksum, "%06o", tar_checksum(header));
    bytes_.append(reinterpret_cast<const char*>(&header), sizeof header);
    bytes_ += content + std::string((tar_block - content.size() % tar_block) % tar_block, '\0');
    return *this;
  }
  std::string packed() const { return gzip(bytes_ + std::string(1024, '\0')); }
  std::string cut(std::size_t left_out) const { return gzip(std::string_view(bytes_).substr(0, bytes_.size() - left_out)); }

 private:
  std::string bytes_;
};

std::vector<std::string> shown(const std::string& bytes, const ArchiveLimits& limits = {}) {
  std::vector<std::string> lines;
  read_archive(bytes, limits, [&](const ArchiveEntry& entry) {
    lines.push_back(entry.path + (entry.kind == ArchiveEntry::Kind::file ? "=" + std::string(entry.content) : " -> " + entry.target));
  });
  return lines;
}

/// `message; hint` of what is wrong with it.
std::string fault(const std::string& bytes, const ArchiveLimits& limits = {}) {
  try {
    shown(bytes, limits);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), "illegal argument");
    return error.message() + "; " + error.hint_text();
  }
  return "";
}
std::string fault(const Tar& tar) { return fault(tar.packed()); }

/// A project that is packed as `digdag archive` does.
class ProjectArchive : public testing::Test {
 protected:
  ProjectArchive() { fs::create_directory(project); }

  void write(const std::string& name, const std::string& content = "", unsigned mode = 0644) {
    fs::create_directories((project / name).parent_path());
    write_new_file(project / name, content, mode);
    chmod((project / name).c_str(), mode);
    const timespec times[2] = {{1'000'000'007, 999}, {1'000'000'007, 999}};
    utimensat(AT_FDCWD, (project / name).c_str(), times, 0);
  }
  std::string pack(bool copy_outgoing_links = false) {
    std::string bytes;
    write_archive(project, project_entries(project, copy_outgoing_links, left_out), [&](std::string_view piece) { bytes += piece; });
    return bytes;
  }
  std::vector<std::string> listed(bool copy_outgoing_links = false) {
    std::vector<std::string> lines;
    for (const ArchiveEntry& entry : project_entries(project, copy_outgoing_links, left_out))
      lines.push_back(entry.path + (entry.target.empty() ? "" : " -> " + entry.target));
    return lines;
  }
  void extract(const std::string& bytes) {
    fs::create_directory(extracted);
    extract_archive(bytes, {}, extracted);
  }
  /// What a tool of the system makes of it.
  bool run(const std::string& command) const { return std::system(("cd '" + root.path().string() + "' && " + command).c_str()) == 0; }

  const TemporaryDirectory root;
  const fs::path project = root / "project", extracted = root / "extracted";
  std::set<fs::path> left_out;
};

// cli 11.71
TEST_F(ProjectArchive, HoldsAllFilesButHiddenAndIgnoredOnesSortedByPath) {
  for (const char* name : {"main.dig", "sub/a.sh", "sub.d/x", "z", ".hidden", ".digdag/status", "sub/.git/config", "build/out.o",
                           "log/keep.txt", "log/x.log", "out.tar.gz"})
    write(name);
  write(".digdagignore", "/build/\n*.log\n");
  fs::create_directory(project / "empty");
  left_out.insert(project / "out.tar.gz");
  EXPECT_THAT(listed(), ElementsAre("log/keep.txt", "main.dig", "sub.d/x", "sub/a.sh", "z"));
}

TEST_F(ProjectArchive, ComesOutAsItWasPacked) {
  write("main.dig", "+a:\n  sh>: ./run\n");
  write("bin/run", "#!/bin/sh\n", 0755);
  write("big", std::string(100'000, 'x'), 0600);
  write(std::string(60, 'd') + "/" + std::string(90, 'f'), "prefix");
  write(std::string(120, 'd') + "/" + std::string(200, 'f'), "extended");
  fs::create_symlink("../main.dig", project / "bin" / "link");
  fs::create_symlink("nowhere", project / "dangling");
  extract(pack());
  EXPECT_TRUE(run("diff -r --no-dereference project extracted"));
  struct stat status {};
  ASSERT_EQ(stat((extracted / "bin/run").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0755u);
  EXPECT_EQ(status.st_mtime, 1'000'000'007);
  EXPECT_EQ(fs::read_symlink(extracted / "bin/link"), "../main.dig");
}

TEST_F(ProjectArchive, OfTheSameFilesHasTheSameBytes) {
  write("b");
  write("a", "text", 0640);
  const std::string first = pack();
  fs::remove(project / "b");
  write("b");
  EXPECT_EQ(pack(), first);
}

TEST_F(ProjectArchive, CanBeReadByTar) {
  write("main.dig", "text", 0640);
  write(std::string(120, 'd') + "/" + std::string(200, 'f'), "extended");
  fs::create_symlink("main.dig", project / "link");
  fs::create_directory(extracted);
  write_new_file(root / "a.tar.gz", pack(), 0644);
  EXPECT_TRUE(run("tar xzf a.tar.gz -C extracted && diff -r --no-dereference project extracted"));
}

TEST_F(ProjectArchive, IsReadInEveryFormatThatTarWrites) {
  const std::string long_name = std::string(120, 'd') + "/" + std::string(200, 'f');
  for (const char* format : {"gnu", "oldgnu", "pax", "ustar", "v7"}) {
    fs::remove_all(project);
    fs::remove_all(extracted);
    write("main.dig", "text");
    fs::create_symlink("main.dig", project / "link");
    fs::create_hard_link(project / "main.dig", project / "other");
    if (std::string(format) != "v7" && std::string(format) != "ustar") {
      write(long_name, "long");
      fs::create_symlink(long_name, project / "long_link");
    }
    ASSERT_TRUE(run(std::string("tar czf a.tar.gz --format=") + format + " -C project ."));
    extract(read_file(root / "a.tar.gz"));
    EXPECT_TRUE(run("diff -r --no-dereference project extracted")) << format;
  }
}

// cli 11.72
TEST_F(ProjectArchive, ALinkThatLeavesTheProjectIsRefusedOrCopied) {
  write("main.dig");
  fs::create_directories(root / "outside/folder");
  write_new_file(root / "outside/folder/file", "from outside", 0644);
  fs::create_symlink(root / "outside/folder", project / "out");
  fs::create_symlink(project / "main.dig", project / "absolute");
  try {
    pack();
    FAIL() << "a link that leaves the project was packed";
  } catch (const Error& error) {
    EXPECT_EQ(error.message_with_kind(), "Invalid symbolic link: Given path '" + (root / "outside/folder").string() +
                                             "' is outside of project directory '" + project.string() +
                                             "'. Consider to add --copy-outgoing-symlinks option (illegal argument)");
  }
  EXPECT_THAT(listed(true), ElementsAre("absolute -> main.dig", "main.dig", "out/file"));
  extract(pack(true));
  EXPECT_EQ(read_file(extracted / "out/file"), "from outside");
}

TEST_F(ProjectArchive, FoldersThatLeadInCirclesAreRefused) {
  fs::create_directory(root / "outside");
  fs::create_symlink("..", root / "outside/up");
  fs::create_symlink("../outside", project / "out");
  EXPECT_THROW(pack(true), Error);
}

TEST_F(ProjectArchive, APipeIsRefused) {
  mkfifo((project / "pipe").c_str(), 0600);
  EXPECT_THROW(pack(), Error);
}

// rest-api 18.24
TEST(ReadArchive, WhatIsNoGzipIsRefused) {
  EXPECT_THAT(fault("this is not gzip at all"), HasSubstr("Input is not in the .gz format; "));
  EXPECT_THAT(fault(""), HasSubstr("Input is not in the .gz format; "));
  const std::string whole = Tar().file("a", std::string(3000, 'x')).packed();
  EXPECT_EQ(fault(whole.substr(0, whole.size() / 2)), "Input is not in the .gz format; the data ends too early");
  std::string damaged = whole;
  damaged[12] = static_cast<char>(damaged[12] ^ 0x55);
  EXPECT_THAT(fault(damaged), HasSubstr("Input is not in the .gz format; the packed data is damaged: "));
}

TEST(ReadArchive, WhatIsNoTarIsRefused) {
  EXPECT_THAT(fault(gzip(std::string(600, 'x'))), HasSubstr("Bad zip entry; a header "));
  EXPECT_EQ(fault(gzip("short")), "Bad zip entry; the archive ends within an entry");
  EXPECT_EQ(fault(Tar().file("a", "content").cut(20)), "Bad zip entry; the archive ends within an entry");
}

TEST(ReadArchive, WithoutItsEndIsComplete) { EXPECT_THAT(shown(Tar().file("a", "1").cut(0)), ElementsAre("a=1")); }

TEST(ReadArchive, MayConsistOfSeveralMembers) {
  const std::string half = Tar().file("a", "1").cut(0);
  EXPECT_THAT(shown(half + Tar().file("b", "2").packed()), ElementsAre("a=1", "b=2"));
}

TEST(ReadArchive, PathsAreMadeNormal) {
  EXPECT_THAT(shown(Tar().entry('5', "./").file("./a//b/./c", "1").entry('0', "folder/").packed()), ElementsAre("a/b/c=1"));
}

// rest-api 18.28
TEST(ReadArchive, PathsThatLeadOutAreRefused) {
  EXPECT_EQ(fault(Tar().file("../evil.txt")), "Bad zip entry; the path ../evil.txt leads out of the project");
  EXPECT_EQ(fault(Tar().file("a/../../evil")), "Bad zip entry; the path a/../../evil leads out of the project");
  EXPECT_EQ(fault(Tar().file("/etc/passwd")), "Bad zip entry; the path /etc/passwd is absolute");
  EXPECT_THAT(fault(Tar().entry('L', "x", "../long").file("a")), HasSubstr("the path ../long leads out"));
  EXPECT_THAT(fault(Tar().entry('x', "x", "16 path=../long\n").file("a")), HasSubstr("the path ../long leads out"));
}

TEST(ReadArchive, LinksMayLeadToWhatIsInside) {
  EXPECT_THAT(shown(Tar().link("a/up", "..").link("a/b/l", "../x/./y").link("self", "self").link("r", "a/up/a").file("a/x/y").packed()),
              ElementsAre("a/up -> ..", "a/b/l -> ../x/./y", "self -> self", "r -> a/up/a", "a/x/y="));
}

TEST(ReadArchive, LinksThatLeadOutAreRefused) {
  EXPECT_EQ(fault(Tar().link("l", "/etc")), "Bad zip entry; the link l leads to /etc");
  EXPECT_EQ(fault(Tar().link("l", "")), "Bad zip entry; the link l leads to ");
  EXPECT_EQ(fault(Tar().link("l", "..")), "Bad zip entry; the link l leads out of the project");
  EXPECT_EQ(fault(Tar().link("a/l", "b/../../../x")), "Bad zip entry; the link a/l leads out of the project");
  // Each alone stays inside.
  EXPECT_EQ(fault(Tar().link("out", "a/b/up/..").link("a/b/up", "../..")), "Bad zip entry; the link out leads out of the project");
}

TEST(ReadArchive, NothingLiesBelowALink) {
  EXPECT_EQ(fault(Tar().link("l", "a").file("l/x")), "Bad zip entry; l/x lies below l, which is no folder");
  EXPECT_EQ(fault(Tar().file("f").file("f/x")), "Bad zip entry; f/x lies below f, which is no folder");
  EXPECT_EQ(fault(Tar().link("l", "a").file("l")), "Bad zip entry; l is there twice");
  EXPECT_EQ(fault(Tar().file("f/x").file("f")), "Bad zip entry; f is there twice");
}

TEST(ReadArchive, HardLinksNameFilesOfTheArchive) {
  EXPECT_THAT(shown(Tar().file("a", "1").link("b", "./a", '1').packed()), ElementsAre("a=1", "b -> a"));
  EXPECT_THAT(fault(Tar().link("b", "/etc/passwd", '1')), HasSubstr("is absolute"));
  EXPECT_THAT(fault(Tar().link("b", "a", '1').file("a")), HasSubstr("names no file that stands before it"));
  EXPECT_THAT(fault(Tar().link("l", "x").link("b", "l", '1')), HasSubstr("names no file that stands before it"));
}

TEST(ReadArchive, DevicesAreRefused) {
  for (const char type : {'3', '4', '6', 'S', 'V'})
    EXPECT_EQ(fault(Tar().entry(type, "dev")), "Bad zip entry; dev is neither a file nor a link");
}

// server 23.60
TEST(ReadArchive, SizesHaveLimits) {
  EXPECT_EQ(fault(Tar().file("big.bin", std::string(2097153, '\0')).packed(), {.ratio = 0}),
            "Size of a file in the archive exceeds limit (2097153 > 2097152 bytes): big.bin; ");
  const std::string half(1228800, '\0');
  EXPECT_EQ(fault(Tar().file("a", half).file("b", half).file("c.dig", std::string(204, 'x')).packed(), {.ratio = 0}),
            "Total size of the archive exceeds limit (2457804 > 2097152 bytes); ");
  EXPECT_EQ(fault(Tar().file("a", half).packed(), {.ratio = 0}), "");
  EXPECT_EQ(fault(Tar().file("a", "12").file("b", "3").packed(), {.entries = 1}), "Bad zip entry; it has more than 1 entries");
  EXPECT_EQ(fault(Tar().file("a", std::string(4 << 20, '\0')).packed(), {.bytes = 0}),
            "Bad zip entry; it unpacks to more than 1000 times its size");
}

TEST(ReadArchive, AHeaderThatLiesAboutASizeCostsNothing) {
  EXPECT_EQ(fault(Tar().entry('0', "a", "x", "", 077777777777).packed(), {.bytes = 0}), "Bad zip entry; the archive ends within an entry");
  EXPECT_EQ(fault(Tar().entry('x', "a", "x", "", 077777777777).packed(), {.bytes = 0}),
            "Bad zip entry; an extended header is larger than 1 MiB");
}

TEST(ReadArchive, DamagedExtensionsAreRefused) {
  for (const char* records :
       {"5", "99 path=a\n", "3 a\n", "0 path=a\n", "10 path=abc", "11 nothing...\n", "15 size=12abcd\n", "9 size=-1\n"})
    EXPECT_THAT(fault(Tar().entry('x', "x", records).file("a")), HasSubstr("Bad zip entry; ")) << records;
}

TEST(ReadArchive, TheLaterOfTwoFilesCounts) {
  const TemporaryDirectory directory;
  extract_archive(Tar().file("a", "first").file("a", "second").packed(), {}, directory.path());
  EXPECT_EQ(read_file(directory / "a"), "second");
}

// rest-api 18.21
TEST(CheckUpload, GivesTheDigestAndTheLoadedWorkflowsAndLeavesNothing) {
  const TemporaryDirectory directory;
  const std::string bytes = Tar()
                                .file("main.dig", "_export:\n  !include : 'conf/a.yml'\n+a: {echo>: hi}\n")
                                .file("conf/a.yml", "x: 1\n")
                                .file("broken.dig", "+a: [1, 2\n")
                                .packed();
  const Upload upload = check_upload(bytes, {}, directory / "tmp");
  EXPECT_EQ(upload.md5.size(), 16u);
  EXPECT_THAT(upload.project.workflow_names(), ElementsAre("broken", "main"));
  EXPECT_FALSE(upload.project.find("broken")->errors.empty());
  EXPECT_THAT(upload.project.find("main")->errors, IsEmpty());
  EXPECT_TRUE(fs::is_empty(directory / "tmp"));
  EXPECT_THROW(check_upload(Tar().file("../x").packed(), {}, directory / "tmp"), Error);
  EXPECT_TRUE(fs::is_empty(directory / "tmp"));
}

TEST(CheckUpload, WorkflowsMayBeReachedByIncludesAndLinks) {
  const TemporaryDirectory directory;
  const auto tasks_of = [&](const Tar& tar) {
    const Upload upload = check_upload(tar.packed(), {}, directory / "tmp");
    const dig::Project::File* const file = upload.project.find("main");
    return file != nullptr && file->errors.empty() ? to_json(file->workflow->config) : "faulty";
  };
  EXPECT_EQ(tasks_of(Tar().file("main.dig", "+a: {echo>: hi}\n").file("data/large.csv", "1,2\n")), R"({"+a":{"echo>":"hi"}})");
  EXPECT_EQ(tasks_of(Tar().file("main.dig", "!include : 'sub/a.dig'\n").file("sub/a.dig", "+a: {echo>: hi}\n")),
            R"({"+a":{"echo>":"hi"}})");
  EXPECT_EQ(tasks_of(Tar().file("real.txt", "+a: {echo>: hi}\n").link("main.dig", "real.txt")), R"({"+a":{"echo>":"hi"}})");
  EXPECT_EQ(tasks_of(Tar().file("main.dig", "!include : 'none.yml'\n")), "faulty");
  EXPECT_EQ(tasks_of(Tar().file("main.dig", "+a: {echo>: hi}\n").file(".digdagignore", "main.dig\n")), "faulty") << "there is none";
}

TEST(CheckUpload, MoreBytesThanTheLimitAreNotLookedAt) {
  const TemporaryDirectory directory;
  try {
    check_upload(std::string(2097153, 'x'), {}, directory.path());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "Size of the uploaded archive file exceeds limit (2097152 bytes)");
  }
}

}  // namespace
}  // namespace digdag::store
