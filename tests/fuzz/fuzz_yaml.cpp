// YAML as the language reads it: any bytes give a value or errors, quickly; what comes out can be written and compiled.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "dig/compiler.h"
#include "dig/document.h"
#include "dig/workflow_file.h"

using namespace digdag;
using namespace digdag::dig;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const LoadLimits limits{.bytes = 1 << 20, .nodes = 10'000, .depth = 50, .files = 1};
  const Document document = load_document(text, {.directory = "/nonexistent", .root = "/nonexistent", .display_name = "fuzz.dig"}, limits);
  if (!document.value.is_object()) std::abort();
  for (const Error& error : document.errors) {
    if (error.report().empty()) std::abort();
  }
  if (!(parse_json(to_json(document.value)) == document.value)) std::abort();

  std::vector<Error> errors;
  const Workflow workflow = split_workflow("fuzz", document.value, "fuzz.dig", errors);
  const TaskTree tree = compile(workflow, errors);
  for (std::size_t i = 0; i < tree.tasks.size(); ++i) {
    for (const std::int32_t upstream : all_upstreams(tree, static_cast<std::int32_t>(i))) {
      if (upstream < 1 || upstream >= static_cast<std::int32_t>(i)) std::abort();
    }
  }
  return 0;
}
