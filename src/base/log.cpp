#include "base/log.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <optional>

#include "base/error.h"
#include "base/log_output.h"
#include "base/text.h"
#include "base/thread.h"
#include "base/time.h"

namespace digdag {

namespace {

constexpr std::array<std::string_view, 5> level_colors = {"\x1b[35m", "\x1b[33m", "\x1b[32m", "\x1b[37m", "\x1b[34m"};
constexpr std::string_view end_of_color = "\x1b[0;39m";
constexpr std::string_view erase_line = "\r\x1b[K";

bool set_and_not_empty(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != 0;
}

bool terminal_understands_escapes() {
  const char* name = std::getenv("TERM");
  return name != nullptr && *name != 0 && std::string_view(name) != "dumb";
}

/// The first `columns` characters of a UTF-8 text.
std::string_view cut(std::string_view text, std::size_t columns) {
  std::size_t characters = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool begins_character = (static_cast<unsigned char>(text[i]) & 0xC0U) != 0x80U;
    if (begins_character && characters++ == columns) return text.substr(0, i);
  }
  return text;
}

std::size_t columns_of_terminal(int descriptor) {
  winsize size{};
  return ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
}

/// What a crash would take with it, for the handler of the signal: the console and the file of one log.
std::array<std::atomic<const LogOutput*>, 2> outputs_to_rescue{};

void rescue_outputs(int signal) {
  rescue_logged_output();
  ::raise(signal);  // SA_RESETHAND: the default action follows
}

/// Leaves alone what others (sanitizers) have installed.
void rescue_at_crash(const LogOutput* console, const LogOutput* file) {
  outputs_to_rescue[0] = console;
  outputs_to_rescue[1] = file;
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) {
    struct sigaction action {};
    if (::sigaction(signal, nullptr, &action) != 0 || action.sa_handler != SIG_DFL) continue;
    action.sa_handler = rescue_outputs;
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    ::sigaction(signal, &action, nullptr);
  }
}

}  // namespace

struct Log::Impl {
  explicit Impl(Options given)
      : options(std::move(given)),
        console_descriptor(options.console_to_stderr ? STDERR_FILENO : STDOUT_FILENO),
        on_terminal(::isatty(STDIN_FILENO) == 1 && ::isatty(console_descriptor) == 1),
        colored(options.color == Color::always ||
                (options.color == Color::when_terminal && on_terminal && !set_and_not_empty("NO_COLOR") && terminal_understands_escapes())),
        watched(::isatty(STDOUT_FILENO) == 1),
        can_show_progress(!options.quiet && watched && ::isatty(STDIN_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1 &&
                          terminal_understands_escapes()),
        out(STDOUT_FILENO, options.drops_unread),
        err(STDERR_FILENO, options.drops_unread) {
    if (!options.file.empty()) file.emplace(options.file);
    rescue_at_crash(&out, file ? &*file : nullptr);
  }

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      ending = true;
    }
    wake.notify_one();
    flusher.join();
    for (auto& slot : outputs_to_rescue) {
      const LogOutput* rescued = slot;
      if (rescued == &out || (file && rescued == &*file)) slot.compare_exchange_strong(rescued, nullptr);
    }
    hide_progress();
    out.finish();
    flush();
    err.finish();
  }

  bool enabled(LogLevel level) const {
    if (level > options.level) return false;
    return !options.quiet || file || level <= LogLevel::warn;
  }

  void write(LogLevel level, std::string_view thread, std::string_view component, std::string_view message) {
    line.clear();
    const bool colored_line = !file && colored;
    if (colored_line) line += level_colors[static_cast<std::size_t>(level)];
    append_time();
    line += " [";
    line += level_name(level);
    line += "] (";
    line += thread;
    line += ')';
    if (!file && (!on_terminal || level >= LogLevel::debug)) {
      line += ' ';
      line += component;
    }
    line += ": ";
    line += message;
    line += '\n';
    if (colored_line) line += end_of_color;
    if (file) {
      add(*file, line);
    } else if (options.console_to_stderr) {
      print_to_stderr(line);
    } else {
      print(line);
    }
  }

  /// `2026-01-02 03:04:05 +0000`, made once for each second; in a file with milliseconds.
  void append_time() {
    const Instant time = now();
    if (time.seconds() != known_second || known_time.empty()) {
      if (known_time.empty()) zone = TimeZone::system();
      known_second = time.seconds();
      known_time = format_log_time(time, zone, false);
    }
    if (!file) {
      line += known_time;
      return;
    }
    const auto blank = known_time.rfind(' ');
    const auto millis = static_cast<int>(time.millis - known_second * 1000);
    line.append(known_time, 0, blank);
    line += '.';
    line += static_cast<char>('0' + millis / 100);
    line += static_cast<char>('0' + millis / 10 % 10);
    line += static_cast<char>('0' + millis % 10);
    line.append(known_time, blank);
  }

  /// To standard output.
  void print(std::string_view text) {
    if (text.empty()) return;
    hide_progress();
    add(out, text);
    if (watched) out.flush();
    at_line_start = text.back() == '\n' || text.ends_with(end_of_color);
    show_progress();
  }

  void print_to_stderr(std::string_view text) {
    if (text.empty()) return;
    out.flush();  // the order holds where both go to the same place
    hide_progress();
    err.append(text);
    err.flush();
    if (err.waiting()) flush_later();
    at_line_start = text.back() == '\n' || text.ends_with(end_of_color);
    show_progress();
  }

  /// A line is drawn only where the cursor stands at the beginning of one.
  void show_progress() {
    if (progress.empty() || !at_line_start || progress_shown) return;
    err.append(cut(progress, columns_of_terminal(STDERR_FILENO) - 1));
    err.flush();
    progress_shown = true;
  }

  void hide_progress() {
    if (!progress_shown) return;
    err.append(erase_line);
    err.flush();
    progress_shown = false;
  }

  void add(LogOutput& output, std::string_view text) {
    output.append(text);
    report_trouble();
    if (output.waiting()) flush_later();
  }

  void flush() {
    out.flush();
    err.flush();
    if (file) file->flush();
    report_trouble();
    report_dropped();
    if (out.waiting() || err.waiting()) flush_later();
  }

  /// Not while a line is being written.
  void report_dropped() {
    if (const std::size_t bytes = out.take_dropped() + err.take_dropped(); bytes > 0)
      write(LogLevel::warn, "main", "log", std::to_string(bytes) + " bytes of the output were lost: nobody read it");
  }

  void report_trouble() {
    if (const std::string trouble = out.take_trouble(); !trouble.empty()) {
      output_lost = true;
      err.append("error: cannot write to standard output: " + trouble + "\n");
      err.flush();
    }
    if (!file) return;
    if (const std::string trouble = file->take_trouble(); !trouble.empty()) {
      err.append("error: cannot write log file " + options.file + ": " + trouble + "\n");
      err.flush();
    }
  }

  /// Somebody has to write what waits when nothing else comes: a thread, made when first needed.
  void flush_later() {
    if (flusher_has_work || ending) return;
    flusher_has_work = true;
    if (flusher.running()) {
      wake.notify_one();
      return;
    }
    try {
      flusher = Thread("the log", [this] { flush_when_due(); });
    } catch (const Error&) {
      flusher_has_work = false;
      flush();
    }
  }

  void flush_when_due() {
    std::unique_lock lock(mutex);
    while (!ending) {
      report_dropped();
      auto due = LogOutput::Clock::time_point::max();
      for (const LogOutput* output : {&out, &err, file ? &*file : nullptr}) {
        if (output && output->waiting()) due = std::min(due, output->due());
      }
      flusher_has_work = due != LogOutput::Clock::time_point::max();
      if (!flusher_has_work) {
        wake.wait(lock);
      } else if (LogOutput::Clock::now() < due) {
        wake.wait_until(lock, due);
      } else {
        flush();
      }
    }
  }

  const Options options;
  const int console_descriptor;
  bool output_lost = false;
  const bool on_terminal;  ///< where log lines go: the short form of lines
  const bool colored;
  const bool watched;  ///< standard output is a terminal: written at every line
  const bool can_show_progress;

  std::mutex mutex;  // guards everything below
  LogOutput out, err;
  std::optional<LogOutput> file;
  std::string line;
  TimeZone zone;
  std::int64_t known_second = 0;
  std::string known_time;
  std::string progress;
  bool progress_shown = false;
  bool at_line_start = true;
  bool flusher_has_work = false;
  bool ending = false;
  std::condition_variable wake;
  Thread flusher;
};

std::string_view level_name(LogLevel level) {
  constexpr std::array<std::string_view, 5> names = {"ERROR", "WARN", "INFO", "DEBUG", "TRACE"};
  return names[static_cast<std::size_t>(level)];
}

void rescue_logged_output() {
  for (auto& slot : outputs_to_rescue) {
    if (const LogOutput* output = slot.exchange(nullptr)) output->rescue();
  }
}

Log::Log(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Log::~Log() = default;

bool Log::enabled(LogLevel level) const { return impl_->enabled(level); }

bool Log::output_lost() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->output_lost;
}

void Log::write(LogLevel level, std::string_view thread, std::string_view component, std::string_view message) {
  if (!impl_->enabled(level)) return;
  const std::string shown_thread = visible(thread), shown = visible(message, "\n\t");
  const std::lock_guard lock(impl_->mutex);
  impl_->write(level, shown_thread, component, shown);
}

void Log::task_output(std::string_view bytes) {
  const std::lock_guard lock(impl_->mutex);
  impl_->print(bytes);
}

void Log::user(std::string_view text) {
  const std::lock_guard lock(impl_->mutex);
  impl_->print_to_stderr(text.ends_with('\n') ? std::string(text) : std::string(text) + '\n');
}

bool Log::shows_progress() const { return impl_->can_show_progress; }

void Log::progress(std::string_view line) {
  if (!impl_->can_show_progress) return;
  const std::lock_guard lock(impl_->mutex);
  if (impl_->progress == line) return;
  impl_->hide_progress();
  impl_->progress = line;
  impl_->show_progress();
}

void Log::flush() {
  const std::lock_guard lock(impl_->mutex);
  impl_->flush();
}

}  // namespace digdag
