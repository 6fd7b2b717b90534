#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <set>

#include "agent/agent.h"
#include "agent/task_log.h"
#include "agent/workspaces.h"
#include "base/config.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "base/thread.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/interrupts.h"
#include "cli/local_attempts.h"
#include "cli/local_run.h"
#include "cli/messages.h"
#include "cli/session_time.h"
#include "cli/settings.h"
#include "cli/state_files.h"
#include "cli/summary.h"
#include "cli/task_selection.h"
#include "dig/compiler.h"
#include "dig/declared_params.h"
#include "dig/loader.h"
#include "dig/script_worker.h"
#include "dig/source_lines.h"
#include "dig/template_options.h"
#include "executor/attempt_options.h"
#include "executor/executor.h"
#include "schedule/scheduler.h"
#include "store/attempt_store.h"

namespace digdag::cli {
namespace {

namespace fs = std::filesystem;

const std::vector<Option>& run_options() {
  using Kind = Option::Kind;
  static const std::vector<Option> options = with_common_options({
      {{"--project"}, Kind::text, "DIR", "use this directory as the project directory (default: current directory)"},
      {{"-a", "--rerun", "--all"}, Kind::flag, "", "ignores status files saved at .digdag/status and re-runs all tasks"},
      {{"-s", "--start"}, Kind::text, "+NAME", "runs this task and its following tasks even if their status files are stored"},
      {{"-g", "--goal"}, Kind::text, "+NAME", "runs this task and its children tasks even if their status files are stored"},
      {{"-e", "--end"}, Kind::text, "+NAME", "skips this task and its following tasks"},
      {{"-o", "--save"}, Kind::text, "DIR", "uses this directory to read and write status files (default: .digdag/status)"},
      {{"--no-save"}, Kind::flag, "", "doesn't save status files at .digdag/status"},
      {{"-t", "--session", "--session-time"},
       Kind::text,
       "EXPR",
       "session time: daily, hourly, schedule, last, \"yyyy-MM-dd[ HH:mm:ss]\" (default: last)"},
      {{"-p", "--param"}, Kind::list, "KEY=VALUE", "adds a session parameter (use multiple times to set many parameters)"},
      {{"-P", "--params-file"}, Kind::text, "PATH.yml", "reads session parameters from a YAML file"},
      {{"-d", "--dry-run"}, Kind::flag, "", "dry-run mode doesn't execute tasks"},
      {{"-E", "--show-params"}, Kind::flag, "", "show task parameters before running a task"},
      {{"-dE"}, Kind::flag, "", "dry-run and show-params"},
      {{"--max-task-threads"}, Kind::integer, "N", "limit of tasks that run at the same time (default: none)"},
      {{"-O", "--task-log"}, Kind::text, "DIR", "store task logs to this path"},
      {{"--timezone"}, Kind::text, "NAME", "time zone of workflows that do not set one (default: UTC)"},
  });
  return options;
}

void refuse_conflicts(const Arguments& arguments, const std::string& usage) {
  const auto both = [&](const char* a, const char* b, const char* text) {
    if (!arguments.has(a) || !arguments.has(b)) return;
    print_usage(usage);
    throw UsageError{text};
  };
  both("-s", "-g", "-s, --start and -g, --goal don't work together");
  both("-g", "-e", "-g, --goal and -e, --end don't work together");
  both("-a", "-s", "-a, --rerun and -s, --start don't work together");
  both("-a", "-g", "-a, --rerun and -g, --goal don't work together");
}

/// The workflow of a local run and what belongs to it.
struct Target {
  dig::Project project;
  const dig::Workflow* workflow = nullptr;
  dig::TaskTree tree;
};

/// `sub/../w.dig` → `w`; a path outside of the project is refused.
std::string workflow_name_of(const std::string& argument, const fs::path& project) {
  if (!argument.ends_with(".dig")) return argument;
  const fs::path path = (project / argument).lexically_normal();
  const fs::path relative = path.lexically_relative(project);
  if (relative.empty() || *relative.begin() == "..") {
    throw Error("illegal argument", "Given path '" + path.string() + "' is outside of project directory '" + project.string() + "'");
  }
  const std::string name = relative.generic_string();
  return name.substr(0, name.size() - 4);
}

Error workflow_missing(const std::string& name, const std::optional<std::string>& project, const dig::Project& loaded) {
  std::string text;
  if (project) {
    text = "Workflow '" + name + "' does not exist in project directory '" + *project + "'.";
  } else if (const std::size_t slash = name.rfind('/'); slash != std::string::npos) {
    const std::string directory = name.substr(0, slash);
    text = "Workflow '" + name + "' does not exist in current directory. You may need to type \"cd " + directory +
           "\" first, or set \"--project " + directory + "\" option.";
  } else {
    text = "Workflow '" + name + "' does not exist in current directory. You may need to change directory first, or set --project option.";
  }
  const fs::path there = loaded.directory / (name + ".dig");
  std::error_code failure;
  if (fs::exists(fs::symlink_status(there, failure)) && !fs::is_regular_file(there, failure))
    return Error("resource not found", text).hint(there.filename().string() + " is there, but is no regular file");
  Error error("resource not found", text);
  if (const auto similar = similar_words(name, loaded.workflow_names()); !similar.empty())
    return std::move(error).hint("did you mean '" + similar.front() + "'?");
  return error;
}

void warn_of_broken_files(const dig::Project& project, const std::string& needed, Log& log) {
  for (const auto& file : project.files) {
    if (file.errors.empty() || file.name == needed) continue;
    for (const Error& error : file.errors) log.write(LogLevel::warn, "main", "cli", "Ignoring a broken workflow: " + error.report());
  }
}

/// `+task`: only this subtree. `_export`s of the groups between do not apply (C-15), which is said.
dig::TaskTree subtree(const dig::TaskTree& tree, const std::string& pattern, Log& log) {
  const std::size_t task = find_task(tree, pattern);
  std::vector<std::string> dropped;
  for (std::int32_t parent = tree.tasks[task].parent; parent > 0; parent = tree.tasks[static_cast<std::size_t>(parent)].parent) {
    const Value& exported = tree.tasks[static_cast<std::size_t>(parent)].export_params;
    if (!exported.is_object()) continue;
    for (const auto& member : exported.as_object()) dropped.push_back(member.key);
  }
  if (!dropped.empty()) {
    log.write(LogLevel::warn, "main", "cli",
              "_export of the groups around " + tree.tasks[task].full_name + " does not apply: " + join(dropped, ", "));
  }
  return dig::extract_subtree(tree, task);
}

Target load_target(const Arguments& arguments, const fs::path& project, Log& log) {
  Target target;
  target.project = dig::load_project(project);
  const std::string name = workflow_name_of(arguments.positional()[0], project);
  dig::Project::File* file = nullptr;
  for (auto& candidate : target.project.files) {
    if (candidate.name == name + ".dig") file = &candidate;
  }
  if (!file) throw workflow_missing(name, arguments.text("--project"), target.project);
  if (!file->errors.empty()) throw Errors{file->errors};
  warn_of_broken_files(target.project, file->name, log);
  if (const auto zone = arguments.text("--timezone")) {
    const auto parsed = TimeZone::of(*zone);
    if (!parsed) throw config_error("Unknown time zone name: " + *zone);
    for (auto& other : target.project.files) {
      if (other.workflow && !other.workflow->has_timezone) other.workflow->timezone = *parsed;
    }
  }
  target.workflow = &*file->workflow;
  target.tree = arguments.positional().size() > 1 ? subtree(*file->tasks, arguments.positional()[1], log) : *file->tasks;
  return target;
}

/// Draws the progress line while it lives; nothing where no terminal looks on.
class ProgressLine {
 public:
  ProgressLine(Log& log, const LocalRun& run) : log_(log) {
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || !isatty(STDERR_FILENO)) return;
    thread_ = Thread("the progress line", [this, &run] { draw(run); });
  }
  ~ProgressLine() {
    if (!thread_.running()) return;
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    end_.notify_one();
    thread_.join();
    log_.progress("");
  }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

 private:
  void draw(const LocalRun& run) {
    using std::chrono::milliseconds, std::chrono::steady_clock;
    const auto start = steady_clock::now();
    std::unique_lock lock(mutex_);
    while (!end_.wait_for(lock, milliseconds(100), [this] { return ending_; })) {
      const auto elapsed = std::chrono::duration_cast<milliseconds>(steady_clock::now() - start).count();
      if (elapsed >= 300) log_.progress(run.progress() + ", " + seconds_text(elapsed));
    }
  }

  Log& log_;
  std::mutex mutex_;
  std::condition_variable end_;
  bool ending_ = false;
  Thread thread_;
};

/// Everything that one run needs while it goes on.
class RunProgram {
 public:
  /// `config_before`: a `-c FILE` that stood before the command.
  RunProgram(const Arguments& arguments, std::optional<std::string> config_before, SystemConfig system, Log& log)
      : arguments_(arguments),
        config_before_(std::move(config_before)),
        system_(std::move(system)),
        log_(log),
        project_(project_directory(arguments)),
        params_(load_params(arguments, system_)) {}

  int run() {
    if (project_ != current_directory())
      log_.write(LogLevel::info, "main", "cli", "Setting project path to " + *arguments_.text("--project"));
    Target target = load_target(arguments_, project_, log_);
    const fs::path state_root = project_ / arguments_.text_or("-o", ".digdag/status");
    const dig::Workflow& workflow = *target.workflow;
    const auto scheduler = scheduler_of(workflow);
    const SessionTime session =
        session_time(arguments_.text_or("--session", "last"), workflow.name, workflow.timezone, now(), scheduler.get(), state_root);
    if (!session.notice.empty()) log_.write(LogLevel::warn, "main", "cli", session.notice);

    TaskSelection selection(target.tree, arguments_.has("-a"), arguments_.text("-s"), arguments_.text("-g"), arguments_.text("-e"));
    const bool save = !arguments_.has("--no-save");
    LocalRun local({save, dry_run(), arguments_.has("-E") || arguments_.has("-dE"), state_root}, std::move(selection), log_, commands_);
    texts_.session = format_local_time(session.time, workflow.timezone);
    texts_.resume_words = resume_words(workflow);
    texts_.goal = arguments_.text("-g").value_or("");
    texts_.selected = arguments_.has("-a") || arguments_.has("-s");
    if (const auto state = local.open_session(LocalRun::main_attempt, workflow.name, session.time, workflow.timezone)) {
      if (!dry_run()) texts_.state_directory = state->directory().string();
      log_.write(LogLevel::info, "main", "cli", "Using session " + state->directory().string() + ".");
    }
    log_.write(LogLevel::info, "main", "cli",
               "Starting a new session project id=1 workflow name=" + workflow.name +
                   " session_time=" + format_session_time(session.time, workflow.timezone));
    for (const auto& warning : dig::misspelt_params(workflow, params_)) log_.write(LogLevel::warn, "main", "cli", warning.message);
    if (workflow.config.find("trigger")) {
      log_.write(LogLevel::warn, "main", "cli", "trigger: works only on a server; it does nothing in a local run");
    }
    return execute(target, session.time, local);
  }

 private:
  std::unique_ptr<schedule::Scheduler> scheduler_of(const dig::Workflow& workflow) {
    std::vector<schedule::UnusedKey> unused;
    try {
      auto scheduler = schedule::scheduler_of(workflow.config, workflow.timezone, &unused);
      for (const schedule::UnusedKey& key : unused) log_.write(LogLevel::error, "main", "schedule", key.text);
      return scheduler;
    } catch (const Error& error) {
      throw dig::SourceLines(project_).complete(error);
    }
  }

  bool dry_run() const { return arguments_.has("-d") || arguments_.has("-dE"); }

  /// `--task-log`.
  struct TaskLogs {
    std::unique_ptr<store::LogStorage> storage;
    store::LogSpool spool;
  };
  std::unique_ptr<TaskLogs> open_task_logs() {
    const auto wanted = arguments_.text("-O");
    if (!wanted) return nullptr;
    const fs::path directory = current_directory() / *wanted;
    auto storage = store::local_log_storage(directory);
    store::LogStorage& target = *storage;
    const store::LogSpool::Options options{.directory = directory / ".spool", .agent_id = agent::agent_id()};
    return std::unique_ptr<TaskLogs>(new TaskLogs{std::move(storage), {options, target, log_}});
  }

  agent::AgentOptions agent_options(LocalRun& local) const {
    agent::AgentOptions options;
    options.max_task_threads = arguments_.integer_or("--max-task-threads", system_.integer_or("agent.max-task-threads", 0));
    options.kill_grace_seconds = system_.integer_or("agent.kill-grace-time", options.kill_grace_seconds);
    options.system = &system_;
    options.filter = &local;
    options.secrets = [this](std::int64_t, std::string_view key) { return local_secret(system_, key); };
    options.secret_hint = "a local secret is a file named by its key in " + (configuration_home() / "secrets").string() +
                          ", or secrets.KEY of the configuration";
    options.task_limit = executor::attempt_options(system_).task_limit;
    return options;
  }

  /// The words of this command that its resumption needs as well, ready for a shell. Secrets are left out, or `***`.
  std::vector<std::string> resume_words(const dig::Workflow& workflow) const {
    std::vector<std::string> words{"run"};
    const auto add = [&](const std::string& option, const std::string& value) {
      words.push_back(option);
      words.push_back(shell_quoted(value));
    };
    for (const std::string& word : arguments_.positional()) words.push_back(shell_quoted(word));
    for (const char* option : {"--project", "-o", "-g", "-e", "-P", "--timezone", "-O", "--max-task-threads"}) {
      if (const auto value = arguments_.text(option)) add(option, *value);
    }
    const Value* declared = workflow.config.find("_params");
    for (const auto& [key, value] : key_values(arguments_.list("-p"), "-p")) {
      const Value* param = declared ? declared->find(key) : nullptr;
      const bool secret = param && param->is_object() && Config(*param).boolean_or("secret", false);
      add("-p", key + "=" + (secret ? "***" : value));
    }
    for (const auto& [key, value] : arguments_.dynamic()) {
      if (!key.starts_with("secrets.")) add("-X", key + "=" + (names_a_secret(key) ? "***" : value));
    }
    if (const auto file = arguments_.text("-c") ? arguments_.text("-c") : config_before_) add("-c", *file);
    return words;
  }

  /// Whether an attempt may start: not while another process runs its session.
  bool admit(const executor::AttemptIdentity& identity, LocalRun& local) {
    try {
      local.open_session(identity.attempt_id, identity.workflow_name, identity.session_time, identity.timezone);
      return true;
    } catch (const SessionInUse& in_use) {
      if (told_to_wait_.insert(identity.attempt_id).second)
        log_.write(LogLevel::warn, "main", "cli", in_use.message() + "; what requires it waits for its end");
      return false;
    }
  }

  int execute(const Target& target, Instant session_time, LocalRun& local) {
    store::MemoryStore store;
    dig::ScriptWorker worker;
    const dig::TemplateEngine templates(worker, dig::template_options(system_));
    executor::Executor executor(store, log_, templates, &local);
    agent::ProjectDirectory workspaces(project_, {.keep = log_.enabled(LogLevel::debug), .hold = [&](int fd) { commands_.hold(fd); }});
    const std::unique_ptr<TaskLogs> task_logs = open_task_logs();
    agent::AgentOptions options = agent_options(local);
    options.workspaces = &workspaces;
    if (task_logs) options.task_logs = &task_logs->spool;
    Interrupts interrupts([&] { executor.interrupt(); });
    LocalAttempts attempts(target.project, params_, system_, executor,
                           [&](const executor::AttemptIdentity& identity) { return admit(identity, local); });
    agent::Agent agent(
        options, log_, templates, commands_, attempts,
        [&](const agent::RunRequest& request, agent::RunEnd end) { executor.ended(request, std::move(end)); },
        [&](const agent::RunRequest& request, Value limits) { executor.limits_evaluated(request, std::move(limits)); });
    executor.use(agent);
    const std::int64_t id = attempts.start_main(*target.workflow, target.tree, session_time);
    bool finished = false;
    {
      const ProgressLine progress(log_, local);
      finished = executor.run_until_done(id);
    }
    if (!finished) {
      interrupts.wait_for(std::chrono::seconds(agent.longest_grace()));
      agent.shutdown();
    }
    log_.flush();
    return report(executor.tasks(id), finished, interrupts.signal(), local);
  }

  int report(const engine::Attempt* tasks, bool finished, int signal, LocalRun& local) {
    assert(!finished || tasks);  // an attempt that ended is kept by its executor
    const auto [unsaved, cause] = local.close();
    if (tasks && log_.enabled(LogLevel::debug)) {
      for (const std::string& line : task_dump(*tasks)) log_.write(LogLevel::debug, "main", "cli", line);
      log_.flush();
    }
    const std::string state_directory = texts_.state_directory;
    if (unsaved > 0) texts_.state_directory.clear();
    int code = 0;
    if (!finished) {
      log_.user(interrupted_text(tasks, texts_));
      code = 128 + signal;
    } else if (tasks->success()) {
      log_.user(success_text(local, texts_));
    } else {
      log_.user(failure_text(*tasks, local, texts_));
      code = 1;
    }
    if (code == 0 && log_.output_lost()) code = 1;
    if (unsaved > 0) {
      log_.user("error: state of " + std::to_string(unsaved) + " tasks could not be saved in " + state_directory + ": " + cause);
      if (code == 0) code = 1;
    }
    return code;
  }

  const Arguments& arguments_;
  const std::optional<std::string> config_before_;
  SystemConfig system_;
  Log& log_;
  const fs::path project_;
  const Value params_;
  RunTexts texts_;
  command::CommandRunner commands_;
  std::set<std::int64_t> told_to_wait_;  ///< attempts; under the mutex of LocalAttempts
};

}  // namespace

int run_command(const Invocation& invocation) {
  const std::string usage = command_usage(*find_command("run"), describe_options(run_options()));
  if (asks_for_help(invocation.words)) return print_usage(usage);
  const Arguments arguments(run_options(), invocation.words);
  if (arguments.positional().empty()) return wrong_words(usage, "run needs the name of a workflow");
  if (arguments.positional().size() > 2) return wrong_words(usage, "run takes one workflow and one task");
  refuse_conflicts(arguments, usage);
  Log log(log_options(arguments));
  return RunProgram(arguments, invocation.config, load_system_config(arguments, invocation.config), log).run();
}

}  // namespace digdag::cli
