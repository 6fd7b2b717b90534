#include "store/sqlite_library.h"

#include "base/library.h"

namespace digdag::store {
namespace {

Sqlite3 load() {
  const Library library("libsqlite3.so.0", "the database needs", "libsqlite3-0");
  Sqlite3 functions{};
  library.find(functions.open_v2, "sqlite3_open_v2");
  library.find(functions.close_v2, "sqlite3_close_v2");
  library.find(functions.exec, "sqlite3_exec");
  library.find(functions.prepare_v3, "sqlite3_prepare_v3");
  library.find(functions.finalize, "sqlite3_finalize");
  library.find(functions.step, "sqlite3_step");
  library.find(functions.reset, "sqlite3_reset");
  library.find(functions.clear_bindings, "sqlite3_clear_bindings");
  library.find(functions.stmt_readonly, "sqlite3_stmt_readonly");
  library.find(functions.bind_parameter_index, "sqlite3_bind_parameter_index");
  library.find(functions.bind_int64, "sqlite3_bind_int64");
  library.find(functions.bind_text64, "sqlite3_bind_text64");
  library.find(functions.bind_blob64, "sqlite3_bind_blob64");
  library.find(functions.bind_null, "sqlite3_bind_null");
  library.find(functions.column_count, "sqlite3_column_count");
  library.find(functions.column_decltype, "sqlite3_column_decltype");
  library.find(functions.column_type, "sqlite3_column_type");
  library.find(functions.column_int64, "sqlite3_column_int64");
  library.find(functions.column_text, "sqlite3_column_text");
  library.find(functions.column_blob, "sqlite3_column_blob");
  library.find(functions.column_bytes, "sqlite3_column_bytes");
  library.find(functions.total_changes64, "sqlite3_total_changes64");
  library.find(functions.get_autocommit, "sqlite3_get_autocommit");
  library.find(functions.errmsg, "sqlite3_errmsg");
  library.find(functions.errstr, "sqlite3_errstr");
  library.find(functions.extended_errcode, "sqlite3_extended_errcode");
  library.find(functions.extended_result_codes, "sqlite3_extended_result_codes");
  library.find(functions.system_errno, "sqlite3_system_errno");
  library.find(functions.busy_timeout, "sqlite3_busy_timeout");
  library.find(functions.create_function_v2, "sqlite3_create_function_v2");
  library.find(functions.user_data, "sqlite3_user_data");
  library.find(functions.result_int64, "sqlite3_result_int64");
  library.find(functions.result_text, "sqlite3_result_text");
  return functions;
}

}  // namespace

const Sqlite3& sqlite() {
  static const Sqlite3 functions = load();
  return functions;
}

}  // namespace digdag::store
