#include "server/json.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace digdag::server {
namespace {

store::SessionAttempt attempt_with(std::uint8_t flags) {
  return {.id = 4,
          .index = 1,
          .site_id = 0,
          .project_id = 1,
          .project_name = "orders",
          .workflow_name = "slow",
          .workflow_definition_id = 6,
          .session_id = 3,
          .session_uuid = "60a3beb9-c5b3-412c-9ccf-d6659e8e8744",
          .session_time = parse_instant("2026-03-05T00:00:00Z").value(),
          .timezone = TimeZone::of("America/New_York").value(),
          .retry_attempt_name = {},
          .flags = flags,
          .params = {},
          .created_at = store::Timestamp::of(parse_instant("2026-11-21T00:19:26.999Z").value()),
          .finished_at = {}};
}

std::string status(std::uint8_t flags) { return attempt_json(attempt_with(flags)).find("status")->as_string(); }

// rest-api 18.16, 18.18, 18.19, 18.20, 18.57
TEST(Json, AnAttemptHasTheFieldsOfTheWireInTheirOrder) {
  EXPECT_EQ(to_json(attempt_json(attempt_with(0))),
            R"({"status":"running","id":"4","index":1,"project":{"id":"1","name":"orders"},"workflow":{"name":"slow","id":"6"},)"
            R"("sessionId":"3","sessionUuid":"60a3beb9-c5b3-412c-9ccf-d6659e8e8744","sessionTime":"2026-03-04T19:00:00-05:00",)"
            R"("retryAttemptName":null,"done":false,"success":false,"cancelRequested":false,"params":{},)"
            R"("createdAt":"2026-11-21T00:19:26Z","finishedAt":null})");
}

// rest-api 18.85
TEST(Json, TheStatusOfAnAttemptFollowsFromItsFlags) {
  using namespace store;
  EXPECT_EQ(status(0), "running");
  EXPECT_EQ(status(attempt_cancel_requested), "running");
  EXPECT_EQ(status(attempt_done), "error");
  EXPECT_EQ(status(attempt_done | attempt_cancel_requested), "killed");
  EXPECT_EQ(status(attempt_done | attempt_success), "success");
  EXPECT_EQ(status(attempt_done | attempt_success | attempt_cancel_requested), "success");
}

// rest-api 18.86, 18.87
TEST(Json, ATaskShowsItsExportsWithWhatItExported) {
  engine::StoredTask task;
  task.id = 9;
  task.is_group = true;
  task.full_name = "+w";
  task.state = engine::TaskState::planned;
  task.flags = engine::cancel_requested;
  task.local = parse_json(R"({"_parallel":true})");
  task.export_config = parse_json(R"({"a":{"x":1},"b":2})");
  task.export_params = parse_json(R"({"a":{"y":3}})");
  task.upstreams = {7, 8};
  EXPECT_EQ(to_json(task_json(task)),
            R"({"id":"9","fullName":"+w","parentId":null,"config":{"_parallel":true,"_export":{"a":{"x":1},"b":2}},"upstreams":["7","8"],)"
            R"("state":"planned","cancelRequested":true,"exportParams":{"a":{"x":1,"y":3},"b":2},"storeParams":{},"stateParams":{},)"
            R"("updatedAt":"1970-01-01T00:00:00Z","retryAt":null,"startedAt":null,"error":{},"isGroup":true})");
}

TEST(Json, TimesAreCutToSeconds) {
  EXPECT_EQ(instant_text(Instant{1999}), "1970-01-01T00:00:01Z");
  EXPECT_EQ(instant_text(Instant{-1}), "1969-12-31T23:59:59Z");
}

}  // namespace
}  // namespace digdag::server
