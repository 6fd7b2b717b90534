#include "base/json.h"
#include "base/text.h"
#include "dig/loader.h"
#include "operators/http_exchange.h"
#include "operators/recursion.h"

namespace digdag::operators {
namespace {

const std::string file_name = "http_call.dig";

/// The media type of an answer, in lower case, without its parameters.
std::string media_type(std::string_view content_type) { return lower(trim(content_type.substr(0, content_type.find(';')))); }

/// http_call>: the tasks of a workflow that is fetched over HTTP as subtasks (spec/operators.md 3.2).
class HttpCall : public Operator {
 public:
  Outcome run(TaskContext& task) override {
    const bool own_hosts = task.system->get("config.http_call.allowed_hosts").has_value();
    HttpExchange exchange(task, {.operator_name = "http_call>",
                                 .secret_uri = false,
                                 .allowed_hosts_key = own_hosts ? "config.http_call.allowed_hosts" : "config.http.allowed_hosts",
                                 .most_content_key = "config.http_call.max_response_content_size"});
    if (generation_depth(task.identity.task_name) >= most_generations)
      throw config_error("http_call> recursion: " + exchange.shown_uri() + " at " + std::to_string(most_generations) + " levels");
    auto answer = exchange.perform();
    if (auto* later = std::get_if<RetryLater>(&answer)) return std::move(*later);
    const Value document = definition(task, exchange, std::get<client::HttpResponse>(std::move(answer)));
    return engine::TaskResult{.subtask_config = dig::called_workflow(workflow_name(task), document, workflow_name(task) + ".dig")};
  }

 private:
  static Value definition(const TaskContext& task, const HttpExchange& exchange, client::HttpResponse response) {
    const auto sent = response.header("content-type");
    const auto override_type = exchange.options().optional_string("content_type_override");
    if (!sent && !override_type) throw task_error("Content-Type must be set in the HTTP response but not set");
    const std::string type = override_type.value_or(sent.value_or(""));
    response.headers = {{"content-type", type}};
    const std::string content = exchange.content_of(response);
    if (media_type(type) == "application/json") {
      Value document = json_of(content);
      task.info("Fetched definition for http_call>:\n" + to_yaml(document));
      return document;
    }
    if (media_type(type) != "application/x-yaml")
      throw task_error("Unsupported Content-Type (expected application/json or application/x-yaml): " +
                       (sent ? media_type(*sent) : std::string()));
    task.info("Fetched definition for http_call>:\n" + content);
    return dig::load_yaml(content, {.directory = task.workspace(), .root = task.project_directory(), .display_name = file_name});
  }

  static Value json_of(const std::string& content) {
    try {
      return parse_json(content);
    } catch (const Error& error) {
      throw Error("runtime", "Failed to parse response as JSON: " + error.message());
    }
  }

  /// As if it stood in the workspace: with `_workdir` its tasks find their files there.
  static std::string workflow_name(const TaskContext& task) {
    const auto directory = task.workspace().lexically_normal().lexically_relative(task.project_directory().lexically_normal());
    return (directory / "http_call").lexically_normal().string();
  }
};

}  // namespace

std::unique_ptr<Operator> make_http_call() { return std::make_unique<HttpCall>(); }

}  // namespace digdag::operators
