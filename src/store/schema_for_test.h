#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <string>
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
    if (std::string_view(GetParam()) == "postgresql") system_ = PostgresqlForTest::instance().new_database();
    system_.set("database.type", GetParam());
    database_ = open_database(system_, log_);
    migrate(*database_);
  }
  /// Does it in a transaction.
  template <typename Work>
  auto write(Work work) {
    return database_->write(std::move(work));
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

#define DIGDAG_FOR_EVERY_DATABASE(fixture) \
  INSTANTIATE_TEST_SUITE_P(Every, fixture, testing::Values("memory", "postgresql"), [](const auto& kind) { return kind.param; })

}  // namespace digdag::store
