#pragma once

#include <memory>

#include "base/log.h"
#include "base/properties.h"
#include "server/http_server.h"

namespace digdag::server {

/// A server process: all its parts, made from the configuration (spec/server.md 2 to 5), started in their order and ended in the
/// reverse one. Belongs to one thread.
class Server {
 public:
  /// Serves when it returns. Error(config) for what the configuration has wrong, DatabaseError where the database cannot be used.
  /// Both must outlive it.
  Server(const SystemConfig& config, Log& log);
  /// As `shut_down`.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  const HttpServer& http() const;
  /// Finishes what runs: tasks, then requests (spec/server.md 20). The API is served until no task runs any more.
  void shut_down();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace digdag::server
