#pragma once

#include "base/properties.h"
#include "dig/template.h"

namespace digdag::dig {

/// How templates are evaluated, as `eval.*` of the configuration says. Throws Error(config) for a value that cannot be.
TemplateOptions template_options(const SystemConfig& system);

}  // namespace digdag::dig
