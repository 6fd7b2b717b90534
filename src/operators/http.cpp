#include "operators/http_exchange.h"

namespace digdag::operators {
namespace {

/// http>: one HTTP request (spec/operators.md 5.1).
class Http : public Operator {
 public:
  Outcome run(TaskContext& task) override {
    HttpExchange exchange(task, {.operator_name = "http>",
                                 .secret_uri = true,
                                 .allowed_hosts_key = "config.http.allowed_hosts",
                                 .most_content_key = "config.http.max_stored_response_content_size"});
    const bool store_content = exchange.options().boolean_or("store_content", false);
    auto answer = exchange.perform();
    if (auto* later = std::get_if<RetryLater>(&answer)) return std::move(*later);
    const auto& response = std::get<client::HttpResponse>(answer);

    engine::TaskResult result;
    Value stored = Value::object({{"last_status", response.status}});
    result.reset_store_params.push_back("http.last_status");
    if (store_content) {
      result.reset_store_params.push_back("http.last_content");
      stored.mutable_object().set("last_content", exchange.content_of(response));
    }
    result.store_params = Value::object({{"http", std::move(stored)}});
    return result;
  }
};

}  // namespace

std::unique_ptr<Operator> make_http() { return std::make_unique<Http>(); }

}  // namespace digdag::operators
