#pragma once

#include <cstddef>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace digdag::dig {

/// Remembers what was looked at most recently, up to a number of entries and of bytes. Thread-safe; `T` should be cheap to copy.
template <typename T>
class LruCache {
 public:
  LruCache(std::size_t most_entries, std::size_t most_bytes) : most_entries_(most_entries), most_bytes_(most_bytes) {}

  std::optional<T> find(std::string_view key) {
    const std::lock_guard lock(mutex_);
    const auto found = places_.find(key);
    if (found == places_.end()) return std::nullopt;
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->value;
  }

  /// `bytes`: what the value costs besides its key.
  void insert(std::string key, T value, std::size_t bytes) {
    bytes += key.size();
    if (bytes > most_bytes_ / 8) return;
    const std::lock_guard lock(mutex_);
    if (places_.find(key) != places_.end()) return;
    entries_.push_front({std::move(key), std::move(value), bytes});
    places_.emplace(entries_.front().key, entries_.begin());
    bytes_ += bytes;
    while (entries_.size() > most_entries_ || bytes_ > most_bytes_) {
      bytes_ -= entries_.back().bytes;
      places_.erase(entries_.back().key);
      entries_.pop_back();
    }
  }

 private:
  struct Entry {
    std::string key;
    T value;
    std::size_t bytes;
  };
  std::mutex mutex_;
  std::list<Entry> entries_;
  std::unordered_map<std::string_view, typename std::list<Entry>::iterator> places_;
  std::size_t bytes_ = 0;
  const std::size_t most_entries_, most_bytes_;
};

}  // namespace digdag::dig
