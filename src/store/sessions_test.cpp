#include "store/sessions.h"

#include <gmock/gmock.h>

#include "base/json.h"
#include "base/text.h"
#include "store/projects.h"
#include "store/schema_for_test.h"
#include "store/tasks.h"

namespace digdag::store {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class SessionsOf : public DatabaseWithSchema {
 protected:
  void SetUp() override {
    DatabaseWithSchema::SetUp();
    orders_ = write([](Transaction& transaction) { return Projects(transaction, 0).put_and_lock("orders").id; });
    billing_ = write([](Transaction& transaction) { return Projects(transaction, 0).put_and_lock("billing").id; });
  }
  std::optional<InsertedAttempt> start(std::int64_t project_id, const std::string& workflow, int hour,
                                       const std::optional<std::string>& retry_name = {}) {
    return write([&](Transaction& transaction) {
      Sessions sessions(transaction, 0);
      const Instant time = Instant::of_seconds(1'772'000'000 + hour * 3600).plus_millis(250);
      const std::int64_t session = sessions.put_session({project_id, workflow, time}, random_uuid()).id;
      return sessions.insert_attempt({.session_id = session,
                                      .project_id = project_id,
                                      .retry_attempt_name = retry_name,
                                      .workflow_definition_id = {},
                                      .timezone = TimeZone::of("Asia/Tokyo").value(),
                                      .params = parse_json(R"({"region":"eu","deep":{"n":1,"x":null}})")});
    });
  }
  template <typename Ask>
  auto ask(Ask question, std::int64_t site_id = 0) {
    return write([&](Transaction& transaction) {
      Sessions sessions(transaction, site_id);
      return question(sessions);
    });
  }
  /// `workflow#attempt` of a list of sessions.
  std::vector<std::string> sessions(const Sessions::Filter& filter, const Sessions::Page& page = {}) {
    std::vector<std::string> found;
    for (const auto& one : ask([&](Sessions& all) { return all.sessions(filter, page); })) {
      found.push_back(one.workflow_name + "#" + std::to_string(one.session_id) + "." + std::to_string(one.index));
    }
    return found;
  }
  std::vector<std::int64_t> attempts(const Sessions::Filter& filter, bool retried, const Sessions::Page& page = {}) {
    std::vector<std::int64_t> found;
    for (const auto& one : ask([&](Sessions& all) { return all.attempts(filter, retried, page); })) found.push_back(one.id);
    return found;
  }

  std::int64_t orders_ = 0, billing_ = 0;
};

// rest-api 18.56, 18.62
TEST_P(SessionsOf, AnAttemptIsReadBackWithItsSession) {
  const InsertedAttempt inserted = start(orders_, "calc", 0, "again").value();
  EXPECT_EQ(inserted.index, 1);
  const SessionAttempt attempt = ask([&](Sessions& sessions) { return sessions.attempt(inserted.id); }).value();
  EXPECT_EQ(attempt.project_name, "orders");
  EXPECT_EQ(attempt.workflow_name, "calc");
  EXPECT_EQ(attempt.session_time, Instant::of_seconds(1'772'000'000));
  EXPECT_EQ(attempt.timezone.id(), "Asia/Tokyo");
  EXPECT_EQ(attempt.retry_attempt_name, "again");
  EXPECT_EQ(attempt.session_uuid.size(), 36U);
  EXPECT_EQ(attempt.flags, 0);
  EXPECT_EQ(to_json(attempt.params), R"({"region":"eu","deep":{"n":1,"x":null}})");
  EXPECT_EQ(attempt.created_at, inserted.created_at);
  EXPECT_FALSE(attempt.finished_at.has_value());
  EXPECT_FALSE(attempt.workflow_definition_id.has_value());
  EXPECT_FALSE(ask([&](Sessions& sessions) { return sessions.attempt(inserted.id); }, 7).has_value()) << "of another site";
}

// rest-api 18.58, 18.59, 18.60
TEST_P(SessionsOf, ANameIsTakenOnceInItsSession) {
  const InsertedAttempt first = start(orders_, "calc", 0).value();
  EXPECT_FALSE(start(orders_, "calc", 0).has_value());
  const InsertedAttempt second = start(orders_, "calc", 0, "again").value();
  EXPECT_EQ(second.index, 2);
  EXPECT_FALSE(start(orders_, "calc", 0, "again").has_value());
  EXPECT_TRUE(start(billing_, "calc", 0).has_value());
  const std::int64_t session = ask([&](Sessions& sessions) { return sessions.attempt(first.id); })->session_id;
  EXPECT_EQ(ask([&](Sessions& sessions) { return sessions.conflicting(session, {}); })->id, second.id) << "the last one of the session";
  EXPECT_EQ(ask([&](Sessions& sessions) { return sessions.conflicting(session, "again"); })->id, second.id);
  EXPECT_FALSE(ask([&](Sessions& sessions) { return sessions.conflicting(session, "other"); }).has_value());
}

// rest-api 18.82, 18.80
TEST_P(SessionsOf, SessionsAreListedNewestFirstByTheirLastAttempt) {
  start(orders_, "calc", 0);
  start(orders_, "load", 0);
  start(billing_, "calc", 0);
  start(orders_, "calc", 0, "again");
  EXPECT_THAT(sessions({}), ElementsAre("calc#3.1", "load#2.1", "calc#1.2"));
  EXPECT_THAT(sessions({.project_id = orders_}), ElementsAre("load#2.1", "calc#1.2"));
  EXPECT_THAT(sessions({.project_id = orders_, .workflow_name = "calc"}), ElementsAre("calc#1.2"));
  EXPECT_THAT(sessions({.project_id = orders_, .workflow_name = "zz"}), IsEmpty());
  EXPECT_THAT(sessions({}, {.before_id = 3, .size = 1}), ElementsAre("load#2.1"));
  EXPECT_THAT(sessions({}, {.size = 0}), IsEmpty());
  EXPECT_EQ(ask([](Sessions& all) { return all.session(1); })->index, 2);
  EXPECT_FALSE(ask([](Sessions& all) { return all.session(9); }).has_value());
}

// rest-api 18.76, 18.81
TEST_P(SessionsOf, AttemptsAreListedNewestFirst) {
  const std::int64_t a = start(orders_, "calc", 0)->id, b = start(orders_, "load", 0)->id, c = start(billing_, "calc", 0)->id,
                     d = start(orders_, "calc", 0, "again")->id;
  EXPECT_THAT(attempts({}, false), ElementsAre(d, c, b));
  EXPECT_THAT(attempts({}, true), ElementsAre(d, c, b, a));
  EXPECT_THAT(attempts({.project_id = orders_}, false), ElementsAre(d, b));
  EXPECT_THAT(attempts({.project_id = orders_}, true), ElementsAre(d, b, a));
  EXPECT_THAT(attempts({.project_id = orders_, .workflow_name = "calc"}, false), ElementsAre(d));
  EXPECT_THAT(attempts({.project_id = orders_, .workflow_name = "calc"}, true), ElementsAre(d, a));
  EXPECT_THAT(attempts({.project_id = orders_, .workflow_name = "calc"}, true, {.before_id = d}), ElementsAre(a));
  EXPECT_THAT(attempts({.workflow_name = "zz"}, true, {.size = 1}), ElementsAre(d)) << "a workflow alone does not count";
  const auto retries = ask([](Sessions& all) { return all.retries(1); });
  ASSERT_EQ(retries.size(), 2U);
  EXPECT_EQ(retries[0].id, a);
  EXPECT_EQ(retries[1].id, d);
  const auto of_session = ask([&](Sessions& all) { return all.attempts_of_session(1, {}, {.size = 1}); });
  ASSERT_EQ(of_session.size(), 1U);
  EXPECT_EQ(of_session[0].id, d);
}

// decisions R-14
TEST_P(SessionsOf, ListsMayBeOfOneStatusOfOneNameOfATimeAndInEitherOrder) {
  using Status = Sessions::Status;
  const std::int64_t running = start(orders_, "calc", 0)->id, success = start(orders_, "calc", 1)->id,
                     error = start(orders_, "load", 0)->id, killed = start(billing_, "calc", 0)->id,
                     stopping = start(billing_, "reload", 0)->id;
  write([&](Transaction& transaction) {
    for (const auto& [id, flags] : {std::pair{success, std::int64_t{6}}, {error, 2}, {killed, 3}, {stopping, 1}})
      transaction.send("update session_attempts set state_flags = $2 where id = $1", {id, flags}, 1);
    transaction.send("update session_attempts set created_at = $2 where id = $1", {running, Timestamp::of(Instant::of_seconds(1000))}, 1);
  });
  for (const bool retried : {false, true}) {
    EXPECT_THAT(attempts({.status = Status::running}, retried), ElementsAre(stopping, running));
    EXPECT_THAT(attempts({.status = Status::success}, retried), ElementsAre(success));
    EXPECT_THAT(attempts({.status = Status::error}, retried), ElementsAre(error));
    EXPECT_THAT(attempts({.status = Status::killed}, retried), ElementsAre(killed));
    EXPECT_THAT(attempts({.project_id = orders_, .workflow_name = "calc", .status = Status::running}, retried), ElementsAre(running));
    EXPECT_THAT(attempts({.name_part = "load"}, retried), ElementsAre(stopping, error));
    EXPECT_THAT(attempts({.since = Instant::of_seconds(2000)}, retried), ElementsAre(stopping, killed, error, success));
    EXPECT_THAT(attempts({.oldest_first = true}, retried, {.size = 2}), ElementsAre(running, success));
    EXPECT_THAT(attempts({.oldest_first = true}, retried, {.before_id = error}), ElementsAre(killed, stopping));
    EXPECT_THAT(attempts({.status = Status::running, .oldest_first = true}, retried), ElementsAre(running, stopping));
  }
  EXPECT_THAT(sessions({.status = Status::running}), ElementsAre("reload#5.1", "calc#1.1"));
  EXPECT_THAT(sessions({.project_id = orders_, .status = Status::error}), ElementsAre("load#3.1"));
  EXPECT_THAT(sessions({.oldest_first = true}, {.size = 1}), ElementsAre("calc#1.1"));
  const auto again = start(orders_, "load", 0, "again")->id;
  EXPECT_THAT(sessions({.status = Status::error}), IsEmpty()) << "its last attempt runs";
  const auto of_session = [&](const Sessions::Filter& filter) {
    return ask([&](Sessions& all) { return all.attempts_of_session(3, filter, {}); });
  };
  EXPECT_EQ(of_session({.status = Status::running}).front().id, again);
  EXPECT_EQ(of_session({.oldest_first = true}).front().id, error);
}

// decisions E-61
TEST_P(SessionsOf, DoneAndDelayedAttemptsDoNotCount) {
  const std::int64_t done = start(orders_, "calc", 0)->id, delayed = start(orders_, "calc", 1)->id;
  start(orders_, "calc", 2);
  EXPECT_EQ(ask([](Sessions& sessions) { return sessions.unfinished(); }), 3);
  write([&](Transaction& transaction) {
    transaction.send("update session_attempts set state_flags = 6 where id = $1", {done}, 1);
    transaction.send("insert into delayed_session_attempts (id, next_run_time, updated_at) values ($1, 0, now())", {delayed}, 1);
  });
  const auto exactly = ask([](Sessions& sessions) {
    sessions.hold_count();
    return sessions.unfinished();
  });
  EXPECT_EQ(exactly, 1);
}

// rest-api 18.83
TEST_P(SessionsOf, AKillIsAFlag) {
  const std::int64_t id = start(orders_, "calc", 0)->id;
  const auto before = ask([&](Sessions& sessions) {
    auto attempt = sessions.lock_attempt(id);
    sessions.request_cancel(id);
    return attempt;
  });
  EXPECT_FALSE(before->cancel_requested());
  EXPECT_TRUE(ask([&](Sessions& sessions) { return sessions.attempt(id); })->cancel_requested());
}

// rest-api 18.86, execution 15.5
TEST_P(SessionsOf, TasksAreReadFromTheirRowsElseFromTheArchive) {
  const std::int64_t id = start(orders_, "calc", 0)->id;
  const auto tasks = [&] { return write([&](Transaction& transaction) { return tasks_of_attempt(transaction, id); }); };
  EXPECT_THAT(tasks(), IsEmpty());
  write([&](Transaction& transaction) {
    transaction.send(
        "insert into tasks (id, attempt_id, task_type, state, state_flags, updated_at, retry_count) values (1, $1, 1, 5, 8, now(), 0)",
        {id});
    transaction.send(
        "insert into tasks (id, attempt_id, parent_id, task_type, state, state_flags, updated_at, state_params, retry_count)"
        " values (2, $1, 1, 0, 7, 8, now(), '{\"a\":1}', 2), (3, $1, 1, 0, 4, 8, now(), null, 0)",
        {id});
    transaction.send(
        "insert into task_details (id, full_name, local_config, export_config) values (1, '+w', null, '{\"x\":1}'), (2, '+w+a',"
        " '{\"sh>\":\"ls\"}', null), (3, '+w+b', null, null)");
    transaction.send("insert into task_state_details (id, store_params, reset_store_params) values (2, '{\"s\":1}', '[\"k.l\"]')");
    transaction.send("insert into task_dependencies (upstream_id, downstream_id) values (2, 3)");
  });
  const std::vector<engine::StoredTask> live = tasks();
  ASSERT_EQ(live.size(), 3U);
  EXPECT_TRUE(live[0].is_group);
  EXPECT_TRUE(live[0].local.is_null());
  EXPECT_EQ(to_json(live[0].export_config), R"({"x":1})");
  EXPECT_EQ(live[1].state, engine::TaskState::success);
  EXPECT_EQ(live[1].parent_id, 1);
  EXPECT_EQ(live[1].retry_count, 2);
  EXPECT_EQ(to_json(live[1].store_params), R"({"s":1})");
  EXPECT_THAT(live[1].reset_store_params, ElementsAre("k.l"));
  EXPECT_THAT(live[1].upstreams, IsEmpty());
  EXPECT_THAT(live[2].upstreams, ElementsAre(2));
}

DIGDAG_FOR_EVERY_DATABASE(SessionsOf);

}  // namespace
}  // namespace digdag::store
