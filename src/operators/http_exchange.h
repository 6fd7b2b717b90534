#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "client/http.h"
#include "operators/operator.h"

namespace digdag::operators {

/// One HTTP request of a task: its options, what counts as success, and when it is tried again. Shared by http> and
/// http_call> (spec/operators.md 5.1, 3.2).
class HttpExchange {
 public:
  struct Rules {
    const char* operator_name;
    bool secret_uri;  ///< the secret `http.uri` goes before the command
    // Keys of the system configuration:
    std::string_view allowed_hosts_key;  ///< O-34, O-11
    std::string_view most_content_key;   ///< characters of the answer that are of use
  };

  /// Reads and checks the options. The task must outlive this.
  HttpExchange(TaskContext& task, const Rules& rules);

  /// Sends it, once. A response is a success; failures that are worth another try give RetryLater; others are thrown.
  std::variant<client::HttpResponse, RetryLater> perform();

  /// The options, with those of the nested object `http` below them.
  const Config& options() const { return options_; }
  /// The body as text; task_error `Response content too large: {n} > {max}`.
  std::string content_of(const client::HttpResponse& response) const;
  /// The URI without what must not be shown.
  const std::string& shown_uri() const { return shown_uri_; }

 private:
  Value option_with_secrets(std::string_view key) const;
  std::optional<std::string> secret(std::string_view key) const;
  void read_uri();
  void read_headers();
  void read_content();
  void read_proxy();
  Error status_error(const client::HttpResponse& response) const;
  std::string body_summary(const client::HttpResponse& response) const;
  RetryLater again_later(const Error& error) const;

  TaskContext& task_;
  const Rules rules_;
  const SystemConfig& system_;
  const std::size_t most_content_;
  const Value merged_;
  const Config options_;
  client::HttpRequest request_;
  std::string shown_uri_;
  bool retry_ = false;
};

}  // namespace digdag::operators
