#include "schedule/project_watcher.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/thread.h"

namespace digdag::schedule {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds least_period{5000}, most_period{60'000};
/// A large project is read again by itself after so many times of what reading it took, when files change after so many.
constexpr int share_by_itself = 500, share_of_changes = 20;
/// An editor writes a file in several steps; they are waited for before it is read, unless they do not end.
constexpr milliseconds settling{100}, most_settling{2000};

/// The changes of the files below a directory, as far as the system tells them: directories beyond its limit of watches, and those of
/// a network file system, are only read again from time to time.
class Changes {
 public:
  Changes() : inotify_(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)), stop_(eventfd(0, EFD_CLOEXEC)) {}

  /// Watches the directory and those below it that are not hidden.
  void watch(const std::filesystem::path& directory) {
    if (inotify_.get() < 0) return;
    add(directory);
    std::error_code ignored;
    for (std::filesystem::recursive_directory_iterator
             entry(directory, std::filesystem::directory_options::skip_permission_denied, ignored),
         end;
         entry != end; entry.increment(ignored)) {
      if (ignored) return;
      if (!entry->is_directory(ignored)) continue;
      if (entry->path().filename().string().starts_with('.')) {
        entry.disable_recursion_pending();
      } else {
        add(entry->path());
      }
    }
  }

  /// Waits for changes to come to an end, or for the period. False once `stop` was called.
  bool wait(milliseconds period) {
    if (!wait_for(period)) return false;
    for (const auto give_up = Clock::now() + most_settling; take() && Clock::now() < give_up;) {
      if (!wait_for(settling)) return false;
    }
    return true;
  }
  /// False once `stop` was called.
  bool pause(milliseconds time) {
    pollfd stopped{stop_.get(), POLLIN, 0};
    return ::poll(&stopped, 1, static_cast<int>(time.count())) == 0;
  }
  void stop() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(stop_.get(), &one, sizeof one);
  }

 private:
  void add(const std::filesystem::path& directory) {
    inotify_add_watch(inotify_.get(), directory.c_str(), IN_CLOSE_WRITE | IN_MOVE | IN_CREATE | IN_DELETE | IN_ATTRIB | IN_ONLYDIR);
  }
  bool wait_for(milliseconds time) {
    std::array<pollfd, 2> waiting{{{stop_.get(), POLLIN, 0}, {inotify_.get(), POLLIN, 0}}};
    ::poll(waiting.data(), waiting.size(), static_cast<int>(time.count()));
    return (waiting[0].revents & POLLIN) == 0;
  }
  /// Takes what the system has told; false where that was nothing.
  bool take() {
    std::array<char, 16 << 10> events;
    bool any = false;
    while (inotify_.get() >= 0 && ::read(inotify_.get(), events.data(), events.size()) > 0) any = true;
    return any;
  }

  Fd inotify_, stop_;
};

/// The workflows by name, with their zones and configs. As text: the order of tasks counts.
std::map<std::string, std::string> definitions(const dig::Project& project) {
  std::map<std::string, std::string> all;
  for (const dig::Project::File& file : project.files) {
    if (file.workflow) all[file.workflow->name] = file.workflow->timezone.id() + " " + to_json(file.workflow->config);
  }
  return all;
}

std::string errors_of(const dig::Project& project) {
  std::string text;
  for (const dig::Project::File& file : project.files) {
    for (const Error& error : file.errors) text += "\n" + error.report();
  }
  return text;
}

}  // namespace

struct ProjectWatcher::Impl {
  bool reload() {
    std::string problem;
    try {
      const dig::Project project = dig::load_project(directory);
      problem = errors_of(project);
      if (problem.empty()) {
        last_problem.clear();
        auto read = definitions(project);
        if (read == known) return false;
        log.write(LogLevel::info, "scheduler", "schedule", "Reloading " + directory.string());
        const std::string revision = new_revision(project);
        known = std::move(read);
        log.write(LogLevel::info, "scheduler", "schedule", "Added new revision " + revision);
        return true;
      }
    } catch (const Error& error) {
      problem = "\n" + error.report();
    } catch (const std::exception& error) {
      problem = std::string("\n") + error.what();
    }
    // Said once, not at every reading.
    if (problem != last_problem)
      log.write(LogLevel::error, "scheduler", "schedule", "Failed to reload " + directory.string() + ":" + problem);
    last_problem = std::move(problem);
    return false;
  }

  void main() {
    for (milliseconds period = least_period;;) {
      if (!changes.wait(period)) return;
      const auto begin = Clock::now();
      changes.watch(directory);  // also directories that are new
      reload();
      const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - begin);
      period = std::clamp(share_by_itself * took, least_period, most_period);
      if (!changes.pause(share_of_changes * took)) return;
    }
  }

  std::filesystem::path directory;
  std::map<std::string, std::string> known;
  NewRevision new_revision;
  Log& log;
  std::string last_problem;
  Changes changes;
  Thread thread;
};

ProjectWatcher::ProjectWatcher(std::filesystem::path directory, const dig::Project& known, NewRevision new_revision, Log& log)
    : impl_(new Impl{.directory = std::move(directory),
                     .known = definitions(known),
                     .new_revision = std::move(new_revision),
                     .log = log,
                     .last_problem = {},
                     .changes = {},
                     .thread = {}}) {}

ProjectWatcher::~ProjectWatcher() { stop(); }

void ProjectWatcher::start() {
  // What changes from now on is seen, whenever the thread comes to it.
  impl_->changes.watch(impl_->directory);
  impl_->thread = Thread("the project's files", [this] { impl_->main(); });
}

void ProjectWatcher::stop() {
  impl_->changes.stop();
  impl_->thread.join();
}

bool ProjectWatcher::reload() { return impl_->reload(); }

}  // namespace digdag::schedule
