#pragma once

#include <memory>

#include "agent/thread_pool.h"
#include "dig/template.h"
#include "executor/inbox.h"
#include "executor/round.h"

namespace digdag::executor {

/// Evaluates the `_retry: ${…}` of groups beside the loop: their own agent, for they have no run.
class RetryEvaluator {
 public:
  RetryEvaluator(const dig::TemplateEngine& templates, Inbox& inbox) : templates_(templates), inbox_(inbox) {}

  /// `inbox` gets the answer as RetryEvaluated: null where it cannot be evaluated.
  void evaluate(const Owned& owned, const engine::EvaluateRetry& effect);

 private:
  const dig::TemplateEngine& templates_;
  Inbox& inbox_;
  std::unique_ptr<agent::ThreadPool> threads_;  ///< made when first needed; last: they end before what they use
};

}  // namespace digdag::executor
