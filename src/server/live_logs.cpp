#include "server/live_logs.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/gzip.h"
#include "base/json.h"
#include "base/text.h"
#include "base/thread.h"

namespace digdag::server {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t most_unsent = 1 << 20, piece_bytes = 64 << 10;
constexpr milliseconds between_rounds{50};  ///< what is written meanwhile is sent together
constexpr seconds look_around{2};           ///< the net under notices: attempts and storages of other servers
constexpr seconds heartbeat{15};
constexpr std::size_t most_remembered = 100;               ///< attempts that have ended, whose logs no storage keeps
constexpr std::uint64_t most_remembered_bytes = 64 << 10;  ///< of each

/// How many bytes at the end begin a character whose rest may come with the next piece.
std::size_t unfinished_bytes(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if (byte < 0x80) return 0;
    if (byte < 0xC0) continue;
    const std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
    return length > back ? back : 0;
  }
  return 0;
}

/// Someone who reads. Used by the thread alone.
class Reader {
 public:
  explicit Reader(std::shared_ptr<BodyStream> to) : stream(std::move(to)) {}
  virtual ~Reader() = default;
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  /// Writes what there is, as far as the stream takes it; true where all is said. `looks`: storage and database are asked too.
  virtual bool read(bool looks) = 0;

  const std::shared_ptr<BodyStream> stream;
  std::string directory;  ///< of whose news it wants to know; empty: of none

 protected:
  bool full() const { return stream->unsent() >= most_unsent; }
};

class FileReader : public Reader {
 public:
  FileReader(const store::LogStorage& storage, store::LogAttempt attempt, std::string file_name, std::shared_ptr<BodyStream> to)
      : Reader(std::move(to)), storage_(storage), attempt_(std::move(attempt)), file_name_(std::move(file_name)) {}

  bool read(bool) override {
    bool whole = true;
    const bool found = storage_.read(
        attempt_, file_name_, [](std::uint64_t) {},
        [&](std::string_view piece) {
          if (!stream->write(std::string(piece))) return false;
          offset_ += piece.size();
          return whole = !full();
        },
        offset_);
    return !found || whole || stream->closed();
  }

 private:
  const store::LogStorage& storage_;
  const store::LogAttempt attempt_;
  const std::string file_name_;
  std::uint64_t offset_ = 0;
};

class Follower : public Reader {
 public:
  /// Names of files that came into the storage since the call before.
  using Published = std::function<std::vector<std::string>()>;

  Follower(const store::LogStorage& storage, const store::LogSpool& spool, const LiveLogs::IsOver& is_over, LiveLogs::Wanted wanted,
           std::shared_ptr<BodyStream> to, Published published)
      : Reader(std::move(to)),
        storage_(storage),
        spool_(spool),
        is_over_(is_over),
        wanted_(std::move(wanted)),
        published_(std::move(published)) {
    directory = wanted_.attempt.directory();
  }

  bool read(bool looks) override {
    looks = looks || !is_live_;
    const bool over = looks && is_over_(wanted_);
    find_files(looks);
    for (auto& [key, file] : files_) {
      if (!file.complete) read_file(key, file);
      if (stream->closed()) return true;
      if (full()) return false;
    }
    if (!std::exchange(is_live_, true)) say(Value::object({{"state", "live"}}));
    if (over) say(Value::object({{"state", "done"}}));
    if (Clock::now() - said_ >= heartbeat) say(Value::object({{"state", "waiting"}}));
    return over;
  }

 private:
  /// Task after task, by the time of their first file; a task's files by time.
  using Key = std::tuple<std::string, std::string, std::string>;  // when the task began, task, file name
  struct File {
    std::uint64_t offset = 0;
    bool is_open = false, complete = false;
  };

  void find_files(bool looks) {
    // First those that are open: what is published meanwhile is named then. So nothing that began before something else is missing.
    std::set<std::string> open;
    for (auto& log : spool_.open_logs(wanted_.attempt, wanted_.prefix)) open.insert(std::move(log.file_name));
    for (const std::string& name : open) file_named(name).is_open = true;
    for (auto& [key, file] : files_) {
      if (!file.is_open || open.contains(std::get<2>(key))) continue;
      file.is_open = false;
      looks = true;
    }
    for (const std::string& name : published_()) {
      if (name.starts_with(wanted_.prefix)) file_named(name);
    }
    if (!looks) return;
    for (const store::LogFile& stored : storage_.list(wanted_.attempt, wanted_.prefix)) file_named(stored.file_name);
  }

  File& file_named(const std::string& name) {
    const auto known = keys_.find(name);
    if (known != keys_.end()) return files_[known->second];
    const auto parsed = store::LogFileName::parse(name);
    const std::string task = parsed ? parsed->task_name : name;
    const std::string time = name.substr(std::min(name.size(), name.find('@') + 1), 16);  // of one length: sorts as text
    const std::string& began = began_.try_emplace(task, time).first->second;
    return files_[keys_.emplace(name, Key(began, task, name)).first->second];
  }

  void read_file(const Key& key, File& file) {
    const std::string& name = std::get<2>(key);
    while (file.is_open && !full() && !stream->closed()) {
      const auto bytes = spool_.read_open(wanted_.attempt, name, file.offset, piece_bytes);
      if (!bytes) file.is_open = false;
      if (!bytes || !say(key, file, *bytes, false)) break;
    }
    if (file.is_open || full()) return;
    std::uint64_t skipped = 0;
    std::string held;
    Gunzip unpacked;
    const auto take = [&](std::string_view content) {
      const auto skip = static_cast<std::size_t>(std::min<std::uint64_t>(content.size(), file.offset - skipped));
      if (held.empty() && skip > 0) {
        skipped += skip;
        content.remove_prefix(skip);
      }
      held += content;
      if (held.size() < piece_bytes) return true;
      const std::uint64_t before = file.offset;
      say(key, file, held, false);
      skipped += file.offset - before;
      held.erase(0, static_cast<std::size_t>(file.offset - before));
      return !full() && !stream->closed();
    };
    bool whole = true;
    const bool found = storage_.read(
        wanted_.attempt, name, [](std::uint64_t) {}, [&](std::string_view piece) { return whole = unpacked.add(piece, take); });
    if (found && whole) {
      say(key, file, held, true);
      file.complete = true;
    }
  }

  /// False where nothing could be said.
  bool say(const Key& key, File& file, std::string_view bytes, bool at_end) {
    if (!at_end) bytes.remove_suffix(unfinished_bytes(bytes));
    if (bytes.empty()) return false;
    const auto count = static_cast<std::int64_t>(bytes.size());
    say(Value::object({{"file", std::get<2>(key)},
                       {"task", std::get<1>(key)},
                       {"from", static_cast<std::int64_t>(file.offset)},
                       {"bytes", count},
                       {"text", to_valid_utf8(bytes)}}));
    file.offset += bytes.size();
    return true;
  }
  void say(const Value& line) {
    stream->write(to_json(line) + "\n");
    said_ = Clock::now();
  }

  const store::LogStorage& storage_;
  const store::LogSpool& spool_;
  const LiveLogs::IsOver& is_over_;
  const LiveLogs::Wanted wanted_;
  const Published published_;
  std::map<Key, File> files_;
  std::map<std::string, Key> keys_;           ///< by file name
  std::map<std::string, std::string> began_;  ///< by task
  bool is_live_ = false;
  Clock::time_point said_ = Clock::now();
};

}  // namespace

struct LiveLogs::Impl : std::enable_shared_from_this<LiveLogs::Impl> {
  Impl(const store::LogStorage& kept, store::LogSpool& open, IsOver over, Log& process_log)
      : storage(kept), spool(open), is_over(std::move(over)), log(process_log) {}

  const store::LogStorage& storage;
  store::LogSpool& spool;
  const IsOver is_over;
  Log& log;

  std::mutex mutex;  ///< of all that follows
  std::condition_variable wake;
  std::vector<std::shared_ptr<Reader>> arrived;
  std::set<std::string> news;                                 ///< attempt directories
  std::vector<store::LogAttempt> ended;                       ///< to be forgotten when they were read
  std::deque<store::LogAttempt> remembered;                   ///< ended, the oldest first
  std::map<std::string, std::vector<std::string>> published;  ///< since it is followed, by attempt directory
  std::set<const Reader*> ready;                              ///< whose stream was emptied
  bool closed = false;
  std::size_t readers_count = 0;
  Thread thread;

  /// What came into the storage since `known` names, which it counts on.
  std::vector<std::string> published_since(const std::string& directory, std::size_t& known) {
    const std::lock_guard lock(mutex);
    const std::vector<std::string>& all = published[directory];
    std::vector<std::string> fresh(all.begin() + static_cast<std::ptrdiff_t>(known), all.end());
    known = all.size();
    return fresh;
  }

  void forget(const store::LogAttempt& attempt) {
    std::uint64_t bytes = 0;
    for (const auto& file : spool.open_logs(attempt, "")) bytes += file.bytes;
    if (bytes == 0 || bytes > most_remembered_bytes) return spool.forget(attempt);
    std::optional<store::LogAttempt> oldest;
    {
      const std::lock_guard lock(mutex);
      remembered.push_back(attempt);
      if (remembered.size() <= most_remembered) return;
      oldest = std::move(remembered.front());
      remembered.pop_front();
    }
    spool.forget(*oldest);
  }

  void add(const std::shared_ptr<Reader>& reader) {
    // The stream calls from the I/O thread, perhaps after our end.
    reader->stream->when_ready([weak = weak_from_this(), key = reader.get()] {
      if (const auto self = weak.lock()) {
        const std::lock_guard lock(self->mutex);
        self->ready.insert(key);
        self->wake.notify_one();
      }
    });
    std::unique_lock lock(mutex);
    if (closed) {
      lock.unlock();
      reader->stream->finish();
      return;
    }
    if (!thread.running()) thread = Thread("live logs", [this] { run(); });
    if (!reader->directory.empty()) published.try_emplace(reader->directory);
    arrived.push_back(reader);
    ++readers_count;
    wake.notify_one();
  }

  void run() {
    std::list<std::shared_ptr<Reader>> readers;
    auto next_look = Clock::now() + look_around;
    std::unique_lock lock(mutex);
    while (!closed) {
      const auto something = [&] { return closed || !arrived.empty() || !news.empty() || !ready.empty() || !ended.empty(); };
      if (readers.empty())
        wake.wait(lock, something);
      else
        wake.wait_until(lock, next_look, something);
      if (closed) break;
      const auto begun = Clock::now();
      const bool looks = begun >= next_look;
      if (looks) next_look = begun + look_around;
      const auto arrived_now = std::exchange(arrived, {});
      const auto news_now = std::exchange(news, {});
      const auto ready_now = std::exchange(ready, {});
      const auto ended_now = std::exchange(ended, {});
      lock.unlock();
      std::set<std::string> over;
      for (const auto& attempt : ended_now) over.insert(attempt.directory());
      readers.insert(readers.end(), arrived_now.begin(), arrived_now.end());
      const std::size_t before = readers.size();
      readers.remove_if([&](const std::shared_ptr<Reader>& reader) {
        const bool is_new = std::find(arrived_now.begin(), arrived_now.end(), reader) != arrived_now.end();
        const bool has_ended = over.contains(reader->directory);
        if (!looks && !is_new && !has_ended && !news_now.contains(reader->directory) && !ready_now.contains(reader.get())) return false;
        return read(*reader, looks || has_ended);
      });
      for (const auto& attempt : ended_now) forget(attempt);
      lock.lock();
      readers_count -= before - readers.size();
      if (readers.size() < before) leave_published(readers);
      wake.wait_until(lock, begun + between_rounds, [&] { return closed; });
    }
    const auto late = std::exchange(arrived, {});
    lock.unlock();
    for (const auto& reader : readers) reader->stream->finish();
    for (const auto& reader : late) reader->stream->finish();
  }

  /// Keeps the names for those that are still followed. With the mutex held.
  void leave_published(const std::list<std::shared_ptr<Reader>>& readers) {
    std::set<std::string> followed;
    for (const auto& reader : readers) followed.insert(reader->directory);
    for (const auto& reader : arrived) followed.insert(reader->directory);
    std::erase_if(published, [&](const auto& one) { return !followed.contains(one.first); });
  }

  /// True where it needs no more.
  bool read(Reader& reader, bool looks) {
    try {
      if (!reader.stream->closed() && !reader.read(looks)) return false;
    } catch (const std::exception& error) {
      log.write(LogLevel::warn, "main", "server",
                "A log" + (reader.directory.empty() ? "" : " in " + reader.directory) + " cannot be read: " + error.what());
    }
    reader.stream->finish();
    return true;
  }

  void close() {
    {
      const std::lock_guard lock(mutex);
      closed = true;
    }
    wake.notify_all();
    thread.join();
  }
};

LiveLogs::LiveLogs(const store::LogStorage& storage, store::LogSpool& spool, IsOver is_over, Log& log)
    : impl_(std::make_shared<Impl>(storage, spool, std::move(is_over), log)) {}
LiveLogs::~LiveLogs() { close(); }

void LiveLogs::follow(Wanted wanted, std::shared_ptr<BodyStream> stream) {
  const auto published = [impl = impl_.get(), directory = wanted.attempt.directory().string(), known = std::size_t{0}]() mutable {
    return impl->published_since(directory, known);
  };
  impl_->add(std::make_shared<Follower>(impl_->storage, impl_->spool, impl_->is_over, std::move(wanted), std::move(stream), published));
}

void LiveLogs::send(const store::LogAttempt& attempt, std::string file_name, std::shared_ptr<BodyStream> stream) {
  impl_->add(std::make_shared<FileReader>(impl_->storage, attempt, std::move(file_name), std::move(stream)));
}

void LiveLogs::written(const std::string& attempt_directory) {
  const std::lock_guard lock(impl_->mutex);
  if (impl_->readers_count == 0) return;
  impl_->news.insert(attempt_directory);
  impl_->wake.notify_one();
}

void LiveLogs::published(const std::string& attempt_directory, const std::string& file_name) {
  const std::lock_guard lock(impl_->mutex);
  const auto followed = impl_->published.find(attempt_directory);
  if (followed != impl_->published.end()) followed->second.push_back(file_name);
}

void LiveLogs::ended(const store::LogAttempt& attempt) {
  {
    const std::lock_guard lock(impl_->mutex);
    if (impl_->readers_count > 0) {
      impl_->ended.push_back(attempt);
      impl_->wake.notify_one();
      return;
    }
  }
  impl_->forget(attempt);
}

void LiveLogs::close() { impl_->close(); }

}  // namespace digdag::server
