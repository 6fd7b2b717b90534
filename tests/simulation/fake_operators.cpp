#include "fake_operators.h"

#include <algorithm>
#include <deque>

#include "dig/compiler.h"
#include "model.h"

namespace digdag::simulation {

namespace {

constexpr std::size_t most_rows = 60;
constexpr std::int64_t most_polls = 5;

std::uint64_t hash_of(std::uint64_t seed, const std::string& key, std::int64_t retry_count) {
  std::uint64_t hash = seed * 1'000'003 + static_cast<std::uint64_t>(retry_count);
  for (const char c : key) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return hash;
}

}  // namespace

FakeOperators::Answer FakeOperators::answer(const std::string& key, const Value& local, const Value& inherited_retry,
                                            std::int64_t retry_count) const {
  Random random(hash_of(seed_, key, retry_count));
  const std::string type = dig::operator_of(local);
  Answer answer;
  answer.retry = local.find("_retry") ? *local.find("_retry") : inherited_retry;
  answer.delay_millis = random.chance(20) ? 0 : random.below(30'000);
  if (type == "fail" || random.chance(type == "notify" ? 10 : features_.fail_percent)) {
    answer.kind = Answer::Kind::failure;
    answer.error = Value::object({{"message", "boom " + key + " " + std::to_string(retry_count)}});
    answer.retryable = type == "sim" || type == "job";
  } else if (features_.polls && retry_count < most_polls && random.chance(30)) {
    answer.kind = Answer::Kind::poll;
    answer.state = Value::object({{"polls", retry_count}});
  } else {
    std::int64_t counter = static_cast<std::int64_t>(random.below(1000)) * 100;
    answer.result.store_params = features_.stores ? random_params(random, counter) : Value::object();
    if (features_.resets && random.chance(25)) answer.result.reset_store_params.emplace_back("m");
    const Value* subtasks = local.find("_do");
    if (subtasks && random.chance(80)) answer.result.subtask_config = *subtasks;
  }
  return answer;
}

Ends::Task end_of(engine::TaskState state, std::int64_t retry_count, Value store_params, const Value& error) {
  if (store_params.is_object()) store_params.mutable_object().erase("answer");
  const Value* message = error.is_object() ? error.find("message") : nullptr;
  return {text_of(state), text_of(store_params) + (message ? " " + text_of(Value::object({{"message", *message}})) : ""), retry_count};
}

std::optional<Ends> ends_without_faults(const Setup& setup, const FakeOperators& operators) {
  Model model(setup.tree, setup.params, TimeZone(), setup.options);
  Instant now{1'700'000'000'000};
  model.start(now);
  const auto key_of = [&](int row) {
    const std::string& name = model.rows()[static_cast<std::size_t>(row)].full_name;
    const auto begin = model.rows().begin();
    return name + "#" + std::to_string(std::count_if(begin, begin + row, [&](const Row& other) { return other.full_name == name; }));
  };
  std::deque<int> runs;
  while (!model.done()) {
    if (model.rows().size() > most_rows) return std::nullopt;
    for (const auto& run : model.take_wanted().runs) runs.push_back(run.row);
    if (runs.empty()) {
      now = std::max(now, model.next_tick().value());
      model.tick(now);
      continue;
    }
    const int index = runs.front();
    runs.pop_front();
    const Row row = model.rows()[static_cast<std::size_t>(index)];
    const auto answer =
        operators.answer(key_of(index), row.local, model.params_of(index).find("_retry") ? *model.params_of(index).find("_retry") : Value(),
                         row.retry_count);
    if (answer.kind == FakeOperators::Answer::Kind::failure)
      model.failed(index, row.lease, answer.error, answer.retryable, answer.retry, now);
    else if (answer.kind == FakeOperators::Answer::Kind::poll)
      model.retry_later(index, row.lease, answer.delay_millis, answer.state, answer.retry, now);
    else
      model.succeeded(index, row.lease, answer.result, answer.retry, now);
  }
  Ends ends;
  ends.success = model.success();
  for (int i = 0; i < static_cast<int>(model.rows().size()); ++i) {
    const Row& row = model.rows()[static_cast<std::size_t>(i)];
    ends.tasks.emplace(key_of(i), end_of(row.state, row.retry_count, row.store_params, row.error));
  }
  return ends;
}

}  // namespace digdag::simulation
