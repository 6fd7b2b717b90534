#pragma once

#include <cstdint>
#include <string>

#include "base/log.h"
#include "dig/template.h"

namespace digdag::simulation {

/// Two servers on one database that run random workflows, and what happens to them: at every step a server may die, be held up for so
/// long that the other one takes it for dead, or lose the database; commits fail before and after they happened; the power is cut;
/// attempts are killed; agents answer late and in any order. Then all faults end, and everything must end as it should.
///
/// The same seed gives the same history. `log`: gets what happens; nullptr: nobody. Throws Disagreement.
void simulate_history(std::uint64_t seed, Log& program_log, const dig::TemplateEngine& templates, std::string* log);

}  // namespace digdag::simulation
