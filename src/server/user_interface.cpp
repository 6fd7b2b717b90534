#include "server/user_interface.h"

#include <array>
#include <string_view>

namespace digdag::server {
namespace {

constexpr std::string_view page = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Digdag</title>
</head>
<body>
<h1>Digdag</h1>
<p>This server has no web interface yet. Its API is below <a href="/api/version"><code>/api/</code></a>;
<code>digdag workflows</code>, <code>digdag sessions</code>, <code>digdag log</code> and the other client commands speak to it.</p>
</body>
</html>
)";

// The fields that installations override through a proxy, with the values of the original (spec/web-ui.md 1.1).
constexpr std::string_view configuration = R"(window.DIGDAG_CONFIG = {
  url: '/api/',
  td: {
    useTD: false,
    apiV4: 'https://api.treasuredata.com/v4',
    connectorUrl: function (name) { return 'https://console.treasuredata.com/connections/data-transfers/' + name },
    queryUrl: function (id) { return 'https://console.treasuredata.com/app/queries/' + id },
    jobUrl: function (id) { return 'https://console.treasuredata.com/app/jobs/' + id }
  },
  logoutUrl: '/',
  navbar: {
    logo: '/images/logo.png',
    brand: 'Digdag',
    className: 'navbar-inverse',
    style: { backgroundColor: '#2B353F' }
  },
  auth: {
    title: 'Authentication',
    items: []
  },
  headers: function (args) { return {} }
}
)";

}  // namespace

Response user_interface(const Request& request) {
  constexpr std::string_view allowed = "HEAD, GET, OPTIONS";
  if (request.method != "GET" && request.method != "HEAD") {
    Response response = request.method == "OPTIONS" ? Response::bytes("text/plain", std::string(allowed)) : Response::empty(405);
    response.headers.add("Allow", allowed);
    return response;
  }
  if (request.path == "/config.js") return Response::bytes("application/javascript", std::string(configuration));
  if (request.path.starts_with("/assets/") || request.path.starts_with("/images/")) return Response::empty(404);
  return Response::bytes("text/html;charset=utf-8", std::string(page));
}

}  // namespace digdag::server
