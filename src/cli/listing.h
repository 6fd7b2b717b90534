#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/value.h"
#include "cli/arguments.h"
#include "cli/remote.h"
#include "cli/times.h"

namespace digdag::cli {

/// --json, --jsonl, --utc, --iso.
std::vector<Option> output_options();
/// --all and --limit, then those of `output_options`.
std::vector<Option> listing_options();

/// A list that the server gives in pages (spec/rest-api.md 1.6).
struct PagedList {
  std::string path;
  client::RestClient::Query query;                    ///< of every page
  std::string member;                                 ///< of the answer: `sessions`
  std::int64_t page_size = 100;                       ///< what a full page has
  std::function<bool(const Value& row)> wanted = {};  ///< unset: all rows are
};

/// The rows in the order of the server: one page; with --limit N so many, with --all all of them. Where rows are chosen by
/// `wanted`, as many pages are read as are needed for a full one. Where nobody gave a number, a note on standard error says that
/// there may be more.
Array fetch_rows(Remote& remote, const Arguments& arguments, const PagedList& list);

/// Of a list without pages: --limit N keeps the first N rows.
void limit_rows(Array& rows, const Arguments& arguments);

/// Prints rows as JSON where --json (one object with the member) or --jsonl (a row a line) asks for it; else gives false.
bool print_as_json(const Arguments& arguments, std::string_view member, const Array& rows);
/// The same for a single object.
bool print_as_json(const Arguments& arguments, const Value& object);

}  // namespace digdag::cli
