#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "base/properties.h"
#include "base/temporary_directory_for_test.h"
#include "store/database.h"
#include "store/postgresql_for_test.h"

namespace digdag::store {

/// For tests: an empty database of the kind that the parameter names.
class DatabaseOfKind : public testing::TestWithParam<const char*> {
 protected:
  DatabaseOfKind() {
    if (std::string_view(GetParam()) == "postgresql") {
      system_ = PostgresqlForTest::instance().new_database();
    } else {
      system_.set("database.type", GetParam());
      system_.set("database.path", directory_ / "database");
    }
    open();
  }
  /// Opens it, anew.
  void open() {
    database_.reset();
    database_ = open_database(system_, log_);
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

inline std::string name_of_kind(const testing::TestParamInfo<const char*>& kind) { return kind.param; }

}  // namespace digdag::store
