#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "dig/compiler.h"
#include "dig/loader.h"
#include "executor/round.h"

/// For tests: attempts of workflows that are given as text.
namespace digdag::executor {

inline engine::Attempt attempt_for_test(const std::string& name, const std::string& dig) {
  const std::string file = name + ".dig";
  const dig::Workflow workflow = dig::workflow_of(name, dig::load_yaml(dig, dig::Source{".", ".", file}), file);
  return {dig::compile(workflow), engine::Params(), TimeZone(), engine::AttemptOptions()};
}

inline Added added_for_test(std::int64_t attempt_id, const std::string& dig = "+x: {echo>: 1}\n") {
  AttemptIdentity identity;
  identity.attempt_id = attempt_id;
  return {std::move(identity), attempt_for_test("w", dig), {}};
}

}  // namespace digdag::executor
