#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "base/library.h"

namespace digdag::store {

/// For tests: while it lives, SQLite writes through it. It knows what a disk must keep (what was synchronized) and what it may lose
/// when the power is cut (any of the writes after that), and can be full. Nothing is really synchronized.
class StorageForTest {
 public:
  StorageForTest() {
    current() = this;
    const Library library("libsqlite3.so.0", "the test needs", "libsqlite3-0");
    decltype(&sqlite3_vfs_find) find = nullptr;
    decltype(&sqlite3_vfs_register) add = nullptr;
    library.find(find, "sqlite3_vfs_find");
    library.find(add, "sqlite3_vfs_register");
    library.find(remove_, "sqlite3_vfs_unregister");
    real_ = find(nullptr);
    vfs_ = *real_;
    vfs_.zName = "storage for a test";
    vfs_.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
    vfs_.xOpen = open;
    vfs_.xDelete = remove_file;
    EXPECT_EQ(add(&vfs_, 1), SQLITE_OK);
  }
  ~StorageForTest() {
    remove_(&vfs_);
    current() = nullptr;
  }
  StorageForTest(const StorageForTest&) = delete;
  StorageForTest& operator=(const StorageForTest&) = delete;

  /// Cuts the power at that write or synchronization from now on: what the disk has then is kept for `restore`. `seed` decides which
  /// of the writes that were not synchronized it has.
  void cut_power_at(int operation, unsigned seed, std::function<void()> at_cut) {
    const std::lock_guard lock(mutex_);
    operations_left_ = operation;
    seed_ = seed;
    at_cut_ = std::move(at_cut);
  }
  /// So many writes and synchronizations until now.
  int operations() const { return operations_; }
  /// Makes the files anew as the disk had them at the cut.
  void restore(const std::filesystem::path& directory) const {
    std::filesystem::create_directories(directory);
    for (const auto& [path, content] : kept_) {
      std::ofstream(directory / std::filesystem::path(path).filename(), std::ios::binary) << content;
    }
  }
  void set_full(bool full) {
    const std::lock_guard lock(mutex_);
    full_ = full;
  }

 private:
  struct Change {
    std::size_t offset;
    std::string bytes;
    bool truncates;
  };
  struct Content {
    bool exists = true;
    std::string synchronized;
    std::vector<Change> changes;
  };
  struct File {
    sqlite3_file base;
    Content* content;
    sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
  };

  static StorageForTest*& current() {
    static StorageForTest* storage = nullptr;
    return storage;
  }
  static File& of(sqlite3_file* file) { return *reinterpret_cast<File*>(file); }
  static sqlite3_file* real(sqlite3_file* file) { return of(file).real(); }

  static void apply(std::string& content, const Change& change) {
    if (change.truncates) {
      content.resize(change.offset);
    } else {
      if (content.size() < change.offset + change.bytes.size()) content.resize(change.offset + change.bytes.size());
      content.replace(change.offset, change.bytes.size(), change.bytes);
    }
  }

  /// Counts an operation; the mutex is held.
  void count() {
    ++operations_;
    if (operations_left_ < 0 || operations_left_-- > 0) return;
    std::mt19937 random(seed_);
    for (const auto& [path, content] : contents_) {
      if (!content.exists) continue;
      std::string& kept = kept_[path] = content.synchronized;
      for (const Change& change : content.changes) {
        if (random() % 3 != 0) apply(kept, change);
      }
    }
    at_cut_();
  }

  static int open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
    StorageForTest& self = *current();
    const int code = self.real_->xOpen(self.real_, name, of(file).real(), flags, out_flags);
    file->pMethods = nullptr;
    if (code != SQLITE_OK) return code;
    const std::lock_guard lock(self.mutex_);
    of(file).content = &self.contents_[name == nullptr ? "" : name];
    of(file).content->exists = true;
    file->pMethods = methods();
    return SQLITE_OK;
  }
  static int remove_file(sqlite3_vfs*, const char* name, int synchronize_directory) {
    StorageForTest& self = *current();
    const std::lock_guard lock(self.mutex_);
    self.contents_[name] = {.exists = false};
    return self.real_->xDelete(self.real_, name, synchronize_directory);
  }
  static int write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 offset) {
    StorageForTest& self = *current();
    const std::lock_guard lock(self.mutex_);
    if (self.full_) return SQLITE_FULL;
    self.count();
    of(file).content->changes.push_back({static_cast<std::size_t>(offset), std::string(static_cast<const char*>(bytes), size), false});
    return real(file)->pMethods->xWrite(real(file), bytes, size, offset);
  }
  static int truncate(sqlite3_file* file, sqlite3_int64 size) {
    StorageForTest& self = *current();
    const std::lock_guard lock(self.mutex_);
    self.count();
    of(file).content->changes.push_back({static_cast<std::size_t>(size), "", true});
    return real(file)->pMethods->xTruncate(real(file), size);
  }
  static int synchronize(sqlite3_file* file, int) {
    StorageForTest& self = *current();
    const std::lock_guard lock(self.mutex_);
    self.count();
    for (const Change& change : of(file).content->changes) apply(of(file).content->synchronized, change);
    of(file).content->changes.clear();
    return SQLITE_OK;
  }
  static const sqlite3_io_methods* methods() {
    static const sqlite3_io_methods all = {
        3,
        [](sqlite3_file* f) { return real(f)->pMethods->xClose(real(f)); },
        [](sqlite3_file* f, void* to, int size, sqlite3_int64 at) { return real(f)->pMethods->xRead(real(f), to, size, at); },
        write,
        truncate,
        synchronize,
        [](sqlite3_file* f, sqlite3_int64* size) { return real(f)->pMethods->xFileSize(real(f), size); },
        [](sqlite3_file* f, int lock) { return real(f)->pMethods->xLock(real(f), lock); },
        [](sqlite3_file* f, int lock) { return real(f)->pMethods->xUnlock(real(f), lock); },
        [](sqlite3_file* f, int* out) { return real(f)->pMethods->xCheckReservedLock(real(f), out); },
        [](sqlite3_file* f, int operation, void* argument) { return real(f)->pMethods->xFileControl(real(f), operation, argument); },
        [](sqlite3_file* f) { return real(f)->pMethods->xSectorSize(real(f)); },
        [](sqlite3_file* f) { return real(f)->pMethods->xDeviceCharacteristics(real(f)); },
        [](sqlite3_file* f, int page, int size, int extend, void volatile** to) {
          return real(f)->pMethods->xShmMap(real(f), page, size, extend, to);
        },
        [](sqlite3_file* f, int at, int count, int flags) { return real(f)->pMethods->xShmLock(real(f), at, count, flags); },
        [](sqlite3_file* f) { real(f)->pMethods->xShmBarrier(real(f)); },
        [](sqlite3_file* f, int remove) { return real(f)->pMethods->xShmUnmap(real(f), remove); },
        [](sqlite3_file*, sqlite3_int64, int, void** to) {
          *to = nullptr;  // not mapped: read
          return SQLITE_OK;
        },
        [](sqlite3_file*, sqlite3_int64, void*) { return SQLITE_OK; },
    };
    return &all;
  }

  decltype(&sqlite3_vfs_unregister) remove_ = nullptr;
  sqlite3_vfs* real_ = nullptr;
  sqlite3_vfs vfs_{};
  std::mutex mutex_;  ///< of what follows
  std::map<std::string, Content> contents_;
  std::map<std::string, std::string> kept_;
  int operations_ = 0, operations_left_ = -1;
  unsigned seed_ = 0;
  std::function<void()> at_cut_;
  bool full_ = false;
};

}  // namespace digdag::store
