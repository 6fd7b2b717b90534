#pragma once

#include <memory>

#include "base/fd.h"
#include "base/thread.h"
#include "store/database.h"
#include "store/postgresql_pool.h"

namespace digdag::store {

/// Hears what others say, on a connection of the pool that it keeps.
class PostgresqlListening : public Database::Listening {
 public:
  /// Connects, waiting until the deadline; then goes on in a thread of its own. `pool` must outlive it.
  PostgresqlListening(PostgresqlPool& pool, Database::Ear ear, Log& log, Deadline deadline);
  ~PostgresqlListening() override;

 private:
  void begin(Deadline deadline);
  void end();
  void main();

  PostgresqlPool& pool_;
  const Database::Ear ear_;
  Log& log_;
  const Fd stop_;
  std::unique_ptr<PostgresqlConnection> connection_;
  Thread thread_;
};

}  // namespace digdag::store
