#include "cli/listing.h"

#include <algorithm>
#include <iostream>
#include <limits>

#include "base/error.h"
#include "base/json.h"

namespace digdag::cli {
namespace {

/// How many rows are asked for.
std::int64_t limit_of(const Arguments& arguments, std::int64_t otherwise) {
  if (arguments.has("--all") && arguments.has("--limit")) throw UsageError{"--all and --limit can't be set together"};
  if (arguments.has("--all")) return std::numeric_limits<std::int64_t>::max();
  const std::int64_t limit = arguments.integer_or("--limit", otherwise);
  if (limit < 0) throw UsageError{"--limit must not be negative: " + std::to_string(limit)};
  return limit;
}

void note_more(std::size_t shown) {
  std::cerr << "Only " << shown << " are shown, there may be more. Use --all or --limit N to see them.\n";
}

}  // namespace

std::vector<Option> output_options() {
  std::vector<Option> options = {
      {{"--json"}, Option::Kind::flag, "", "print one JSON document with the fields of the REST API"},
      {{"--jsonl"}, Option::Kind::flag, "", "print a JSON object per line"},
  };
  for (Option& option : time_options()) options.push_back(std::move(option));
  return options;
}

std::vector<Option> listing_options() {
  std::vector<Option> options = {
      {{"--all"}, Option::Kind::flag, "", "show all, not only the first page"},
      {{"--limit"}, Option::Kind::integer, "N", "show N at most"},
  };
  for (Option& option : output_options()) options.push_back(std::move(option));
  return options;
}

Array fetch_rows(Remote& remote, const Arguments& arguments, const PagedList& list) {
  const std::int64_t limit = limit_of(arguments, list.page_size);
  const bool one_page = !arguments.has("--all") && !arguments.has("--limit") && !list.wanted;
  Array rows;
  client::RestClient::Query query = list.query;
  std::string last_id;
  while (true) {
    const Array page = list_at(remote.server().get(list.path, query), list.member);
    for (const Value& row : page) {
      if (list.wanted && !list.wanted(row)) continue;
      if (std::cmp_equal(rows.size(), limit)) {
        if (!arguments.has("--limit")) note_more(rows.size());
        return rows;
      }
      rows.push_back(row);
    }
    if (one_page && !page.empty() && std::cmp_greater_equal(page.size(), list.page_size)) note_more(rows.size());
    if (one_page || page.empty() || (arguments.has("--limit") && std::cmp_equal(rows.size(), limit))) return rows;
    if (text_at(page.back(), "id") == last_id) throw task_error("The server gives the same page of " + list.member + " again");
    last_id = text_at(page.back(), "id");
    std::erase_if(query, [](const auto& parameter) { return parameter.first == "last_id"; });
    query.emplace_back("last_id", last_id);
  }
}

void limit_rows(Array& rows, const Arguments& arguments) {
  const std::int64_t limit = limit_of(arguments, std::numeric_limits<std::int64_t>::max());
  if (std::cmp_greater(rows.size(), limit)) rows.resize(static_cast<std::size_t>(limit));
}

bool print_as_json(const Arguments& arguments, std::string_view member, const Array& rows) {
  if (arguments.has("--jsonl")) {
    for (const Value& row : rows) std::cout << to_json(row) << "\n";
    return true;
  }
  return print_as_json(arguments, Value::object({{member, Value(rows)}}));
}

bool print_as_json(const Arguments& arguments, const Value& object) {
  if (!arguments.has("--json") && !arguments.has("--jsonl")) return false;
  std::cout << to_json(object) << "\n";
  return true;
}

}  // namespace digdag::cli
