#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/properties.h"
#include "server/authenticator.h"
#include "server/http.h"
#include "server/router.h"

namespace digdag::server {

/// What every request passes on its way to a route and every answer on its way back: who asks, whether a foreign web page does, the
/// configured headers, CORS, and errors as JSON (spec/rest-api.md 2, 14; decisions.md ). Paths outside of /api are
/// the user interface's.
class FrontDoor : public Handler {
 public:
  /// `server.http.headers.*`, `server.enable-swagger`, `server.cors.allow-origin`. All references must outlive it.
  FrontDoor(const SystemConfig& config, const Router& router, const Authenticator& authenticator, Log& log);

  /// What to ask before something is changed: why nothing may be, at the moment; nothing where it may (spec/decisions.md V-43). On any
  /// thread.
  void ask_before_writes(std::function<std::optional<std::string>()> refusal) { writes_refused_ = std::move(refusal); }

  Admission admit(Request& request) override;
  Response answer(Request& request) override;
  void add_headers(const Request& request, Response& response) override;

 private:
  Response answer_of_route(const Request& request) const;
  /// Whether a web page of another place wants to change something.
  bool is_foreign_write(const Request& request) const;
  bool allows_origin(std::string_view origin) const;
  void add_cors_headers(const Request& request, Response& response) const;

  const Router& router_;
  const Authenticator& authenticator_;
  Log& log_;
  std::vector<std::pair<std::string, std::string>> headers_;
  std::function<std::optional<std::string>()> writes_refused_ = [] { return std::nullopt; };
  bool swagger_;
  std::vector<std::string> allowed_origins_;
};

}  // namespace digdag::server
