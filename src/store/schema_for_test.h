#pragma once

#include "store/database_for_test.h"
#include "store/migrations.h"

namespace digdag::store {

/// For tests: a database with its schema, of the kind that the parameter names.
class DatabaseWithSchema : public DatabaseOfKind {
 protected:
  void SetUp() override { migrate(*database_); }
};

/// The database in memory is that of SQLite.
#define DIGDAG_FOR_EVERY_DATABASE(fixture) \
  INSTANTIATE_TEST_SUITE_P(Every, fixture, testing::Values("memory", "postgresql"), store::name_of_kind)

}  // namespace digdag::store
