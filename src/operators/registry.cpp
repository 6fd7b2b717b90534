#include <array>

#include "operators/operator.h"

namespace digdag::operators {

// One declaration and one row for each operator: adding one touches these two lines.
std::unique_ptr<Operator> make_call();
std::unique_ptr<Operator> make_echo();
std::unique_ptr<Operator> make_fail();
std::unique_ptr<Operator> make_for_each();
std::unique_ptr<Operator> make_for_range();
std::unique_ptr<Operator> make_http();
std::unique_ptr<Operator> make_http_call();
std::unique_ptr<Operator> make_if();
std::unique_ptr<Operator> make_loop();
std::unique_ptr<Operator> make_notify();
std::unique_ptr<Operator> make_py();
std::unique_ptr<Operator> make_require();
std::unique_ptr<Operator> make_sh();
std::unique_ptr<Operator> make_wait();

namespace {

// Sorted by name.
const std::array operators{
    OperatorType{.name = "call", .make = make_call, .honours_retry = true},
    OperatorType{.name = "echo", .make = make_echo, .warns_unused_keys = true},
    OperatorType{.name = "fail", .make = make_fail, .warns_unused_keys = true},
    OperatorType{.name = "for_each", .make = make_for_each, .keys = {"_do", "_parallel"}},
    OperatorType{.name = "for_range", .make = make_for_range, .keys = {"_do", "_parallel"}},
    OperatorType{.name = "http",
                 .make = make_http,
                 .honours_retry = true,
                 .blocks = true,
                 .keys = {"method", "content", "content_format", "content_type", "headers", "query", "store_content", "retry", "timeout",
                          "follow_redirects", "insecure", "proxy", "max_retries", "http"}},
    OperatorType{.name = "http_call",
                 .make = make_http_call,
                 .honours_retry = true,
                 .blocks = true,
                 .keys = {"content_type_override", "method", "content", "content_format", "content_type", "headers", "query", "retry",
                          "timeout", "follow_redirects", "insecure", "proxy", "max_retries", "http"}},
    OperatorType{.name = "if", .make = make_if, .warns_unused_keys = true, .keys = {"_do", "_else_do"}},
    OperatorType{.name = "loop", .make = make_loop, .keys = {"count", "_do", "_parallel"}},
    OperatorType{.name = "notify", .make = make_notify, .honours_retry = true, .blocks = true, .warns_unused_keys = true},
    OperatorType{.name = "py", .make = make_py, .honours_retry = true, .takes_any_key = true, .keys = {"script", "python", "_env"}},
    OperatorType{.name = "require",
                 .make = make_require,
                 .honours_retry = true,
                 .has_cleanup = true,
                 .keys = {"session_time", "project_id", "project_name", "rerun_on", "ignore_failure", "retry_attempt_name", "params",
                          "propagate_kill"}},
    OperatorType{.name = "sh", .make = make_sh, .honours_retry = true, .takes_any_key = true, .keys = {"shell", "_env"}},
    OperatorType{.name = "wait", .make = make_wait, .warns_unused_keys = true, .keys = {"blocking", "poll_interval"}},
};

}  // namespace

const OperatorType* find_operator(std::string_view name) {
  for (const OperatorType& type : operators)
    if (type.name == name) return &type;
  return nullptr;
}

std::vector<std::string_view> operator_names() {
  std::vector<std::string_view> names;
  names.reserve(operators.size());
  for (const OperatorType& type : operators) names.push_back(type.name);
  return names;
}

}  // namespace digdag::operators
