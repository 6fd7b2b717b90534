#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "schedule/pushed_schedules.h"
#include "store/database.h"
#include "store/projects.h"

namespace digdag::schedule {

/// The triggers of a revision that is being pushed (spec/decisions.md S-40): which of its workflows start when which other one has
/// succeeded.
class PushedTriggers {
 public:
  /// The forms of `trigger:` have been checked (dig/workflow_file.cpp).
  explicit PushedTriggers(const std::vector<PushedWorkflow>& workflows);

  /// In the transaction of the push, after its workflow definitions are inserted, with the project's row locked. `definition_ids`: by
  /// workflow name. Throws Error(config), whose message is the text of the 400: a project that does not exist, a cycle.
  void apply(store::Transaction& transaction, const store::Project& project,
             const std::map<std::string, std::int64_t, std::less<>>& definition_ids) const;

 private:
  struct Entry {
    std::string workflow;
    std::optional<std::string> upstream_project;  ///< nothing: the own one
    std::string upstream_workflow;
  };
  std::vector<Entry> entries_;
};

}  // namespace digdag::schedule
