#include "operators/missing.h"

#include <algorithm>
#include <array>

#include "operators/operator.h"

namespace digdag::operators {

bool is_missing_operator(std::string_view name) {
  // What the original has beside those of the registry (spec/operators.md 2).
  static constexpr std::array<std::string_view, 26> others = {
      "bq",          "bq_ddl",        "bq_extract",        "bq_load",          "embulk", "emr",
      "gcs_wait",    "mail",          "param_get",         "param_set",        "pg",     "rb",
      "redshift",    "redshift_load", "redshift_unload",   "s3_wait",          "td",     "td_ddl",
      "td_for_each", "td_load",       "td_partial_delete", "td_result_export", "td_run", "td_table_export",
      "td_wait",     "td_wait_table"};
  return std::find(others.begin(), others.end(), name) != others.end() && !find_operator(name);
}

}  // namespace digdag::operators
