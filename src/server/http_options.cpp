// The keys of server.* that are about listening and limits (spec/server.md 4.1).
#include <algorithm>
#include <limits>
#include <thread>

#include "server/http_server.h"

namespace digdag::server {
namespace {

std::int64_t in_range(const SystemConfig& config, std::string_view key, std::int64_t fallback, std::int64_t least, std::int64_t most) {
  const std::int64_t value = config.integer_or(key, fallback);
  if (value < least || value > most)
    throw config_error("'" + std::string(key) + "' must be between " + std::to_string(least) + " and " + std::to_string(most) + " but is " +
                       std::to_string(value));
  return value;
}

int port(const SystemConfig& config, std::string_view key, int fallback) {
  return static_cast<int>(in_range(config, key, fallback, 0, 65535));
}

std::chrono::milliseconds seconds(const SystemConfig& config, std::string_view key, std::int64_t fallback) {
  return std::chrono::seconds(in_range(config, key, fallback, 1, 1'000'000));
}

}  // namespace

HttpServer::Options HttpServer::Options::of(const SystemConfig& config) {
  Options options;
  options.api = {config.get_or("server.bind", "127.0.0.1"), port(config, "server.port", 65432)};
  if (config.get("server.admin.port"))
    options.admin = Address{config.get_or("server.admin.bind", options.api.host), port(config, "server.admin.port", 0)};
  const auto cores = static_cast<std::int64_t>(std::max(std::thread::hardware_concurrency(), 2U));
  options.worker_threads = static_cast<std::size_t>(in_range(config, "server.http.worker-threads", cores * 8, 1, 10'000));
  options.connections = static_cast<std::size_t>(in_range(config, "server.http.max-connections", 20'000, 1, 1'000'000));
  options.no_request_timeout = seconds(config, "server.http.no-request-timeout", 60);
  options.request_parse_timeout = seconds(config, "server.http.request-parse-timeout", 30);
  options.io_idle_timeout = seconds(config, "server.http.io-idle-timeout", 300);
  return options;
}

std::string address_text(const HttpServer::Address& address) {
  const bool v6 = address.host.find(':') != std::string::npos;
  return (v6 ? '[' + address.host + ']' : address.host) + ':' + std::to_string(address.port);
}

}  // namespace digdag::server
