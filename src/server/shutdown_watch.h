#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "base/log.h"
#include "store/database.h"

namespace digdag::server {

/// Keeps a shutdown from lasting for ever while it lives: tasks get their time, and a database that does not answer is not waited for when
/// nothing else is left. What could not be stored was acknowledged to nobody; it is run again by whoever takes it over.
class ShutdownWatch {
 public:
  struct Options {
    std::optional<std::chrono::seconds> limit;  ///< for tasks that run; nothing: none
    std::chrono::milliseconds look_every{1000};
    std::chrono::milliseconds answers_within{10'000};
    std::function<bool()> tasks_run;
    std::function<void()> give_up;                                         ///< what runs, and what is to be stored, is not waited for
    std::function<void(store::Database::Patience patience)> ask_database;  ///< throws where it cannot store anything
  };
  /// `database` is shut down where it holds up the end.
  ShutdownWatch(Options options, store::Database& database, Log& log);
  ~ShutdownWatch();
  ShutdownWatch(const ShutdownWatch&) = delete;
  ShutdownWatch& operator=(const ShutdownWatch&) = delete;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace digdag::server
