#include "executor/retry_evaluator.h"

#include <exception>
#include <string>
#include <utility>

#include "agent/runtime_params.h"
#include "executor/run_request.h"

namespace digdag::executor {
namespace {

/// It is rare and normally quick; a hostile expression holds up its thread for its whole time limit.
constexpr agent::ThreadPool::Options evaluators{.steady = 1, .grows_at_once = false, .most = 8};

}  // namespace

void RetryEvaluator::evaluate(const Owned& owned, const engine::EvaluateRetry& effect) {
  if (!threads_) threads_ = std::make_unique<agent::ThreadPool>(evaluators);
  threads_->post([this, attempt_id = owned.identity.attempt_id, identity = identity_of(owned, effect.task), effect,
                  params = owned.attempt.params_of(effect.task)](unsigned) {
    Value retry;
    std::string problem;
    try {
      Value visible = params.to_value();
      merge(visible, agent::runtime_params(identity, visible));
      const Value local = Value::object({{"_retry", effect.retry}});
      const Value all = templates_.evaluate(visible, local, params.origins(), identity.timezone).all;
      if (const Value* evaluated = all.find("_retry")) retry = *evaluated;
    } catch (const std::exception& error) {
      problem = error.what();  // answered as null: the engine notes that the retry is ignored, as the original does (L-16)
    }
    inbox_.push(QueuedEvent{attempt_id, engine::RetryEvaluated{effect.task, std::move(retry), std::move(problem)}});
  });
}

}  // namespace digdag::executor
