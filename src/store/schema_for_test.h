#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string_view>
#include <utility>

#include "base/temporary_directory_for_test.h"
#include "store/database.h"
#include "store/migrations.h"
#include "store/postgresql_for_test.h"

namespace digdag::store {

/// For tests: a database with its schema, of the kind that the parameter names.
class DatabaseWithSchema : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    SystemConfig system;
    if (std::string_view(GetParam()) == "postgresql") system = PostgresqlForTest::instance().new_database();
    system.set("database.type", GetParam());
    database_ = open_database(system, log_);
    migrate(*database_);
  }
  /// Does it in a transaction.
  template <typename Work>
  auto write(Work work) {
    return database_->write(std::move(work));
  }

  Log log_{{.level = LogLevel::error, .console_to_stderr = true}};
  std::unique_ptr<Database> database_;
};

#define DIGDAG_FOR_EVERY_DATABASE(fixture) \
  INSTANTIATE_TEST_SUITE_P(Every, fixture, testing::Values("memory", "postgresql"), [](const auto& kind) { return kind.param; })

}  // namespace digdag::store
