#pragma once

#include <string>

#include "base/value.h"

namespace digdag::agent {

/// Which operator a task runs, by the rule of spec/decisions.md L-24: the task's own keys first, then its own `_export`, then
/// what it inherits.
struct OperatorChoice {
  std::string type;      ///< empty: the task has no operator and simply succeeds
  std::string key;       ///< the key that names it: `sh>`, or `_type`
  std::string hijacker;  ///< an inherited key that would have been taken by order alone; empty where there is none
};

/// `config`: all evaluated params and local keys; `local` and `own_export` as written. Error(config) where `_type` is null.
OperatorChoice choose_operator(const Value& config, const Value& local, const Value& own_export);

}  // namespace digdag::agent
