#include "base/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/eventually_for_test.h"
#include "base/log_output.h"

namespace digdag {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

constexpr const char* time_form = "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} [+-][0-9]{4} ";

std::string read_all(int descriptor) {
  std::string all;
  std::array<char, 4096> block{};
  ssize_t size = 0;
  while ((size = ::read(descriptor, block.data(), block.size())) > 0) all.append(block.data(), static_cast<std::size_t>(size));
  return all;
}

/// What a process wrote, and how it ended (as waitpid says).
struct Seen {
  std::string out, err;
  int status = 0;
};

void set_environment(const std::vector<std::pair<std::string, std::string>>& environment) {
  unsetenv("NO_COLOR");
  setenv("TERM", "xterm", 1);
  setenv("TZ", "Asia/Tokyo", 1);
  for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
}

using Environment = std::vector<std::pair<std::string, std::string>>;

/// Runs something in a process whose output goes into pipes.
Seen through_pipes(const std::function<void()>& body, const Environment& environment = {}) {
  std::array<int, 2> out{}, err{};
  EXPECT_EQ(::pipe(out.data()), 0);
  EXPECT_EQ(::pipe(err.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(out[1], 1);
    ::dup2(err[1], 2);
    for (const int end : {out[0], out[1], err[0], err[1]}) ::close(end);
    set_environment(environment);
    body();
    ::_exit(0);
  }
  ::close(out[1]);
  ::close(err[1]);
  Seen seen;
  std::thread reads_errors([&] { seen.err = read_all(err[0]); });
  seen.out = read_all(out[0]);
  reads_errors.join();
  ::waitpid(child, &seen.status, 0);
  ::close(out[0]);
  ::close(err[0]);
  return seen;
}

/// Runs something in a process that a person looks at: all that the terminal got, with \n line ends.
std::string on_a_terminal(const std::function<void()>& body, const Environment& environment = {}) {
  winsize size{.ws_row = 24, .ws_col = 20, .ws_xpixel = 0, .ws_ypixel = 0};
  int terminal = -1;
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, &size);
  if (child == 0) {
    set_environment(environment);
    body();
    ::_exit(0);
  }
  std::string seen = read_all(terminal);
  ::waitpid(child, nullptr, 0);
  ::close(terminal);
  for (auto at = seen.find("\r\n"); at != std::string::npos; at = seen.find("\r\n", at)) seen.erase(at, 1);
  return seen;
}

class Directory {
 public:
  Directory() : path_((std::filesystem::temp_directory_path() / "log_test_XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("no temporary directory");
  }
  ~Directory() { std::filesystem::remove_all(path_); }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

std::string content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string unzipped(const std::string& path) {
  std::string all;
  const gzFile in = ::gzopen(path.c_str(), "rb");
  std::array<char, 65536> block{};
  int size = 0;
  while (in != nullptr && (size = ::gzread(in, block.data(), block.size())) > 0) all.append(block.data(), static_cast<std::size_t>(size));
  if (in != nullptr) ::gzclose(in);
  return all;
}

TEST(Log, ALineOfAPipeHasTimeLevelThreadComponentAndMessage) {
  const Seen seen = through_pipes([] {
    Log log({});
    log.write(LogLevel::info, "0016@[0:default:1:1]+w+two", "agent", "echo>: hello");
  });
  EXPECT_THAT(seen.out, MatchesRegex(time_form + std::string("\\[INFO\\] \\(0016@\\[0:default:1:1\\]\\+w\\+two\\) agent: echo>: hello\n")));
  EXPECT_THAT(seen.out, HasSubstr(" +0900 "));
  EXPECT_EQ(seen.err, "");
}

TEST(Log, LevelsAreNotPaddedAndLessImportantOnesAreLeftOut) {
  const Seen seen = through_pipes([] {
    Log log({.level = LogLevel::debug});
    for (const auto level : {LogLevel::error, LogLevel::warn, LogLevel::info, LogLevel::debug, LogLevel::trace}) {
      log.write(level, "main", "cli", "x");
    }
  });
  EXPECT_THAT(seen.out, HasSubstr(" [ERROR] (main) cli: x\n"));
  EXPECT_THAT(seen.out, HasSubstr(" [WARN] (main) cli: x\n"));
  EXPECT_THAT(seen.out, HasSubstr(" [INFO] (main) cli: x\n"));
  EXPECT_THAT(seen.out, HasSubstr(" [DEBUG] (main) cli: x\n"));
  EXPECT_THAT(seen.out, Not(HasSubstr("TRACE")));
}

TEST(Log, QuietShowsWarningsAndErrorsOnly) {
  const Seen seen = through_pipes([] {
    Log log({.quiet = true});
    EXPECT_FALSE(log.enabled(LogLevel::info));
    log.write(LogLevel::info, "main", "cli", "started");
    log.write(LogLevel::warn, "main", "cli", "strange");
    log.task_output("printed\n");
  });
  EXPECT_THAT(seen.out, MatchesRegex(".*strange\nprinted\n"));
}

TEST(Log, NothingOfALineIsObeyedByATerminal) {
  const Seen seen = through_pipes([] { Log({}).write(LogLevel::info, "+w+\x1b[2J", "agent", "one\n\ttwo \x1b[31m\u202e\r"); });
  EXPECT_THAT(seen.out, HasSubstr("(+w+\\u001b[2J) agent: one\n\ttwo \\u001b[31m\\u202e\\u000d\n"));
}

TEST(Log, TaskOutputIsPassedOnAsItIs) {
  const std::string bytes("no line end \xff\0 here", 20);
  EXPECT_EQ(through_pipes([&] { Log({}).task_output(bytes); }).out, bytes);
}

TEST(LogOutput, WaitsForNobodyWhereItMayDrop) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const std::string piece(64 << 10, 'x');
  constexpr std::size_t pieces = 100;
  LogOutput output(ends[1], true);
  for (std::size_t i = 0; i < pieces; ++i) output.append(piece);
  EXPECT_EQ(output.take_dropped(), 0U) << "it goes on";

  std::string read;
  std::thread reader([&] { read = read_all(ends[0]); });
  const auto all_is_written = [&] {
    output.flush();
    return !output.waiting();
  };
  EXPECT_TRUE(eventually(all_is_written));
  const std::size_t dropped = output.take_dropped();
  EXPECT_GT(dropped, 0U);
  output.append("after");
  EXPECT_TRUE(eventually(all_is_written)) << "the pipe may still be full";
  ::close(ends[1]);
  reader.join();
  EXPECT_EQ(read.size() + dropped, pieces * piece.size() + 5);
  EXPECT_TRUE(read.ends_with("after"));
  ::close(ends[0]);
}

TEST(Log, LinesForTheUserGoToStandardErrorAfterWhatWasPrinted) {
  const Seen seen = through_pipes([] {
    ::dup2(1, 2);
    Log log({});
    log.task_output("1\n2\n");
    log.user("Success.");
    log.task_output("3\n");
  });
  EXPECT_EQ(seen.out, "1\n2\nSuccess.\n3\n");
}

TEST(Log, TheLogCanGoToStandardError) {
  const Seen seen = through_pipes([] {
    Log log({.console_to_stderr = true});
    log.write(LogLevel::info, "main", "cli", "here");
    log.task_output("printed\n");
  });
  EXPECT_EQ(seen.out, "printed\n");
  EXPECT_THAT(seen.err, HasSubstr("[INFO] (main) cli: here\n"));
}

TEST(Log, OnATerminalLinesAreColouredAndImportantOnesHaveNoComponent) {
  const std::string seen = on_a_terminal([] {
    Log log({.level = LogLevel::trace});
    log.write(LogLevel::error, "main", "cli", "e");
    log.write(LogLevel::warn, "main", "cli", "w");
    log.write(LogLevel::info, "main", "cli", "i");
    log.write(LogLevel::debug, "main", "cli", "d");
    log.write(LogLevel::trace, "main", "cli", "t");
  });
  EXPECT_THAT(seen, ContainsRegex("^\x1b\\[35m[^\n]*\\[ERROR\\] \\(main\\): e\n\x1b\\[0;39m"));
  EXPECT_THAT(seen, ContainsRegex("\x1b\\[33m[^\n]*\\[WARN\\] \\(main\\): w\n\x1b\\[0;39m"));
  EXPECT_THAT(seen, ContainsRegex("\x1b\\[32m[^\n]*\\[INFO\\] \\(main\\): i\n\x1b\\[0;39m"));
  EXPECT_THAT(seen, ContainsRegex("\x1b\\[37m[^\n]*\\[DEBUG\\] \\(main\\) cli: d\n\x1b\\[0;39m"));
  EXPECT_THAT(seen, ContainsRegex("\x1b\\[34m[^\n]*\\[TRACE\\] \\(main\\) cli: t\n\x1b\\[0;39m"));
}

TEST(Log, ColoursFollowTheOptionAndTheEnvironment) {
  const auto colored = [](const std::string& text) { return text.find("\x1b[32m") != std::string::npos; };
  const auto with = [](Log::Color color) { return [color] { Log({.color = color}).write(LogLevel::info, "main", "cli", "x"); }; };
  EXPECT_TRUE(colored(on_a_terminal(with(Log::Color::when_terminal))));
  EXPECT_FALSE(colored(on_a_terminal(with(Log::Color::when_terminal), {{"NO_COLOR", "1"}})));
  EXPECT_TRUE(colored(on_a_terminal(with(Log::Color::when_terminal), {{"NO_COLOR", ""}})));
  EXPECT_FALSE(colored(on_a_terminal(with(Log::Color::when_terminal), {{"TERM", "dumb"}})));
  EXPECT_FALSE(colored(on_a_terminal(with(Log::Color::never))));
  EXPECT_TRUE(colored(on_a_terminal(with(Log::Color::always), {{"NO_COLOR", "1"}})));
  EXPECT_FALSE(colored(through_pipes(with(Log::Color::when_terminal)).out));
  EXPECT_TRUE(colored(through_pipes(with(Log::Color::always)).out));
}

TEST(LogProgress, IsErasedBeforeAnythingElseAndDrawnAgainAfterwards) {
  const std::string seen = on_a_terminal([] {
    Log log({});
    log.progress("1/3");
    log.task_output("hello\n");
    log.progress("2/3");
    log.user("note");
    log.progress("");
  });
  EXPECT_EQ(seen, "1/3\r\x1b[Khello\n1/3\r\x1b[K2/3\r\x1b[Knote\n2/3\r\x1b[K");
}

TEST(LogProgress, WaitsForTheEndOfALineThatATaskHasBegun) {
  const std::string seen = on_a_terminal([] {
    Log log({});
    log.progress("1/3");
    log.task_output("hel");
    log.progress("2/3");
    log.task_output("lo\n");
  });
  EXPECT_EQ(seen, "1/3\r\x1b[Khello\n2/3\r\x1b[K");
}

TEST(LogProgress, FitsIntoTheTerminal) {
  const std::string seen = on_a_terminal([] { Log({}).progress("ää345678901234567890123"); });
  EXPECT_EQ(seen, "ää34567890123456789\r\x1b[K");
}

TEST(LogProgress, IsShownOnlyToAPersonWhoCanSeeIt) {
  const auto shows = [] { Log({}).progress("1/3"); };
  EXPECT_EQ(through_pipes(shows).err, "");
  EXPECT_EQ(on_a_terminal(shows, {{"TERM", "dumb"}}), "");
  EXPECT_EQ(on_a_terminal([] { Log({.quiet = true}).progress("1/3"); }), "");
  EXPECT_EQ(on_a_terminal([] {
              ::dup2(::open("/dev/null", O_RDONLY), 0);
              Log({}).progress("1/3");
            }),
            "");
  EXPECT_THAT(on_a_terminal(shows), HasSubstr("1/3"));
}

TEST(Log, LinesOfManyThreadsStayWhole) {
  const Seen seen = through_pipes([] {
    Log log({});
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int n = 0; n < 500; ++n) {
          log.write(LogLevel::info, "thread", "agent", "a line");
          log.task_output("printed\n");
          if (n % 100 == 0) log.flush();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  std::istringstream lines(seen.out);
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    EXPECT_TRUE(line == "printed" || line.ends_with(" [INFO] (thread) agent: a line")) << line;
  }
  EXPECT_EQ(count, 4000U);
}

TEST(LogOutputTiming, TheFirstLineIsWrittenAtOnceAndTheLastOneSoon) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(pipe[1], 1);
    ::close(pipe[0]);
    ::close(pipe[1]);
    Log log({});
    log.task_output("first\n");
    log.task_output("second\n");
    ::pause();
  }
  ::close(pipe[1]);
  std::string seen;
  std::array<char, 100> block{};
  pollfd readable{.fd = pipe[0], .events = POLLIN, .revents = 0};
  while (seen != "first\nsecond\n" && ::poll(&readable, 1, 10'000) == 1) {
    seen.append(block.data(), static_cast<std::size_t>(::read(pipe[0], block.data(), block.size())));
  }
  EXPECT_EQ(seen, "first\nsecond\n");
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(pipe[0]);
}

/// How often this process has written so far.
long writes_so_far() {
  std::ifstream counts("/proc/self/io");
  for (std::string name; counts >> name;) {
    long count = 0;
    counts >> count;
    if (name == "syscw:") return count;
  }
  return -1;
}

TEST(LogOutputTiming, ManyLinesAreFewWrites) {
  if (writes_so_far() < 0) GTEST_SKIP() << "this system does not count writes";
  const Seen seen = through_pipes([] {
    const long before = writes_so_far();
    {
      Log log({});
      for (int i = 0; i < 100'000; ++i) log.task_output("a line of a task\n");
    }
    ::dprintf(2, "%ld", writes_so_far() - before);
  });
  EXPECT_EQ(seen.out.size(), 1'700'000U);
  EXPECT_LT(std::stol(seen.err), 10'000);
}

TEST(LogOutputTiming, NothingIsLostWhenTheProcessCrashes) {
#ifdef DIGDAG_SANITIZED
  GTEST_SKIP() << "the sanitizer handles crashes";
#endif
  Directory directory;
  for (const int signal : {SIGSEGV, SIGABRT}) {
    const std::string file = directory.file(std::to_string(signal));
    const Seen seen = through_pipes([&] {
      const rlimit no_core{};
      ::setrlimit(RLIMIT_CORE, &no_core);
      Log log({.file = file});
      for (int i = 0; i < 100; ++i) log.task_output("x\n");
      for (int i = 0; i < 100; ++i) log.write(LogLevel::info, "main", "cli", "x");
      ::raise(signal);
    });
    EXPECT_EQ(seen.out.size(), 200U);
    EXPECT_EQ(std::ranges::count(content(file), '\n'), 100);
    EXPECT_TRUE(WIFSIGNALED(seen.status));
    EXPECT_EQ(WTERMSIG(seen.status), signal);
  }
}

TEST(LogTrouble, AReaderThatWentAwayEndsNothing) {
  std::array<int, 2> out{};
  const Seen seen = through_pipes([&] {
    EXPECT_EQ(::pipe(out.data()), 0);
    ::dup2(out[1], 1);
    ::close(out[0]);
    ::close(out[1]);
    Log log({});
    for (int i = 0; i < 10; ++i) {
      log.task_output("x\n");
      log.flush();
    }
    struct sigaction pipe_action {};
    ::sigaction(SIGPIPE, nullptr, &pipe_action);
    sigset_t pending{};
    ::sigpending(&pending);
    log.user(pipe_action.sa_handler == SIG_DFL && sigismember(&pending, SIGPIPE) == 0 ? "still here" : "SIGPIPE was left changed");
  });
  EXPECT_EQ(seen.err, "still here\n");
  EXPECT_EQ(seen.status, 0);
}

TEST(LogTrouble, AFullDiskIsSaidOnceAndEndsNothing) {
  const Seen seen = through_pipes([] {
    ::dup2(::open("/dev/full", O_WRONLY), 1);
    Log log({});
    for (int i = 0; i < 10; ++i) {
      log.task_output("x\n");
      log.flush();
    }
    log.user("still here");
  });
  EXPECT_EQ(seen.err, "error: cannot write to standard output: No space left on device\nstill here\n");
}

TEST(LogTrouble, ANonBlockingOutputLosesNothing) {
  const Seen seen = through_pipes([] {
    ::fcntl(1, F_SETFL, ::fcntl(1, F_GETFL) | O_NONBLOCK);
    Log log({});
    log.task_output(std::string(1'000'000, 'x'));
  });
  EXPECT_EQ(seen.out.size(), 1'000'000U);
}

TEST(LogFile, HasMillisecondsAndNoComponentAndTakesTheLogFromTheConsole) {
  Directory directory;
  const std::string file = directory.file("new/directory/out.log");
  const Seen seen = through_pipes([&] {
    Log log({.file = file, .color = Log::Color::always, .quiet = true});
    log.write(LogLevel::info, "main", "cli", "one");
    log.task_output("printed\n");
  });
  EXPECT_EQ(seen.out, "printed\n");
  EXPECT_THAT(content(file),
              MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3} \\+0900 \\[INFO\\] \\(main\\): one\n"));
}

TEST(LogFile, IsAppendedTo) {
  Directory directory;
  const std::string file = directory.file("out.log");
  for (int run = 0; run < 2; ++run) {
    through_pipes([&] { Log({.file = file}).write(LogLevel::info, "main", "cli", "run"); });
  }
  EXPECT_THAT(content(file), ContainsRegex("run\n.*run\n"));
}

TEST(LogFile, ThatCannotBeOpenedIsAnError) {
  try {
    Log log({.file = "/proc/no/such/out.log"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), HasSubstr("cannot open log file '/proc/no/such/out.log'"));
  }
}

TEST(LogFile, IsRolledAtTenMegabytesIntoFiveOldOnes) {
  Directory directory;
  const std::string file = directory.file("out.log");
  const std::string megabyte(1 << 20, 'x');
  {
    LogOutput output(file);
    for (int i = 0; i < 75; ++i) {
      output.append(std::to_string(i) + " " + megabyte);
      output.flush();
    }
  }
  EXPECT_THAT(content(file), testing::StartsWith("70 x"));
  EXPECT_THAT(unzipped(file + ".1.gz"), testing::StartsWith("60 x"));
  EXPECT_EQ(unzipped(file + ".1.gz").size(), 10 * (megabyte.size() + 3));
  EXPECT_THAT(unzipped(file + ".5.gz"), testing::StartsWith("20 x"));
  EXPECT_FALSE(std::filesystem::exists(file + ".6.gz"));
  EXPECT_FALSE(std::filesystem::exists(file + ".1"));
}

TEST(LogFile, RolledByAnotherProcessIsFollowed) {
  Directory directory;
  const std::string file = directory.file("out.log");
  LogOutput ours(file), other(file);
  other.append(std::string(11 << 20, 'x'));
  other.flush();
  ours.append("after\n");
  ours.flush();
  EXPECT_EQ(content(file), "after\n");
}

class Masked {
 public:
  Masked(std::initializer_list<std::pair<std::string, std::string>> secrets) {
    for (const auto& [key, value] : secrets) mask_.add(key, value);
  }
  std::string operator()(const std::string& text) const { return mask_.mask_all(text); }
  /// The same, given in pieces of `size`.
  std::string in_pieces(const std::string& text, std::size_t size) {
    std::string out;
    for (std::size_t at = 0; at < text.size(); at += size) out += mask_.mask(text.substr(at, size));
    return out + mask_.finish();
  }

 private:
  SecretMask mask_;
};

TEST(SecretMask, HidesASecretWhereverItStands) {
  const Masked masked{{"db.user", "hunter2000"}};
  EXPECT_EQ(masked("user=hunter2000, again hunter2000hunter2000."), "user=***, again ******.");
  EXPECT_EQ(masked("hunter200"), "hunter200");
  EXPECT_EQ(masked(""), "");
}

TEST(SecretMask, HidesSingleLinesOfASecret) {
  SecretMask mask;
  mask.add("pem.key", "-----BEGIN KEY-----\r\nMIIEowIBAAKCAQEA\r\nqK8=\r\n        \r\n-----END KEY-----\r\n");
  EXPECT_EQ(mask.mask_all("one MIIEowIBAAKCAQEA line, a short one qK8=, and         blanks"),
            "one *** line, a short one qK8=, and         blanks");
  EXPECT_EQ(mask.mask_all("-----BEGIN KEY-----\r\nMIIEowIBAAKCAQEA\r\nqK8=\r\n        \r\n-----END KEY-----."), "***.");
}

TEST(SecretMask, HidesASecretWithoutItsLastLineEnd) {
  SecretMask mask;
  mask.add("k", "a long secret\n");
  EXPECT_EQ(mask.mask_all("only-a long secret-x a long secret\n"), "only-***-x ***");
}

TEST(SecretMask, HidesEncodedForms) {
  const Masked masked{{"db.password", "p\"ss w/rd\n+1"}};
  EXPECT_EQ(masked("p\"ss w/rd\n+1"), "***");
  EXPECT_EQ(masked(R"({"password":"p\"ss w/rd\n+1"})"), R"({"password":"***"})");
  EXPECT_EQ(masked("x?p=p%22ss+w%2Frd%0A%2B1&y"), "x?p=***&y");
  EXPECT_EQ(masked("x?p=p%22ss%20w%2Frd%0A%2B1&y"), "x?p=***&y");
  EXPECT_EQ(masked("Basic cCJzcyB3L3JkCisx"), "Basic ***");
  const Masked padded{{"token", "abcdefg"}};
  EXPECT_EQ(padded("YWJjZGVmZw== YWJjZGVmZw"), "***== ***");
}

TEST(SecretMask, ShortValuesAreMaskedOnlyUnderATellingKey) {
  EXPECT_EQ(Masked({{"db.user", "short"}})("short"), "short");
  EXPECT_EQ(Masked({{"db.password", "short"}})("short"), "***");
  EXPECT_EQ(Masked({{"DB_TOKEN", "abcd"}})("abcd"), "***");
  EXPECT_EQ(Masked({{"aws.secret-access-key", "abcd"}})("abcd"), "***");
  EXPECT_EQ(Masked({{"password", "abc"}})("abc"), "abc");
  EXPECT_EQ(Masked({{"password.hint", "abcd"}})("abcd"), "abcd");
}

TEST(SecretMask, FindsASecretOverTheBordersOfPieces) {
  const std::string text = "a hunter2000 and hunter20 and topsecret-topsecret-2";
  Masked masked{{"a", "hunter2000"}, {"b", "topsecret"}, {"c", "topsecret-2"}};
  for (std::size_t size = 1; size <= text.size(); ++size) EXPECT_EQ(masked.in_pieces(text, size), "a *** and hunter20 and ***-***");
}

TEST(SecretMask, OverlappingSecretsLeaveNothingBetween) {
  Masked masked{{"a", "abcdefghij"}, {"b", "ghijklmnop"}};
  for (const std::size_t size : {1U, 3U, 7U, 100U}) EXPECT_EQ(masked.in_pieces("<abcdefghijklmnop>", size), "<***>");
}

TEST(SecretMask, KeepsBackNoMoreThanItMust) {
  SecretMask mask;
  EXPECT_EQ(mask.mask("nothing to hide"), "nothing to hide");
  mask.add("a", "hunter2000");
  EXPECT_EQ(mask.mask("plain\n"), "plain\n");
  EXPECT_EQ(mask.mask("a hunt"), "a ");
  EXPECT_EQ(mask.mask("ing\n"), "hunting\n");
  EXPECT_EQ(mask.mask("hunter"), "");
  EXPECT_EQ(mask.finish(), "hunter");
}

TEST(SecretMask, AnEndlessRepetitionIsHeldInLittleMemory) {
  Masked masked{{"password", "aaaa"}};
  EXPECT_EQ(masked.in_pieces(std::string(1'000'000, 'a') + "b", 1000), "***b");
}

}  // namespace
}  // namespace digdag
