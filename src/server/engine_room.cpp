#include "server/engine_room.h"

#include "server/http.h"

// The one place where the executor, the agent and the scheduler are plugged in. Until they are, this server keeps projects and answers
// what there is to read.
namespace digdag::server {
namespace {

class NoStarter : public schedule::SessionStarter {
 public:
  std::unique_ptr<Prepared> prepare(const executor::StartRequest&) override { return std::make_unique<Prepared>(); }
  executor::StartAnswer insert(store::Transaction&, Prepared&) override { return refused(); }
  void committed(std::unique_ptr<Prepared>) override {}
  executor::StartAnswer start_delayed(std::int64_t) override { return refused(); }

 private:
  static executor::StartAnswer refused() {
    return executor::StartRefused{executor::StartRefused::Why::limit, "This server starts no attempts"};
  }
};

}  // namespace

struct EngineRoom::Impl {
  Log& log;
  NoStarter starter;
};

EngineRoom::EngineRoom(const SystemConfig&, store::Database&, Metrics&, Log& log) : impl_(new Impl{.log = log, .starter = {}}) {}

EngineRoom::~EngineRoom() = default;

executor::StartAnswer EngineRoom::start(const executor::StartRequest&) { throw HttpError(503, "This server starts no attempts"); }

schedule::SessionStarter& EngineRoom::starter() { return impl_->starter; }

void EngineRoom::kill_requested(std::int64_t) {}

void EngineRoom::schedules_changed() {}

bool EngineRoom::ready() const { return true; }

void EngineRoom::shut_down() { impl_->log.write(LogLevel::info, "shutdown", "server", "Shutting down workflow executor loop"); }

}  // namespace digdag::server
