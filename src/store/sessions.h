#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "base/value.h"
#include "store/database.h"

namespace digdag::store {

/// `session_attempts.state_flags` (spec/server.md 10).
enum AttemptFlag : std::uint8_t { attempt_cancel_requested = 1, attempt_done = 2, attempt_success = 4 };

/// An attempt with the session that it belongs to, as the API shows it.
struct SessionAttempt {
  std::int64_t id = 0;
  std::int64_t index = 0;  ///< 1, 2, 3, … in its session
  std::int64_t site_id = 0, project_id = 0;
  std::string project_name;  ///< of a deleted project: the name that it had
  std::string workflow_name;
  std::optional<std::int64_t> workflow_definition_id;
  std::int64_t session_id = 0;
  std::string session_uuid;  ///< lower case
  Instant session_time;      ///< whole seconds
  TimeZone timezone;         ///< as it was when the attempt was created
  std::optional<std::string> retry_attempt_name;
  std::uint8_t flags = 0;  ///< AttemptFlag
  Value params;
  Timestamp created_at;
  std::optional<Timestamp> finished_at;

  bool done() const { return (flags & attempt_done) != 0; }
  bool success() const { return (flags & attempt_success) != 0; }
  bool cancel_requested() const { return (flags & attempt_cancel_requested) != 0; }
};

/// A session's place: what makes it unique.
struct SessionKey {
  std::int64_t project_id = 0;
  std::string workflow_name;
  Instant session_time;  ///< fractions of a second do not count
};

/// An attempt to be stored.
struct NewAttempt {
  std::int64_t session_id = 0, project_id = 0;
  std::optional<std::string> retry_attempt_name;
  std::optional<std::int64_t> workflow_definition_id;
  TimeZone timezone;
  Value params;
};
struct InsertedAttempt {
  std::int64_t id = 0, index = 0;
  Timestamp created_at;
};

/// The sessions and attempts of one site. Rows of other sites do not exist for it. Lives in a transaction.
class Sessions {
 public:
  Sessions(Transaction& transaction, std::int64_t site_id) : transaction_(transaction), site_id_(site_id) {}

  /// A part of a list that runs from the newest id to the oldest.
  struct Page {
    std::int64_t before_id = std::numeric_limits<std::int64_t>::max();  ///< `last_id`: only smaller ids
    std::int64_t size = 100;
  };
  enum class Status : std::uint8_t { running, success, error, killed };
  struct Filter {
    std::optional<std::int64_t> project_id;
    std::optional<std::string> workflow_name;  ///< counts only beside `project_id`

    // Ours (spec/decisions.md R-14); of a session its last attempt counts.
    std::optional<Status> status;
    std::optional<Instant> since;  ///< only attempts that were created then or later
    std::string name_part;         ///< empty, or what the workflow's name contains
    bool oldest_first = false;     ///< then `Page::before_id` is an id after which the page begins

    bool plain() const { return !status && !since && name_part.empty() && !oldest_first; }
  };

  // ---- Reading. A session is shown by its last attempt. ----

  /// By session id, newest first. `Page` counts sessions.
  std::vector<SessionAttempt> sessions(const Filter& filter, const Page& page);
  std::optional<SessionAttempt> session(std::int64_t session_id);
  /// By attempt id, newest first. Without `retried` only the last attempt of each session.
  std::vector<SessionAttempt> attempts(const Filter& filter, bool retried, const Page& page);
  /// `filter` is of no project.
  std::vector<SessionAttempt> attempts_of_session(std::int64_t session_id, const Filter& filter, const Page& page);
  std::optional<SessionAttempt> attempt(std::int64_t attempt_id);
  /// All attempts of a session, first to last.
  std::vector<SessionAttempt> retries(std::int64_t session_id);

  // ---- Starting ----

  /// Attempts that are not done, without delayed ones that have not started (E-61). Others may start meanwhile, unless all who count
  /// call `hold_count` first; so do those who count the attempts of a workflow.
  std::int64_t unfinished();
  /// Whoever else calls this for the same site waits until the transaction ends.
  void hold_count();
  struct Session {
    std::int64_t id = 0;
    std::string uuid;
  };
  /// The session, made where there is none (with `uuid`), and locked until the transaction ends.
  Session put_session(const SessionKey& key, std::string_view uuid);
  /// Makes the attempt the session's last one, with the next index. Nothing where the session has one of this retry name (one
  /// without a name: where it has any without). The session must be locked by `put_session`.
  std::optional<InsertedAttempt> insert_attempt(const NewAttempt& attempt);
  /// The id of a session that is there.
  std::optional<std::int64_t> find_session(const SessionKey& key);
  /// The attempt of this retry name; without a name the session's last one.
  std::optional<SessionAttempt> conflicting(std::int64_t session_id, const std::optional<std::string>& retry_attempt_name);

  /// Attempts of a workflow that have started and are not done, first to last (`_concurrency`, E-62).
  std::vector<SessionAttempt> running_of_workflow(std::int64_t project_id, std::string_view workflow_name);
  /// The session of the attempt for whose end the fewest wait, so that each end lets somebody start.
  std::int64_t least_awaited(const std::vector<SessionAttempt>& attempts);
  /// Until when an attempt waits.
  struct Wait {
    std::int64_t after_session = 0;  ///< all attempts of this one are done; 0: of no session
    bool in_turn = false;            ///< and then its turn has come among those of its workflow that wait so (`_concurrency`)
  };
  void insert_delayed(std::int64_t attempt_id, const Wait& wait);
  /// The first one in the order of session times that waits for its turn, before an attempt of that session and id.
  struct Waiting {
    std::int64_t attempt_id = 0, after_session = 0;
  };
  std::optional<Waiting> waiting_before(const SessionKey& key, std::int64_t attempt_id);
  /// It waits for no session any more; false where it did not wait.
  bool let_go(std::int64_t attempt_id);
  /// It waits no longer; false where it did not.
  bool remove_delayed(std::int64_t attempt_id);

  // ---- Ending ----

  /// The attempt, locked until the transaction ends.
  std::optional<SessionAttempt> lock_attempt(std::int64_t attempt_id);
  void request_cancel(std::int64_t attempt_id);

 private:
  struct ChosenSql;
  /// The page of a filter that is not plain. `session_id`: of one session alone, where it is not 0.
  std::vector<SessionAttempt> chosen(const ChosenSql& sql, const Filter& filter, const Page& page, std::int64_t session_id = 0);
  std::vector<SessionAttempt> last_attempts(const Filter& filter, const Page& page);
  /// The page that one of three statements gives, by what the filter says.
  std::vector<SessionAttempt> page_of(const Sql& all, const Sql& of_project, const Sql& of_workflow, const Filter& filter,
                                      const Page& page);

  Transaction& transaction_;
  const std::int64_t site_id_;
};

/// Attempts of any site, ascending by id; those that do not exist are left out.
std::vector<SessionAttempt> attempts_of_ids(Transaction& transaction, const std::vector<std::int64_t>& ids);

}  // namespace digdag::store
