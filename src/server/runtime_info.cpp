#include "server/runtime_info.h"

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"

namespace digdag::server {
namespace {

Value addresses(const std::optional<HttpServer::Address>& address) {
  Array list;
  if (address) list.push_back(Value::object({{"host", address->host}, {"port", address->port}}));
  return list;
}

}  // namespace

void write_runtime_info(const SystemConfig& config, const HttpServer& server, Log& log) {
  const std::string path(trim(config.get_or("server.runtime-info.path", "")));
  if (path.empty()) return;
  const Value info =
      Value::object({{"local_addresses", addresses(server.api_address())}, {"local_admin_addresses", addresses(server.admin_address())}});
  try {
    write_file_atomically(path, to_json(info));
  } catch (const Error& error) {
    log.write(LogLevel::warn, "main", "server", "Cannot write server.runtime-info.path: " + error.message());
  }
}

}  // namespace digdag::server
