#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "client/test_server.h"
#include "operators/task_test.h"

namespace digdag::operators {
namespace {

using client::TestServer;
using testing::HasSubstr;

constexpr const char* notification =
    R"({"timestamp":"1970-01-12T13:46:40Z","message":"it failed","site_id":0,"project_id":1,"project_name":"default",)"
    R"("workflow_name":"main","revision":null,"attempt_id":1,"session_id":1,"task_name":"+main+task","timezone":"UTC",)"
    R"("session_uuid":"11111111-2222-4333-8444-555555555555","session_time":"1970-01-01T00:00:00+00:00","workflow_definition_id":null})";

/// Lets the task notify with a real shell command.
TaskOf& notify_by(const std::string& command, TaskOf& task) {
  task.system.set("notification.type", "shell");
  task.system.set("notification.shell.command", command);
  task.run();
  command::CommandRunner runner;
  std::promise<command::CommandEnd> end;
  runner.start(
      std::get<RunCommand>(*task.outcome).request, [](std::string_view) {},
      [&](command::CommandEnd ended) { end.set_value(std::move(ended)); });
  return task.command_ended(end.get_future().get());
}

// operators 14.199
TEST(Notify, WithoutANotifierNothingHappens) { EXPECT_TRUE(TaskOf("notify>: it failed").run().succeeded()); }

TEST(Notify, AnUnknownNotifierIsNamed) {
  TaskOf task("notify>: x");
  task.system.set("notification.type", "pigeon");
  EXPECT_EQ(task.run().failure, "Unknown notification.type: pigeon (config)");
}

// server 23.73
TEST(Notify, PostsToAServer) {
  TestServer server([](const auto&) { return TestServer::answer("204 No Content", {}, ""); });
  TaskOf task("notify>: it failed");
  task.system.set("notification.type", "http");
  task.system.set("notification.http.url", server.url("/hook"));
  task.system.set("notification.http.headers.X-Token", "t");
  EXPECT_TRUE(task.run().succeeded()) << task.failure;
  const auto request = server.requests().at(0);
  EXPECT_EQ(request.line(), "POST /hook");
  EXPECT_EQ(request.headers.at("x-token"), "t");
  EXPECT_EQ(request.headers.at("content-type"), "application/json");
  EXPECT_EQ(request.body, notification);
}

// execution 32.64, server 23.73
TEST(Notify, TriesAgainAndThenFails) {
  TestServer server([](const auto&) { return TestServer::answer("500 x", {}, ""); });
  TaskOf task("notify>: it failed");
  task.system.set("notification.type", "http");
  task.system.set("notification.http.url", server.url("/hook"));
  for (const char* wait : {"1000", "3000", "9000", "27000", "30000", "30000", "30000", "30000", "30000", "30000"})
    EXPECT_EQ(task.run().stored(), "later: " + std::string(wait) + " ms");
  task.context.now = task.context.now.plus_seconds(100);
  EXPECT_EQ(task.run().failure, "Sending notification failed");
  EXPECT_THAT(task.log_text(), HasSubstr("Failed to send HTTP notification: status=500"));
  EXPECT_EQ(server.requests().back().body, server.requests().front().body) << "the time of the first try";
  task.context.state.mutable_object().set("retry_count", 1);
  EXPECT_EQ(task.run().stored(), "later: 1000 ms") << "_retry begins anew";
}

// execution 32.63
TEST(Notify, HandsItToACommand) {
  TaskOf task("notify>: it failed");
  EXPECT_TRUE(notify_by("cat > " + (task.project() / "got").string(), task).succeeded()) << task.failure;
  EXPECT_EQ(read_file(task.project() / "got"), notification);
}

// operators 14.198
TEST(Notify, ACommandGetsItOnStandardInputAloneWhateverItsSize) {
  TaskOf task("notify>: " + std::string(300'000, 'x'));
  const std::string command = "cat > got; cat /proc/self/cmdline /proc/$$/cmdline /proc/self/environ > visible";
  EXPECT_TRUE(notify_by("cd " + task.project().string() + "; " + command, task).succeeded()) << task.failure;
  EXPECT_THAT(read_file(task.project() / "got"), HasSubstr(std::string(300'000, 'x')));
  EXPECT_THAT(read_file(task.project() / "visible"), testing::Not(HasSubstr("xxx")));
}

TEST(Notify, AFailingCommandIsTriedAgain) {
  for (const char* code : {"3", "124", "137"}) {  // the last two: what the program timeout ends with
    TaskOf task("notify>: it failed");
    const std::string command = std::string("exit ") + code;
    EXPECT_EQ(notify_by(command, task).stored(), "later: 1000 ms");
    EXPECT_THAT(task.log_text(), HasSubstr("Notification shell command failed: " + command + ", exit code = " + code));
  }
}

TEST(Notify, ACommandThatHangsIsEnded) {
  TaskOf task("notify>: it failed");
  task.system.set("notification.shell.timeout", "200");
  EXPECT_EQ(notify_by("sleep 30", task).stored(), "later: 1000 ms");
  EXPECT_THAT(task.log_text(), HasSubstr("Notification shell command timed out: sleep 30"));
}

TEST(Notify, MailNeedsAServer) {
  TaskOf task("notify>: it failed");
  task.system.set("notification.type", "mail");
  EXPECT_EQ(task.run().failure, "Parameter 'notification.mail.host' is required but not set (config)");
  task.system.set("notification.mail.host", "127.0.0.1");
  task.system.set("notification.mail.port", "9");
  task.system.set("notification.mail.from", "d@x.org");
  task.system.set("notification.mail.to", "[\"a@x.org\", \"b@x.org\"]");
  EXPECT_EQ(task.run().stored(), "later: 1000 ms");
  EXPECT_THAT(task.log_text(), HasSubstr("Cannot send mail through 127.0.0.1:9"));
  task.system.set("notification.mail.to", "nobody");
  EXPECT_EQ(task.run().failure, "Invalid address: nobody (config)");
}

TEST(Notify, SecretsInTheMessageAreMasked) {
  TestServer server([](const auto&) { return TestServer::answer("200 OK", {}, ""); });
  TaskOf task("notify>: it failed with hunter2");
  task.context.mask = [](std::string_view) { return "it failed with ***"; };
  task.system.set("notification.type", "http");
  task.system.set("notification.http.url", server.url("/hook"));
  task.run();
  EXPECT_THAT(server.requests().at(0).body, HasSubstr("it failed with ***"));
}

}  // namespace
}  // namespace digdag::operators
