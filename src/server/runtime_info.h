#pragma once

#include "base/log.h"
#include "base/properties.h"
#include "server/http_server.h"

namespace digdag::server {

/// Writes the real addresses to the file that `server.runtime-info.path` names, if it does (spec/server.md 21). A file that cannot be
/// written is worth a WARN only.
void write_runtime_info(const SystemConfig& config, const HttpServer& server, Log& log);

}  // namespace digdag::server
