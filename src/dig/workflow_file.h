#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/value.h"
#include "dig/workflow.h"

namespace digdag::dig {

/// `workflow_of` (loader.h) that goes on after a fault: the workflow as far as it goes, and every error.
Workflow split_workflow(std::string name, const Value& document, std::string file, std::vector<Error>& errors);

}  // namespace digdag::dig
