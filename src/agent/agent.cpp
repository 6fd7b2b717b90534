#include "agent/agent.h"

#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <tuple>

#include "agent/task_run.h"
#include "agent/thread_pool.h"

namespace digdag::agent {
namespace {

using RunKey = std::tuple<std::int64_t, engine::TaskIndex, engine::Lease>;

RunKey key_of(const RunRequest& request) { return {request.attempt, request.task, request.lease}; }

std::vector<std::pair<std::string, std::string>> process_environment() {
  std::vector<std::pair<std::string, std::string>> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const char* equals = std::strchr(*entry, '=');
    if (equals != nullptr) variables.emplace_back(std::string(*entry, static_cast<std::size_t>(equals - *entry)), equals + 1);
  }
  return variables;
}

}  // namespace

struct Agent::Impl {
  Impl(AgentOptions wanted, Log& log, const dig::TemplateEngine& templates, command::CommandRunner& runner,
       engine::AttemptStarter& attempts, OnEnd report, OnLimits report_limits)
      : options(std::move(wanted)),
        commands(runner),
        on_end(std::move(report)),
        services{options,
                 log,
                 templates,
                 runner,
                 attempts,
                 process_environment(),
                 threads,
                 blocking,
                 std::move(report_limits),
                 [this](TaskRun& run, RunEnd end) { ended(run, std::move(end)); }},
        blocking({.grows_at_once = true}),
        threads({.steady = std::max(1u, std::thread::hardware_concurrency())}) {}

  void add(RunRequest request) {
    auto run = std::make_shared<TaskRun>(std::move(request), services);
    const std::lock_guard lock(mutex);
    ++unreported;
    runs.insert_or_assign(key_of(run->request()), run);
    if (closed)
      post_refusal(std::move(run));
    else if (options.max_task_threads > 0 && active >= options.max_task_threads)
      waiting.push_back(std::move(run));
    else
      post(std::move(run));
  }

  /// With the lock held.
  void post(std::shared_ptr<TaskRun> run) {
    ++active;
    const std::int64_t attempt = run->request().attempt;
    threads.post([run = std::move(run)](unsigned slot) { run->begin(slot); }, attempt);
  }
  void post_refusal(std::shared_ptr<TaskRun> run) {
    ++active;
    const std::int64_t attempt = run->request().attempt;
    threads.post([run = std::move(run)](unsigned) { run->refuse(); }, attempt);
  }

  void ended(TaskRun& run, RunEnd end) {
    {
      const std::lock_guard lock(mutex);
      const auto found = runs.find(key_of(run.request()));
      if (found != runs.end() && found->second.get() == &run) runs.erase(found);
      --active;
      while (!waiting.empty() && active < options.max_task_threads) {
        post(std::move(waiting.front()));
        waiting.pop_front();
      }
    }
    on_end(run.request(), std::move(end));
    const std::lock_guard lock(mutex);
    if (--unreported == 0) all_reported.notify_all();
  }

  void stop(const RunKey& key, std::int64_t grace_seconds) {
    std::shared_ptr<TaskRun> run;
    {
      const std::lock_guard lock(mutex);
      const auto found = runs.find(key);
      if (found == runs.end()) return;
      run = found->second;
      const auto queued = std::find(waiting.begin(), waiting.end(), run);
      if (queued != waiting.end()) {
        waiting.erase(queued);
        return post_refusal(std::move(run));
      }
    }
    run->stop(grace_seconds);
  }

  bool is_idle() const {
    const std::lock_guard lock(mutex);
    return active == 0 && waiting.empty();
  }

  std::int64_t grace_at_shutdown(const TaskRun& run) const {
    const std::int64_t grace = run.kill_grace_seconds().value_or(options.kill_grace_seconds);
    return grace < 0 ? default_kill_grace_seconds : grace;
  }

  std::int64_t longest_grace() {
    const std::lock_guard lock(mutex);
    std::int64_t longest = 0;
    for (const auto& [key, run] : runs) longest = std::max(longest, grace_at_shutdown(*run));
    return longest;
  }

  void stop_all() {
    std::vector<std::pair<RunKey, std::int64_t>> all;
    {
      const std::lock_guard lock(mutex);
      for (const auto& [key, run] : runs) all.emplace_back(key, grace_at_shutdown(*run));
    }
    for (const auto& [key, grace] : all) stop(key, grace);
  }

  void shutdown() {
    std::vector<std::shared_ptr<TaskRun>> going_on;
    std::unique_lock lock(mutex);
    closed = true;
    for (auto& run : waiting) post_refusal(std::move(run));
    waiting.clear();
    going_on.reserve(runs.size());
    for (const auto& [key, run] : runs) going_on.push_back(run);
    lock.unlock();
    const std::int64_t longest = longest_grace();
    for (const auto& run : going_on) run->stop(grace_at_shutdown(*run));
    services.templates.interrupt();                     // now that what this ends counts as stopped, not as failed
    if (!going_on.empty()) commands.stop_all(longest);  // what is being stopped keeps its own, shorter time
    lock.lock();
    all_reported.wait(lock, [&] { return unreported == 0; });
  }

  const AgentOptions options;
  command::CommandRunner& commands;
  const OnEnd on_end;
  RunServices services;

  mutable std::mutex mutex;
  std::condition_variable all_reported;
  std::map<RunKey, std::shared_ptr<TaskRun>> runs;  ///< not reported yet
  std::deque<std::shared_ptr<TaskRun>> waiting;     ///< for max_task_threads
  std::int64_t active = 0;                          ///< given to the threads, not ended
  std::int64_t unreported = 0;
  bool closed = false;

  // Last, so that their threads end before anything that they use. A job of `blocking` may post to `threads`.
  ThreadPool blocking;
  ThreadPool threads;
};

Agent::Agent(AgentOptions options, Log& log, const dig::TemplateEngine& templates, command::CommandRunner& commands,
             engine::AttemptStarter& attempts, OnEnd on_end, OnLimits on_limits)
    : impl_(std::make_unique<Impl>(std::move(options), log, templates, commands, attempts, std::move(on_end), std::move(on_limits))) {}

Agent::~Agent() { impl_->shutdown(); }

void Agent::run(RunRequest request) { impl_->add(std::move(request)); }

void Agent::stop(std::int64_t attempt, engine::TaskIndex task, engine::Lease lease, std::optional<std::int64_t> grace_seconds) {
  impl_->stop({attempt, task, lease}, grace_seconds.value_or(impl_->options.kill_grace_seconds));
}

bool Agent::is_idle() const { return impl_->is_idle(); }
void Agent::stop_all() { impl_->stop_all(); }
void Agent::shutdown() { impl_->shutdown(); }
std::int64_t Agent::longest_grace() const { return impl_->longest_grace(); }

}  // namespace digdag::agent
