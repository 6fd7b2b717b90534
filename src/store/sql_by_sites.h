#pragma once

#include <string>

#include "store/database.h"
#include "store/site_selection.h"

namespace digdag::store {

/// Asks with the statement for this selection of sites, whose list is the last parameter where it has one.
struct BySites {
  Sql all, only, except;
  Rows query(Transaction& transaction, const SiteSelection& sites, SqlValues parameters) const {
    if (sites.mode == SiteSelection::Mode::all) return transaction.query(all, parameters);
    parameters.emplace_back(sites.sites);
    return transaction.query(sites.mode == SiteSelection::Mode::only ? only : except, parameters);
  }
};
/// `column` is the site, `list` the number of its parameter; `before` and `after` are the rest of the statement.
#define BY_SITES(before, column, list, after)                                                                                           \
  BySites {                                                                                                                             \
    Sql(before after),                                                                                                                  \
        Sql(before " and " column " = any(" list ")" after, before " and " column " in (select value from json_each(" list "))" after), \
        Sql(before " and " column " <> all(" list ")" after,                                                                            \
            before " and " column " not in (select value from json_each(" list "))" after)                                              \
  }

}  // namespace digdag::store
