#include "command/command.h"

#include <dirent.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <fstream>
#include <future>
#include <mutex>
#include <sstream>
#include <thread>

#include "base/eventually_for_test.h"
#include "base/file.h"
#include "base/gate_for_test.h"
#include "base/temporary_directory_for_test.h"

namespace digdag::command {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

bool lives(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  return !text.empty() && text.find(") Z ") == std::string::npos;
}

pid_t pid_in(const fs::path& file) {
  EXPECT_TRUE(eventually([&] { return fs::exists(file) && fs::file_size(file) > 0; })) << file;
  std::ifstream in(file);
  pid_t pid = 0;
  in >> pid;
  return pid;
}

/// The guards that this process has started.
std::vector<pid_t> guards() {
  std::vector<pid_t> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const auto name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream stat(entry.path() / "stat"), arguments(entry.path() / "cmdline");
    std::stringstream stat_text, arguments_text;
    stat_text << stat.rdbuf();
    arguments_text << arguments.rdbuf();
    const auto fields = stat_text.str().substr(std::min(stat_text.str().rfind(')'), stat_text.str().size()));
    char state = 0;
    pid_t parent = 0;
    if (std::sscanf(fields.c_str(), ") %c %d", &state, &parent) == 2 && parent == getpid() && state != 'Z' &&
        arguments_text.str().find("--guard") != std::string::npos) {
      found.push_back(static_cast<pid_t>(std::stol(name)));
    }
  }
  return found;
}

CommandRequest shell(std::string script) { return {{"/bin/sh", "-c", std::move(script)}, fs::current_path(), {{"PATH", "/usr/bin:/bin"}}}; }

/// What a command has printed so far.
class Output {
 public:
  void add(std::string_view bytes) {
    const std::lock_guard guard(lock_);
    text_ += bytes;
  }
  std::string text() const {
    const std::lock_guard guard(lock_);
    return text_;
  }

 private:
  mutable std::mutex lock_;
  std::string text_;
};

/// One command and what came of it.
struct Watched {
  CommandRunner::Id id = 0;
  std::shared_ptr<Output> output = std::make_shared<Output>();  ///< complete once it has ended
  std::future<CommandEnd> ended;

  CommandEnd end() {
    if (ended.wait_for(seconds(60)) != std::future_status::ready) throw std::runtime_error("the command did not end");
    return ended.get();
  }
  /// The first line that it prints.
  std::string first_line() const {
    EXPECT_TRUE(eventually([this] { return output->text().find('\n') != std::string::npos; })) << "it prints no line";
    return output->text().substr(0, output->text().find('\n'));
  }
  /// The same of one that prints a process id.
  pid_t printed_pid() const { return std::stoi(first_line()); }
};

class Commands : public testing::Test {
 protected:
  Watched start(CommandRequest request) { return start(std::move(request), runner); }
  static Watched start(CommandRequest request, CommandRunner& by) {
    Watched watched;
    auto promise = std::make_shared<std::promise<CommandEnd>>();
    watched.ended = promise->get_future();
    watched.id = by.start(
        std::move(request), [output = watched.output](std::string_view bytes) { output->add(bytes); },
        [promise](CommandEnd end) { promise->set_value(std::move(end)); });
    return watched;
  }
  /// Runs it to its end.
  CommandEnd run(CommandRequest request) { return run(std::move(request), runner); }
  CommandEnd run(CommandRequest request, CommandRunner& by) {
    auto watched = start(std::move(request), by);
    auto end = watched.end();
    output = watched.output->text();
    return end;
  }

  TemporaryDirectory directory;
  CommandRunner runner;
  std::string output;
};

TEST_F(Commands, EndWithTheirExitCode) {
  const auto end = run(shell("exit 3"));
  EXPECT_EQ(end.exit_code, 3);
  EXPECT_EQ(end.signal, std::nullopt);
  EXPECT_EQ(end.failure, "");
  EXPECT_FALSE(end.stopped);
}

TEST_F(Commands, EndWithTheSignalThatEndedThem) {
  const auto end = run(shell("kill -9 $$"));
  EXPECT_EQ(end.signal, SIGKILL);
  EXPECT_EQ(end.exit_code, std::nullopt);
  EXPECT_FALSE(end.stopped);
}

TEST_F(Commands, PrintBothStreamsInTheOrderOfWriting) {
  run(shell("echo one; echo two >&2; echo three; echo four >&2"));
  EXPECT_EQ(output, "one\ntwo\nthree\nfour\n");
}

TEST_F(Commands, MayLeaveTheLastLineOpen) {
  const auto end = run(shell("printf 'no newline'"));
  EXPECT_EQ(output, "no newline");
  EXPECT_EQ(end.last_output, "no newline");
}

TEST_F(Commands, ReadNothing) {
  EXPECT_EQ(run(shell("cat; echo end; readlink /proc/self/fd/0")).exit_code, 0);
  EXPECT_EQ(output, "end\n/dev/null\n");
}

TEST_F(Commands, ReadTheInputThatTheyAreGiven) {
  auto request = shell("cat; cat");
  request.input = std::string(3'000'000, 'x') + '\0' + "end";
  EXPECT_EQ(run(request).exit_code, 0);
  EXPECT_EQ(output, request.input);

  request.input = std::string(40'000'000, 'x');
  EXPECT_THAT(run(request).failure, EndsWith("standard input of 40000000 bytes is too large; at most 33554432 can be given"));
}

TEST_F(Commands, EndWithAllThatTheyStartedWhenTheirTimeLimitHasPassed) {
  auto request = shell("(trap '' TERM; sleep 300; sleep 300) & timeout 300 sleep 300 & sleep 300");
  request.working_directory = directory.path();
  request.timeout_millis = 100;
  const auto end = run(request);
  EXPECT_TRUE(end.timed_out);
  EXPECT_FALSE(end.stopped);
  for (const auto& entry : fs::directory_iterator("/proc")) {
    std::error_code gone;
    EXPECT_NE(fs::read_symlink(entry.path() / "cwd", gone), directory.path()) << entry.path();
  }
}

TEST_F(Commands, MayEndWithinTheirTimeLimit) {
  auto request = shell("exit 124");
  request.timeout_millis = 60'000;
  const auto end = run(request);
  EXPECT_EQ(end.exit_code, 124);
  EXPECT_FALSE(end.timed_out);
}

TEST_F(Commands, GetExactlyTheGivenEnvironmentAndArguments) {
  auto request = shell(R"(env | sort; printf '<%s>' "$@")");
  request.arguments.insert(request.arguments.end(), {"name", "", "a b", "'\"\n", "日本語"});
  request.environment = {{"PATH", "/usr/bin:/bin"}, {"X", "a=b\nc"}, {"EMPTY", ""}, {"PWD", "/"}};
  run(request);
  EXPECT_THAT(output,
              AllOf(HasSubstr("EMPTY=\n"), HasSubstr("PATH=/usr/bin:/bin\n"), HasSubstr("X=a=b\nc"), EndsWith("<><a b><'\"\n><日本語>")));
  EXPECT_THAT(output, testing::Not(HasSubstr("HOME=")));
}

TEST_F(Commands, RunInTheirWorkingDirectory) {
  auto request = shell("pwd -P");
  request.working_directory = directory.path();
  run(request);
  EXPECT_EQ(output, directory.path().string() + "\n");
}

TEST_F(Commands, InheritNoOpenFilesNoBlockedSignalsAndTheOriginalLimitOfOpenFiles) {
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  run(shell("ls /proc/self/fd | wc -l; grep -E 'SigBlk|SigIgn' /proc/self/status"));
  // 0, 1, 2 and the directory that `ls` reads. The two ignored signals are those that the C library keeps for itself.
  EXPECT_EQ(output, "4\nSigBlk:\t0000000000000000\nSigIgn:\t0000000180000000\n");
  rlimit raised{};
  getrlimit(RLIMIT_NOFILE, &raised);
  EXPECT_EQ(raised.rlim_cur, raised.rlim_max);
  run(shell("ulimit -Sn"));
  // Whichever test was the first has raised ours; the commands' limit is that of the test program's start.
  EXPECT_LE(std::stoull(output), before.rlim_cur);
}

TEST_F(Commands, AreLookedUpInThePathOfTheirOwnEnvironment) {
  write_file_atomically(directory / "tool", "#!/bin/sh\necho from the tool\n", 0755);
  CommandRequest request{{"tool"}, "/", {{"PATH", "/nowhere:" + directory.path().string()}}};
  EXPECT_EQ(run(request).exit_code, 0);
  EXPECT_EQ(output, "from the tool\n");

  request.environment = {{"PATH", "/nowhere"}};
  EXPECT_EQ(run(request).failure, R"(Cannot run program "tool" (in directory "/"): No such program in PATH (/nowhere))");
}

TEST_F(Commands, WithASlashAreRelativeToTheWorkingDirectory) {
  write_file_atomically(directory / "tool", "#!/bin/sh\necho \"$0\"\n", 0755);
  EXPECT_EQ(run({{"./tool"}, directory.path(), {}}).exit_code, 0);
  EXPECT_THAT(output, EndsWith("/tool\n"));
}

TEST_F(Commands, ThatAreScriptsWithoutAFirstLineAreReadByTheShell) {
  write_file_atomically(directory / "tool", "echo \"shell $1\"\n", 0755);
  EXPECT_EQ(run({{"./tool", "x"}, directory.path(), {}}).exit_code, 0);
  EXPECT_EQ(output, "shell x\n");
}

TEST_F(Commands, ThatCannotBeRunSayWhy) {
  EXPECT_THAT(run({{"./nothing"}, directory.path(), {}}).failure, EndsWith("): No such file"));

  write_file_atomically(directory / "plain", "text");
  EXPECT_THAT(run({{"./plain"}, directory.path(), {}}).failure, EndsWith("/plain is not an executable file"));

  write_file_atomically(directory / "odd", "#!/no/such/interpreter -x\n", 0755);
  EXPECT_THAT(run({{"./odd"}, directory.path(), {}}).failure,
              EndsWith("the interpreter that its first line names does not exist: /no/such/interpreter"));

  auto request = shell("true");
  request.working_directory = directory / "gone";
  EXPECT_EQ(run(request).failure, "Cannot run program \"/bin/sh\" (in directory \"" + (directory / "gone").string() +
                                      "\"): its working directory does not exist");
}

TEST_F(Commands, WithATooLargeEnvironmentSayWhatIsTooLarge) {
  auto request = shell("true");
  request.environment.emplace_back("BIG", std::string(200'000, 'x'));
  EXPECT_THAT(run(request).failure, HasSubstr("environment variable 'BIG' of 200005 bytes is too large for the system"));

  request.environment.clear();
  for (int i = 0; i < 100; ++i) request.environment.emplace_back("V" + std::to_string(i), std::string(100'000, 'x'));
  EXPECT_THAT(run(request).failure, HasSubstr("environment of 10000490 bytes is too large for the system"));

  request.environment.resize(10);
  EXPECT_EQ(run(request).exit_code, 0);
}

TEST_F(Commands, WithTheLargestInputAndTooLargeAnEnvironmentHarmNoOther) {
  auto other = start(shell("exec sleep 100"));
  auto request = shell("true");
  request.input = std::string(std::size_t{32} << 20, 'x');
  request.environment.assign(255, {"V", std::string(131'069, 'x')});
  request.environment.emplace_back("W", std::string(130'900, 'x'));
  EXPECT_THAT(run(request).failure, HasSubstr("): environment of 33554263 bytes is too large for the system"));
  runner.stop(other.id, 0);
  EXPECT_EQ(other.end().failure, "");
}

TEST_F(Commands, KeepTheEndOfTheirOutputInWholeLines) {
  const auto end = run(shell("seq 1 100000"));
  EXPECT_EQ(output.size(), 588895U);
  EXPECT_LE(end.last_output.size(), 8192U);
  EXPECT_GT(end.last_output.size(), 8000U);
  EXPECT_THAT(end.last_output, EndsWith("\n99999\n100000\n"));
  EXPECT_EQ(output[output.size() - end.last_output.size() - 1], '\n');
}

TEST_F(Commands, KeepTheEndOfALineThatIsTooLong) {
  const auto end = run(shell("head -c 100000 /dev/zero | tr '\\0' x"));
  EXPECT_EQ(end.last_output, std::string(8192, 'x'));
}

TEST_F(Commands, MayPrintAHundredMegabytesInFlatMemory) {
  std::size_t bytes = 0;
  std::promise<CommandEnd> ended;
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  runner.start(
      shell("head -c 104857600 /dev/zero"), [&](std::string_view piece) { bytes += piece.size(); },
      [&](CommandEnd end) { ended.set_value(std::move(end)); });
  EXPECT_EQ(ended.get_future().get().exit_code, 0);
  getrusage(RUSAGE_SELF, &after);
  EXPECT_EQ(bytes, 104857600U);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 8 * 1024);  // KiB
}

TEST_F(Commands, WaitForAReaderThatIsSlow) {
  // The pipe holds 64 KiB; what is printed must not be kept by us instead.
  std::promise<void> reads, go_on;
  auto may_go_on = go_on.get_future().share();
  const auto progress = directory / "progress";
  std::size_t bytes = 0;
  std::promise<CommandEnd> ended;
  runner.start(
      shell("for i in 1 2 3 4 5 6 7 8; do head -c 65536 /dev/zero; echo $i >> " + progress.string() + "; done"),
      [&](std::string_view piece) {
        if (bytes == 0) reads.set_value();
        may_go_on.wait();
        bytes += piece.size();
      },
      [&](CommandEnd end) { ended.set_value(std::move(end)); });
  reads.get_future().wait();
  CommandRunner other;
  EXPECT_EQ(run(shell("head -c 67108864 /dev/zero"), other).exit_code, 0) << "time enough for the first one to print all";
  EXPECT_TRUE(!fs::exists(progress) || fs::file_size(progress) <= 2 * 3);
  go_on.set_value();
  EXPECT_EQ(ended.get_future().get().exit_code, 0);
  EXPECT_EQ(bytes, 8U * 65536);
}

TEST_F(Commands, MayLeaveADaemonBehindThatGoesOnAfterTheyEnded) {
  // The daemon holds the pipe and still writes into it when nobody listens any more.
  const auto file = directory / "pid";
  Gate go_on(directory / "go_on");
  const auto end = run(shell("sh -c '" + go_on.pass() + "; echo late; echo $$ > " + file.string() + "; exec sleep 100' & echo started"));
  EXPECT_EQ(end.exit_code, 0);
  EXPECT_EQ(output, "started\n");
  go_on.let_through();
  EXPECT_TRUE(lives(pid_in(file)));
  runner.stop_all(0);
}

TEST_F(Commands, GetWhatIsPrintedSoonAfterTheirEnd) {
  const auto end = run(shell("(while kill -0 $$ 2> /dev/null; do sleep 0.01; done; echo late) & echo started"));
  EXPECT_EQ(end.exit_code, 0);
  EXPECT_EQ(output, "started\nlate\n");
}

TEST_F(Commands, AreStoppedBySigterm) {
  auto watched = start(shell("trap 'echo terminated; exit 7' TERM; echo ready; while :; do sleep 0.05; done"));
  EXPECT_EQ(watched.first_line(), "ready");
  runner.stop(watched.id, 10);
  const auto end = watched.end();
  EXPECT_TRUE(end.stopped);
  EXPECT_EQ(end.exit_code, 7);
  EXPECT_THAT(watched.output->text(), EndsWith("terminated\n"));
}

TEST_F(Commands, AreStoppedBySigkillWhereTheyIgnoreSigterm) {
  auto watched = start(shell("trap '' TERM; echo ready; while :; do sleep 0.05; done"));
  EXPECT_EQ(watched.first_line(), "ready");
  runner.stop(watched.id, 1);
  const auto end = watched.end();
  EXPECT_TRUE(end.stopped);
  EXPECT_EQ(end.signal, SIGKILL);
}

TEST_F(Commands, AreKilledAtOnceWithoutGrace) {
  auto watched = start(shell("trap '' TERM; sleep 100"));
  runner.stop(watched.id, 0);
  EXPECT_EQ(watched.end().signal, SIGKILL);
}

TEST_F(Commands, AreStoppedWithTheirWholeProcessGroup) {
  // A grandchild whose parent has ended, and that ignores SIGTERM, is part of the group too.
  const auto file = directory / "pid";
  auto watched = start(shell("(trap '' TERM; sh -c 'echo $$ > " + file.string() + "; exec sleep 100' & ) ; sleep 100"));
  const auto grandchild = pid_in(file);
  runner.stop(watched.id, 1);
  const auto end = watched.end();
  EXPECT_TRUE(end.stopped);
  EXPECT_EQ(end.signal, SIGTERM);
  EXPECT_FALSE(lives(grandchild));
}

TEST_F(Commands, ThatAreSuspendedAreStoppedToo) {
  auto watched = start(shell("echo ready; kill -STOP $$"));
  EXPECT_EQ(watched.first_line(), "ready");
  runner.stop(watched.id, 10);
  EXPECT_EQ(watched.end().signal, SIGTERM);
}

TEST_F(Commands, MayBeStoppedAfterTheirEnd) {
  auto watched = start(shell("true"));
  watched.end();
  runner.stop(watched.id, 10);
  runner.stop(12345, 10);
  EXPECT_EQ(run(shell("echo next")).exit_code, 0);
}

TEST_F(Commands, AllStopAtOnceAndAreGoneThen) {
  std::vector<Watched> all;
  for (int i = 0; i < 20; ++i) all.push_back(start(shell("echo $$; exec sleep 100")));
  for (const auto& one : all) EXPECT_TRUE(lives(one.printed_pid()));
  runner.stop_all(10);
  for (auto& one : all) {
    EXPECT_EQ(one.ended.wait_for(seconds(0)), std::future_status::ready);
    EXPECT_EQ(one.end().signal, SIGTERM);
    EXPECT_FALSE(lives(one.printed_pid()));
  }
}

TEST_F(Commands, StopAllEndsWhatEarlierOnesLeftBehind) {
  const auto file = directory / "pid";
  run(shell("sh -c 'echo $$ > " + file.string() + "; exec sleep 100' > /dev/null 2>&1 &"));
  const auto daemon = pid_in(file);
  EXPECT_TRUE(lives(daemon));
  runner.stop_all(10);
  EXPECT_TRUE(eventually([&] { return !lives(daemon); }));
}

TEST_F(Commands, WithoutAnyThereIsNothingToStop) {
  runner.stop_all(10);
  EXPECT_TRUE(guards().empty());
}

TEST_F(Commands, LeaveTheirDaemonsToTheSystemAtAnOrderlyEnd) {
  Gate go_on(directory / "go_on"), goes_on(directory / "goes_on");
  {
    CommandRunner other;
    EXPECT_EQ(run(shell("sh -c '" + go_on.pass() + "; " + goes_on.arrive() + "' > /dev/null 2>&1 &"), other).exit_code, 0);
  }
  EXPECT_TRUE(guards().empty());
  go_on.let_through();
  goes_on.await();
}

TEST_F(Commands, LeaveNoZombies) {
  run(shell("for i in 1 2 3 4 5; do (sleep 0.1 &) ; done > /dev/null 2>&1"));
  const auto guard = guards().at(0);
  const auto children = fs::path("/proc") / std::to_string(guard) / "task" / std::to_string(guard) / "children";
  EXPECT_TRUE(eventually([&] {
    std::ifstream in(children);
    std::string first;
    in >> first;
    return first.empty();
  }));
}

TEST_F(Commands, FailWhenTheGuardIsKilledAndTheirProcessesAreKilled) {
  auto one = start(shell("echo $$; exec sleep 100")), two = start(shell("echo $$; sleep 100"));
  EXPECT_TRUE(lives(one.printed_pid()) && lives(two.printed_pid()));
  kill(guards().at(0), SIGKILL);
  for (auto* command : {&one, &two}) {
    const auto end = command->end();
    EXPECT_EQ(end.failure, "guard process ended (signal 9)");
    EXPECT_EQ(end.exit_code, std::nullopt);
    EXPECT_TRUE(eventually([&] { return !lives(command->printed_pid()); }));
  }
  EXPECT_EQ(run(shell("echo again")).exit_code, 0);
  EXPECT_EQ(output, "again\n");
}

// clarifications 1.9
TEST_F(Commands, AreStoppedThoughTheGuardHangs) {
  auto command = start(shell("(setsid sh -c 'echo $$; exec sleep 100') & exec sleep 100"));
  const pid_t pid = command.printed_pid();
  kill(guards().at(0), SIGSTOP);
  runner.stop_all(0);
  const auto end = command.end();
  EXPECT_EQ(end.failure, "guard process ended (signal 9)");
  EXPECT_TRUE(end.stopped);
  EXPECT_TRUE(eventually([&] { return !lives(pid); }));
}

TEST_F(Commands, AreStoppedThoughTheGuardIsSuspended) {
  auto command = start(shell("echo $$; exec sleep 100"));
  EXPECT_TRUE(lives(command.printed_pid()));
  kill(guards().at(0), SIGSTOP);
  runner.stop(command.id, 10);
  EXPECT_EQ(command.end().signal, SIGTERM);
}

TEST_F(Commands, AGuardThatHangsDoesNotHoldUpAnOrderlyEnd) {
  {
    CommandRunner other;
    run(shell("true"), other);
    kill(guards().at(0), SIGSTOP);
  }
  EXPECT_TRUE(guards().empty());
}

TEST_F(Commands, OfAProcessThatIsKilledEndWithIt) {
  // Another process of this kind, killed in the middle of a command that does not listen to SIGHUP.
  const auto file = directory / "pid", daemon_file = directory / "daemon";
  const pid_t owner = fork();
  if (owner == 0) {
    CommandRunner own;
    own.start(
        shell("sh -c 'echo $$ > " + daemon_file.string() + "; exec sleep 100' > /dev/null 2>&1 &"), [](std::string_view) {},
        [](CommandEnd) {});
    own.start(
        shell("trap '' HUP; (sh -c 'echo $$ > " + file.string() + "; exec sleep 100') & sleep 100"), [](std::string_view) {},
        [](CommandEnd) {});
    pause();
    _exit(0);
  }
  const auto grandchild = pid_in(file), daemon = pid_in(daemon_file);
  EXPECT_TRUE(lives(grandchild));
  EXPECT_TRUE(lives(daemon));
  kill(owner, SIGKILL);
  waitpid(owner, nullptr, 0);
  EXPECT_TRUE(eventually([&] { return !lives(grandchild) && !lives(daemon); }));
}

TEST_F(Commands, RunAThousandAtATime) {
  Gate started(directory / "started"), go_on(directory / "go_on");
  std::vector<Watched> all;
  for (int i = 0; i < 1000; ++i) all.push_back(start(shell(started.arrive() + "; " + go_on.pass())));
  started.await(1000);
  go_on.let_through(1000);
  for (auto& one : all) EXPECT_EQ(one.end().exit_code, 0);
}

TEST_F(Commands, MayBeStartedFromManyThreads) {
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 25; ++i) {
        auto watched = start(shell("echo " + std::to_string(t * 100 + i)));
        if (watched.end().exit_code == 0 && watched.output->text() == std::to_string(t * 100 + i) + "\n") ++right;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(right, 200);
}

TEST_F(Commands, MayStartTheNextOneWhenOneHasEnded) {
  std::promise<int> done;
  int count = 0;
  std::function<void(CommandEnd)> next = [&](CommandEnd) {
    if (++count == 5) {
      done.set_value(count);
    } else {
      runner.start(
          shell("true"), [](std::string_view) {}, next);
    }
  };
  runner.start(
      shell("true"), [](std::string_view) {}, next);
  EXPECT_EQ(done.get_future().get(), 5);
}

}  // namespace
}  // namespace digdag::command
