#include "executor/round_writer.h"

#include <algorithm>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "store/database.h"

namespace digdag::executor {
namespace {

void sort_once(std::vector<engine::TaskIndex>& tasks) {
  std::sort(tasks.begin(), tasks.end());
  tasks.erase(std::unique(tasks.begin(), tasks.end()), tasks.end());
}

store::AttemptChange change_of(Work& work) {
  sort_once(work.outcome.changed);
  sort_once(work.outcome.results_changed);
  store::AttemptChange change{&work.owned->rows,    &work.owned->attempt, work.outcome.changed, work.outcome.results_changed, work.runs, {},
                              work.outcome.finished};
  for (const QueuedEvent& event : work.events) {
    if (event.stored_event != 0) change.events.push_back(event.stored_event);
  }
  return change;
}

bool changes_rows(const Work& work) {
  const auto is_stored = [](const QueuedEvent& event) { return event.stored_event != 0; };
  return !work.outcome.changed.empty() || !work.runs.empty() || std::any_of(work.events.begin(), work.events.end(), is_stored);
}

bool is_away(const store::DatabaseError& error) { return error.why() == store::DatabaseError::Cause::unavailable; }

}  // namespace

bool RoundWriter::commit(std::vector<Work>& round, const std::function<void(Work&, const Trouble&)>& give_up) {
  std::vector<Work*> changed;
  for (Work& work : round) {
    if (changes_rows(work)) changed.push_back(&work);
  }
  if (changed.empty()) return true;
  std::optional<Trouble> trouble;
  if (!when_available([&] { trouble = commit_together(changed); })) return false;
  if (!trouble) return true;
  if (changed.size() > 1) {
    log_.write(LogLevel::warn, "main", "executor",
               "The changes of " + std::to_string(changed.size()) + " attempts are stored one by one: " + trouble->error.report());
  }
  for (Work* work : changed) {
    if (!when_available([&] { trouble = commit_together({work}); })) return false;
    if (trouble) give_up(*work, *trouble);
  }
  return true;
}

bool RoundWriter::is_large(const Work& work) const {
  const std::size_t most = store_.most_rows_at_once();
  return work.outcome.changed.size() > most || (work.outcome.finished && work.owned->attempt.size() > most);
}

void RoundWriter::write_beside(std::shared_ptr<Work> work) {
  ++being_written_;
  const auto write = [this, work = std::move(work)] {
    Written result{work, {}};
    std::optional<store::AttemptChange> change;  // of all tries: it knows what is stored already
    const auto store_it = [&] {
      store_.number_tasks(work->owned->rows, work->owned->attempt.size());
      if (!change) change = change_of(*work);
      store_.commit_in_steps(*change);
    };
    if (when_available([&] { result.trouble = trouble_of(store_it); })) inbox_.push(std::move(result));
  };
  if (beside_) return beside_(write);
  if (!writers_) writers_ = std::make_unique<agent::ThreadPool>(agent::ThreadPool::Options{.most = 1});
  writers_->post([write](unsigned) { write(); });
}

std::optional<Trouble> RoundWriter::commit_together(const std::vector<Work*>& works) {
  return trouble_of([&] {
    std::vector<store::AttemptChange> changes;
    for (Work* work : works) {
      store_.number_tasks(work->owned->rows, work->owned->attempt.size());
      changes.push_back(change_of(*work));
    }
    store_.commit(changes);
  });
}

/// Why it could not be stored, other than that the database is away.
std::optional<Trouble> RoundWriter::trouble_of(const std::function<void()>& work) const {
  try {
    work();
  } catch (const store::DatabaseError& error) {
    if (!keeps_going_ || is_away(error)) throw;
    return Trouble{error, error.why() == store::DatabaseError::Cause::refused};
  } catch (const Error& error) {
    if (!keeps_going_) throw;
    return Trouble{error, true};
  } catch (const std::exception& error) {
    if (!keeps_going_) throw;
    return Trouble{Error("internal", error.what()), true};
  }
  return std::nullopt;
}

/// Tries a step again until the database can take it: with a full disk, nothing here could go on. False where it was interrupted.
bool RoundWriter::when_available(const std::function<void()>& step) {
  struct Waiting {
    ~Waiting() { all -= begun; }
    std::atomic<int>& all;
    bool begun = false;
  } waiting{waiting_};
  for (;;) {
    try {
      step();
      return true;
    } catch (const store::DatabaseError& error) {
      if (!keeps_going_ || !is_away(error)) throw;
      if (!std::exchange(waiting.begun, true)) {
        ++waiting_;
        log_.write(LogLevel::error, "main", "executor",
                   "Attempts wait for the database, which is tried again and again: " + error.report());
        log_.flush();
      }
    }
    if (!inbox_.pause(pause_)) return false;
  }
}

}  // namespace digdag::executor
