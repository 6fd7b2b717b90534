#include "history.h"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/json.h"
#include "simulated_server.h"

namespace digdag::simulation {
namespace {

using engine::TaskState;

class History : public World {
 public:
  History(std::uint64_t seed, std::string* log) : random_(seed), log_(log) {
    for (std::uint64_t i = 0; i < 2; ++i) workloads_.push_back(std::make_unique<Workload>(seed * 2 + i, random_));
    for (const auto& workload : workloads_) {
      database.runs_end_by_themselves |= workload->features.timeout;
      if (log_) *log_ += to_yaml(workload->workflow.config) + "----\n";
    }
    attempts_to_start_ = random_.between(1, 4);
    const std::array<int, 4> rates{0, 2, 6, 15};
    crash_percent_ = rates[static_cast<std::size_t>(random_.below(4))];
    hold_percent_ = rates[static_cast<std::size_t>(random_.below(4))];
    database_percent_ = rates[static_cast<std::size_t>(random_.below(4))];
    kill_percent_ = random_.chance(40) ? 3 : 0;
    poison_percent_ = random_.chance(8) ? 3 : 0;
    power_percent_ = random_.chance(30) ? 2 : 0;
    restarts_database_ = random_.chance(50);
    if (random_.chance(50)) {
      most_rows_at_once = static_cast<std::size_t>(random_.between(1, 6));
      rows_in_a_step = static_cast<std::size_t>(random_.between(1, 3));
    }
    if (random_.chance(50)) events_in_a_round = 1;
  }

  void run() {
    for (Place& place : places_) boot(place);
    for (int actions = random_.between(30, 250); actions > 0; --actions) something_happens();
    while (attempts_to_start_ > 0) start_attempt();
    end_faults();
    for (int rounds = 0; !all_are_done(); ++rounds) {
      if (rounds > 3000) throw Disagreement("the attempts do not end: " + open_attempts());
      go_on();
    }
    for (int rounds = 0; rounds < 3; ++rounds) go_on();
    for (const Place& place : places_) place.server->check_idle();
    for (const auto& [id, record] : database.attempts()) check_end(id, *record);
  }

  // ---- What servers ask ----

  void moment(SimulatedServer& server, const char* what) override {
    if (!faults_) return;
    if (random_.chance(crash_percent_) && random_.chance(30)) {
      log(server.id() + " dies when it " + what);
      throw Crash();
    }
    if (!random_.chance(hold_percent_) || is_nested_) return;
    log(server.id() + " is held up when it " + what);
    now = now.plus_millis(random_.below(15'000));
    Place& other = places_[0].server.get() == &server ? places_[1] : places_[0];
    if (other.server) {
      is_nested_ = true;
      if (random_.chance(70)) act(other, [&] { other.server->take_over({server.id()}); });
      for (int actions = random_.below(4); actions > 0 && other.server; --actions) {
        step(other);
        if (other.server && other.server->has_beside() && random_.chance(50)) act(other, [&] { other.server->write_beside(); });
        if (other.server && random_.chance(50)) answer(other);
      }
      is_nested_ = false;
    }
    if (server.is_in_loop() && random_.chance(60)) look_around_beside_loop(server);
  }

  /// The duties of a server have a thread of their own: they may come between any two moments of its loop.
  void look_around_beside_loop(SimulatedServer& server) {
    Place& own = places_[0].server.get() == &server ? places_[0] : places_[1];
    Place& other = &own == &places_[0] ? places_[1] : places_[0];
    if (other.server && random_.chance(50)) {
      log(other.server->id() + " dies");
      act(other, [] { throw Crash(); });
    }
    is_nested_ = true;
    try {
      renew(own);
      server.take_over(dead_servers(own));
      server.apply_events();
    } catch (const Crash&) {
      is_nested_ = false;
      throw;
    }
    is_nested_ = false;
  }

  bool chance(int percent) override { return faults_ && database_percent_ > 0 && random_.chance(percent * database_percent_ / 2); }

  void log(const std::string& line) override {
    if (log_) *log_ += std::to_string(now.millis - 1'700'000'000'000) + " " + line + "\n";
  }

 private:
  /// Where a server process stands.
  struct Place {
    char name;
    int processes = 0;
    std::unique_ptr<SimulatedServer> server;
    bool is_held_up = false;
  };

  template <typename Work>
  void act(Place& place, const Work& work) {
    if (!place.server) return;
    try {
      work();
    } catch (const Crash&) {
      place.server.reset();
      place.is_held_up = false;
    }
  }

  void boot(Place& place) {
    place.server = std::make_unique<SimulatedServer>(*this, place.name + std::to_string(++place.processes), random_.between(1, 5));
    log(place.server->id() + " starts");
    place.server->register_here();
    act(place, [&] { place.server->take_over(dead_servers(place)); });
  }

  /// Those that another one takes for dead: processes that are gone, and perhaps one that is held up.
  std::vector<std::string> dead_servers(const Place& looking) {
    std::vector<std::string> dead;
    for (const std::string& id : registered) {
      const auto is_it = [&](const Place& place) { return place.server && place.server->id() == id; };
      const auto place = std::find_if(places_.begin(), places_.end(), is_it);
      if (place == places_.end() || (&*place != &looking && place->is_held_up && random_.chance(50))) dead.push_back(id);
    }
    return dead;
  }

  Place& any_place() { return places_[static_cast<std::size_t>(random_.below(2))]; }

  // ---- What happens ----

  void something_happens() {
    Place& place = any_place();
    const int kind = random_.below(100);
    if (random_.chance(power_percent_)) return cut_power();
    if (!place.server) {
      if (kind < 40) boot(place);
      return;
    }
    if (random_.chance(crash_percent_) && random_.chance(20)) {
      log(place.server->id() + " dies");
      return act(place, [] { throw Crash(); });
    }
    if (place.is_held_up) {
      place.is_held_up = random_.chance(80);
      return;
    }
    if (random_.chance(kill_percent_)) return kill(place);
    if (random_.chance(poison_percent_)) return poison();
    if (attempts_to_start_ > 0 && kind < 15) return start_attempt(place);
    if (place.server->has_beside() && random_.chance(50)) return act(place, [&] { place.server->write_beside(); });
    if (kind < 45) return step(place);
    if (kind < 70) return answer(place);
    if (kind < 80) return pass_time();
    if (kind < 86) return look_around(place);
    if (kind < 94) return act(place, [&] { place.server->work_off(); });
    if (kind < 96) return renew(place);
    if (kind < 97) return act(place, [&] { place.server->read_forgotten(); });
    place.is_held_up = random_.chance(hold_percent_ * 3);
  }

  void start_attempt() {
    Place& place = any_place();
    if (!place.server) boot(place);
    if (place.server) start_attempt(place);
  }

  void start_attempt(Place& place) {
    const Workload& workload = *workloads_[static_cast<std::size_t>(random_.below(2))];
    const std::array<SimulatedServer::How, 3> ways{SimulatedServer::How::here, SimulatedServer::How::in_loop,
                                                   SimulatedServer::How::by_nobody};
    const SimulatedServer::How how = random_.chance(60) ? SimulatedServer::How::here : ways[static_cast<std::size_t>(random_.below(3))];
    --attempts_to_start_;
    act(place, [&] { place.server->start_attempt(workload, how); });
  }

  void step(Place& place) {
    act(place, [&] {
      place.server->step();
      place.server->check_kills();
    });
  }

  void answer(Place& place) {
    if (place.server->runs() == 0) return;
    const auto which = static_cast<std::size_t>(random_.below(static_cast<int>(place.server->runs())));
    act(place, [&] { place.server->answer(which, random_); });
  }

  void look_around(Place& place) {
    act(place, [&] {
      place.server->take_over(dead_servers(place));
      place.server->apply_events();
    });
  }

  void renew(Place& place) {
    if (registered.contains(place.server->id())) return;
    log(place.server->id() + " was taken for dead");
    place.server->lose();
    place.server->register_here();
  }

  void kill(Place& place) {
    const std::int64_t id = any_attempt();
    const auto event = id == 0 ? std::nullopt : database.request_kill(id);
    if (!event) return;
    log("attempt " + std::to_string(id) + " is killed");
    killed_.insert(id);
    if (random_.chance(70)) place.server->kill(id, *event, random_.chance(50));
  }

  void poison() {
    const std::int64_t id = any_attempt();
    if (id == 0 || database.attempt(id).done()) return;
    log("attempt " + std::to_string(id) + " cannot be stored any more");
    database.poison(id);
  }

  std::int64_t any_attempt() {
    const auto count = static_cast<int>(database.attempts().size());
    return count == 0 ? 0 : random_.between(1, count);
  }

  /// All machines lose their power, or that of the database alone.
  void cut_power() {
    const bool of_all = !restarts_database_ || random_.chance(50);
    const auto count = static_cast<std::size_t>(random_.below(static_cast<int>(database.transactions_at_risk()) + 1));
    log((of_all ? "the power is cut, " : "the database is cut off its power, ") + std::to_string(count) + " transactions are lost");
    database.cut_power(count);
    if (!of_all) return;
    for (Place& place : places_) {
      place.server.reset();
      place.is_held_up = false;
    }
  }

  void pass_time() {
    std::optional<Instant> due;
    for (const Place& place : places_) {
      const auto next = place.server ? place.server->next_due() : std::nullopt;
      if (next && (!due || *next < *due)) due = next;
    }
    now = due && random_.chance(70) ? std::max(now, *due) : now.plus_millis(random_.below(20'000));
  }

  // ---- The end ----

  void end_faults() {
    log("all faults end");
    faults_ = false;
    for (Place& place : places_) {
      place.is_held_up = false;
      if (!place.server) boot(place);
    }
  }

  /// A round of everything, which only moves time where nothing else is to be done.
  void go_on() {
    bool waits = true;
    for (Place& place : places_) {
      renew(place);
      look_around(place);
      place.server->work_off();
      place.server->read_forgotten();
      step(place);
      while (place.server->has_beside()) {
        place.server->write_beside();
        step(place);
        waits = false;
      }
      while (place.server->runs() > 0) {
        answer(place);
        step(place);
        waits = false;
      }
    }
    if (waits) pass_time();
  }

  bool all_are_done() const {
    return std::all_of(database.attempts().begin(), database.attempts().end(), [](const auto& one) { return one.second->done(); });
  }

  std::string open_attempts() const {
    std::string text;
    for (const auto& [id, record] : database.attempts()) {
      if (record->done()) continue;
      text += " " + std::to_string(id) + " of " + (record->owner.empty() ? "nobody" : record->owner) + ":";
      for (const auto& task : record->tasks) text += " " + task->full_name + " " + text_of(task->state);
    }
    return text;
  }

  void check_end(std::int64_t id, const AttemptRecord& record) const {
    const std::string name = "attempt " + std::to_string(id);
    if (record.was_broken) return;
    if (killed_.contains(id) != record.killed()) throw Disagreement(name + " forgot that it was killed, or was killed by nobody");
    for (const auto& task : record.tasks) {
      if (!is_done(task->state) && task->state != TaskState::blocked)
        throw Disagreement(name + " is done while " + task->full_name + " is " + text_of(task->state));
    }
    if (!record.queue.empty()) throw Disagreement(name + " has left rows in the queue");
    if (record.has_ownership || record.left_over > 0 || record.pending_from) throw Disagreement(name + " has left rows of its tasks");
    const auto& ends = workloads.at(id)->ends;
    if (record.killed() || !ends) return;
    std::map<std::string, std::int64_t> generations;
    std::map<std::string, Ends::Task> tasks;
    for (const auto& task : record.tasks)
      tasks.emplace(task->full_name + "#" + std::to_string(generations[task->full_name]++),
                    end_of(task->state, task->retry_count, task->store_params, task->error));
    for (const auto& [key, task] : ends->tasks) {
      const auto found = tasks.find(key);
      if (found == tasks.end()) throw Disagreement(name + " lacks " + key);
      if (found->second != task)
        throw Disagreement(name + " " + key + " is " + found->second.state + " " + found->second.result + " retries " +
                           std::to_string(found->second.retry_count) + ", by the model " + task.state + " " + task.result + " retries " +
                           std::to_string(task.retry_count));
    }
    if (tasks.size() != ends->tasks.size()) throw Disagreement(name + " has more tasks than the model");
    if (((record.flags & store::attempt_success) != 0) != ends->success) throw Disagreement(name + " ended otherwise than by the model");
  }

  Random random_;
  std::string* log_;
  std::vector<std::unique_ptr<Workload>> workloads_;
  std::array<Place, 2> places_{Place{'A', 0, nullptr, false}, Place{'B', 0, nullptr, false}};
  int attempts_to_start_ = 0;
  int crash_percent_ = 0, hold_percent_ = 0, database_percent_ = 0, kill_percent_ = 0, poison_percent_ = 0, power_percent_ = 0;
  bool restarts_database_ = false;
  bool faults_ = true;
  bool is_nested_ = false;
  std::set<std::int64_t> killed_;
};

}  // namespace

void simulate_history(std::uint64_t seed, Log& program_log, const dig::TemplateEngine& templates, std::string* log) {
  History history(seed, log);
  history.program_log = &program_log;
  history.templates = &templates;
  history.run();
}

}  // namespace digdag::simulation
