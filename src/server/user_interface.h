#pragma once

#include "server/http.h"

namespace digdag::server {

/// The answer to a path outside of /api (spec/rest-api.md 14): a page for every path that is no file, nothing that needs credentials.
Response user_interface(const Request& request);

}  // namespace digdag::server
