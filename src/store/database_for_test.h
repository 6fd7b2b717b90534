#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>

#include "base/log.h"
#include "base/properties.h"
#include "base/temporary_directory_for_test.h"
#include "store/database.h"
#include "store/migrations.h"
#include "store/postgresql_for_test.h"

namespace digdag::store {

/// For tests: a database of the kind that is the parameter, empty but for its schema.
class DatabaseOfKind : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (std::string_view(GetParam()) == "postgresql") {
      system_ = PostgresqlForTest::instance().new_database();
    } else {
      system_.set("database.type", GetParam());
      system_.set("database.path", directory_ / "database");
    }
    database_ = open_database(system_, log_);
    migrate(*database_);
  }

  /// What the log says.
  std::string logged() {
    log_.flush();
    std::ifstream file(directory_ / "log");
    return {std::istreambuf_iterator<char>(file), {}};
  }

  TemporaryDirectory directory_;
  SystemConfig system_;
  Log log_{{.file = directory_ / "log"}};
  std::unique_ptr<Database> database_;
};

/// The database in memory is that of SQLite.
#define WITH_EACH_DATABASE(fixture) \
  INSTANTIATE_TEST_SUITE_P(Each, fixture, testing::Values("memory", "postgresql"), [](const auto& kind) { return std::string(kind.param); })

}  // namespace digdag::store
