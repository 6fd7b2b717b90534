#pragma once

#include <sqlite3.h>

namespace digdag::store {

/// The functions of SQLite that are used, looked up when the first database is opened: the binary does not link the library, so its
/// start does not pay for it.
struct Sqlite3 {
  decltype(&sqlite3_open_v2) open_v2;
  decltype(&sqlite3_close_v2) close_v2;
  decltype(&sqlite3_exec) exec;
  decltype(&sqlite3_prepare_v3) prepare_v3;
  decltype(&sqlite3_finalize) finalize;
  decltype(&sqlite3_step) step;
  decltype(&sqlite3_reset) reset;
  decltype(&sqlite3_clear_bindings) clear_bindings;
  decltype(&sqlite3_stmt_readonly) stmt_readonly;
  decltype(&sqlite3_bind_parameter_index) bind_parameter_index;
  decltype(&sqlite3_bind_int64) bind_int64;
  decltype(&sqlite3_bind_text64) bind_text64;
  decltype(&sqlite3_bind_blob64) bind_blob64;
  decltype(&sqlite3_bind_null) bind_null;
  decltype(&sqlite3_column_count) column_count;
  decltype(&sqlite3_column_decltype) column_decltype;
  decltype(&sqlite3_column_type) column_type;
  decltype(&sqlite3_column_int64) column_int64;
  decltype(&sqlite3_column_text) column_text;
  decltype(&sqlite3_column_blob) column_blob;
  decltype(&sqlite3_column_bytes) column_bytes;
  decltype(&sqlite3_total_changes64) total_changes64;
  decltype(&sqlite3_get_autocommit) get_autocommit;
  decltype(&sqlite3_errmsg) errmsg;
  decltype(&sqlite3_errstr) errstr;
  decltype(&sqlite3_extended_errcode) extended_errcode;
  decltype(&sqlite3_extended_result_codes) extended_result_codes;
  decltype(&sqlite3_system_errno) system_errno;
  decltype(&sqlite3_busy_timeout) busy_timeout;
  decltype(&sqlite3_create_function_v2) create_function_v2;
  decltype(&sqlite3_user_data) user_data;
  decltype(&sqlite3_result_int64) result_int64;
  decltype(&sqlite3_result_text) result_text;
};

/// Loaded once. Error(kind "io") `the database needs libsqlite3.so.0; install the package libsqlite3-0`. Thread-safe.
const Sqlite3& sqlite();

}  // namespace digdag::store
