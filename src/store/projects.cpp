#include "store/projects.h"

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "store/columns.h"
#include "store/crypto.h"
#include "store/schedules.h"
#include "store/triggers.h"

namespace digdag::store {
namespace {

#define PROJECT "p.id, p.site_id, coalesce(p.name, p.deleted_name), p.created_at, p.deleted_at"
#define REVISION "r.id, r.project_id, r.name, r.default_params, r.archive_type, r.archive_path, r.archive_md5, r.created_at, r.user_info"
#define LATEST_REVISION "(select max(id) from revisions where project_id = p.id)"
#define WORKFLOW PROJECT ", w.id, w.name, r.id, r.name, r.default_params, c.timezone, c.config"
#define WORKFLOW_TABLES "workflow_definitions w join workflow_configs c on c.id = w.config_id"
/// A schedule that starts holds its own row and refers to that of the project, which this lock permits and `for update` does not.
#define LOCKED(text) Sql(text " for no key update", text)

constexpr std::size_t project_columns = 5;

Project project_of(const Row& row) {
  return {.id = row.integer(0),
          .site_id = row.integer(1),
          .name = row.optional_text(2).value_or(""),
          .created_at = row.time(3),
          .deleted_at = row.optional_time(4)};
}

Revision revision_of(const Row& row, std::size_t at) {
  return {.id = row.integer(at),
          .project_id = row.integer(at + 1),
          .name = row.text(at + 2),
          .default_params = json_of(row.optional_text(at + 3)),
          .archive_type = row.text(at + 4),
          .archive_path = row.optional_text(at + 5),
          .archive_md5 = row.is_null(at + 6) ? std::nullopt : std::optional(row.bytes(at + 6)),
          .created_at = row.time(at + 7),
          .user_info = json_of(row.optional_text(at + 8))};
}

WorkflowDefinition workflow_of(const Row& row) {
  constexpr std::size_t at = project_columns;
  return {.id = row.integer(at),
          .name = row.text(at + 1),
          .project = project_of(row),
          .revision_id = row.integer(at + 2),
          .revision_name = row.text(at + 3),
          .revision_default_params = json_of(row.optional_text(at + 4)),
          .timezone = timezone_of(row.text(at + 5)),
          .config = json_of(row.optional_text(at + 6))};
}

std::optional<Project> project_of(const std::optional<Row>& row) { return row ? std::optional(project_of(*row)) : std::nullopt; }
std::optional<Revision> revision_of(const std::optional<Row>& row) { return row ? std::optional(revision_of(*row, 0)) : std::nullopt; }
std::optional<WorkflowDefinition> workflow_of(const std::optional<Row>& row) {
  return row ? std::optional(workflow_of(*row)) : std::nullopt;
}

}  // namespace

// ---- Projects ----

std::vector<LatestRevision> Projects::list(const Page& page, std::string_view name_part) {
#define LIST(matches)                                                                            \
  "select " PROJECT ", " REVISION " from projects p join revisions r on r.id = " LATEST_REVISION \
  " where p.site_id = $1 and p.deleted_at is null and p.id > cast($2 as bigint) and " matches    \
  "(p.name, cast($3 as text)) > 0"                                                               \
  " order by p.id limit cast($4 as bigint)"
  static constexpr Sql sql(LIST("strpos"), LIST("instr"));
#undef LIST
  const Rows rows = transaction_.query(sql, {site_id_, page.after_id, std::string(name_part), page.size});
  return all_of<LatestRevision>(rows, [](const Row& row) { return LatestRevision{project_of(row), revision_of(row, project_columns)}; });
}

std::optional<Project> Projects::by_name(std::string_view name) {
  return project_of(
      transaction_.first("select " PROJECT " from projects p where p.site_id = $1 and p.name = $2", {site_id_, std::string(name)}));
}

std::optional<Project> Projects::by_id(std::int64_t project_id) {
  return project_of(transaction_.first("select " PROJECT " from projects p where p.id = $1 and p.site_id = $2", {project_id, site_id_}));
}

Project Projects::put_and_lock(std::string_view name) {
  // Looked for first, because an insert that finds the name taken uses up an id.
  static constexpr Sql lock = LOCKED("select " PROJECT " from projects p where p.site_id = $1 and p.name = $2");
  const SqlValues key{site_id_, std::string(name)};
  // Again, where the one that had the name was deleted meanwhile.
  for (;;) {
    if (const std::optional<Project> project = project_of(transaction_.first(lock, key))) return *project;
    transaction_.execute("insert into projects (site_id, name, created_at) values ($1, $2, now()) on conflict do nothing", key);
  }
}

bool Projects::remove(std::int64_t project_id) {
  static constexpr Sql lock = LOCKED("select 1 from projects where id = $1 and site_id = $2 and deleted_at is null");
  if (!transaction_.first(lock, {project_id, site_id_})) return false;
  // The project last: what is under way with one of these may refer to it.
  delete_schedules_of_project(transaction_, project_id);
  delete_triggers_of_project(transaction_, project_id);
  transaction_.send("delete from project_metadata where project_id = $1", {project_id});
  transaction_.send("update projects set deleted_name = name, deleted_at = now(), name = null where id = $1", {project_id});
  return true;
}

// ---- Revisions ----

std::optional<Revision> Projects::latest_revision(std::int64_t project_id) {
  return revision_of(transaction_.first("select " REVISION " from projects p join revisions r on r.id = " LATEST_REVISION
                                        " where p.id = $1 and p.site_id = $2",
                                        {project_id, site_id_}));
}

std::optional<Revision> Projects::revision(std::int64_t project_id, std::string_view name) {
  return revision_of(transaction_.first("select " REVISION " from projects p join revisions r on r.project_id = p.id"
                                        " where p.id = $1 and p.site_id = $2 and r.name = $3",
                                        {project_id, site_id_, std::string(name)}));
}

std::optional<Revision> Projects::revision_of_workflow(std::int64_t workflow_definition_id) {
  return revision_of(transaction_.first("select " REVISION " from workflow_definitions w join revisions r on r.id = w.revision_id"
                                        " join projects p on p.id = r.project_id where w.id = $1 and p.site_id = $2",
                                        {workflow_definition_id, site_id_}));
}

std::vector<Revision> Projects::revisions(std::int64_t project_id, std::optional<std::int64_t> before_id) {
  const Rows rows = transaction_.query("select " REVISION
                                       " from projects p join revisions r on r.project_id = p.id"
                                       " where p.id = $1 and p.site_id = $2 and r.id < cast($3 as bigint) order by r.id desc limit 100",
                                       {project_id, site_id_, before_id.value_or(std::numeric_limits<std::int64_t>::max())});
  return all_of<Revision>(rows, [](const Row& row) { return revision_of(row, 0); });
}

std::optional<Revision> Projects::insert_revision(std::int64_t project_id, const NewRevision& revision) {
  const std::optional<Row> row = transaction_.first(
      "insert into revisions (project_id, name, default_params, archive_type, archive_path, archive_md5, created_at, user_info)"
      " values ($1, $2, $3, $4, $5, $6, now(), $7) on conflict do nothing returning id, created_at",
      {project_id, revision.name, json_column(revision.default_params), revision.archive_type, sql_value(revision.archive_path),
       revision.archive_md5 ? SqlValue(Bytes{*revision.archive_md5}) : SqlValue(), json_column(revision.user_info)});
  if (!row) return std::nullopt;
  return Revision{.id = row->integer(0),
                  .project_id = project_id,
                  .name = revision.name,
                  .default_params = revision.default_params,
                  .archive_type = revision.archive_type,
                  .archive_path = revision.archive_path,
                  .archive_md5 = revision.archive_md5,
                  .created_at = row->time(1),
                  .user_info = revision.user_info};
}

void Projects::insert_archive(std::int64_t revision_id, std::string bytes) {
  transaction_.send("insert into revision_archives (id, archive_data) values ($1, $2)", {revision_id, Bytes{std::move(bytes)}}, 1);
}

std::optional<std::string> Projects::archive(std::int64_t revision_id) {
  const std::optional<Row> row = transaction_.first(
      "select a.archive_data from revision_archives a join revisions r on r.id = a.id join projects p on p.id = r.project_id"
      " where a.id = $1 and p.site_id = $2",
      {revision_id, site_id_});
  return row ? std::optional(row->bytes(0)) : std::nullopt;
}

// ---- Workflows ----

namespace {

using ConfigKey = std::tuple<std::int64_t, std::string, std::string>;  ///< digest, zone, text

ConfigKey key_of(const Projects::NewWorkflow& workflow) {
  std::string text = to_json(workflow.config);
  const std::int64_t digest = config_digest(text, workflow.timezone);
  return {digest, workflow.timezone.id(), std::move(text)};
}

void read_config_ids(const Rows& rows, std::map<ConfigKey, std::int64_t>& ids) {
  for (const Row& row : rows) ids.try_emplace(ConfigKey(row.integer(1), row.text(2), row.text(3)), row.integer(0));
}

/// The ids of these configs of a project, those inserted that it did not have.
std::map<ConfigKey, std::int64_t> put_configs(Transaction& transaction, std::int64_t project_id, const std::vector<ConfigKey>& configs) {
  std::vector<std::int64_t> digests;
  digests.reserve(configs.size());
  for (const ConfigKey& config : configs) digests.push_back(std::get<0>(config));
  std::map<ConfigKey, std::int64_t> ids;
#define FIND "select id, config_digest, timezone, config from workflow_configs where project_id = $1 and config_digest "
  static constexpr Sql find(FIND "= any($2) order by id", FIND "in (select value from json_each($2)) order by id");
#undef FIND
  read_config_ids(transaction.query(find, {project_id, digests}), ids);

  std::vector<std::string> zones, texts;
  digests.clear();
  for (const ConfigKey& config : configs) {
    if (!ids.try_emplace(config, 0).second) continue;
    digests.push_back(std::get<0>(config));
    zones.push_back(std::get<1>(config));
    texts.push_back(std::get<2>(config));
  }
  if (digests.empty()) return ids;
  std::erase_if(ids, [](const auto& entry) { return entry.second == 0; });
#define INSERT "insert into workflow_configs (project_id, config_digest, timezone, config) select cast($1 as integer), "
#define RETURNING " returning id, config_digest, timezone, config"
  static constexpr Sql insert(INSERT "d, t, c from unnest($2::bigint[], $3::text[], $4::text[]) as new(d, t, c)" RETURNING, INSERT
                              "d.value, t.value, c.value from json_each($2) d join json_each($3) t on t.key = d.key"
                              " join json_each($4) c on c.key = d.key" RETURNING);
#undef INSERT
#undef RETURNING
  read_config_ids(transaction.query(insert, {project_id, digests, zones, texts}), ids);
  return ids;
}

}  // namespace

std::vector<WorkflowDefinition> Projects::insert_workflows(const Project& project, const Revision& revision,
                                                           std::vector<NewWorkflow> workflows) {
  std::sort(workflows.begin(), workflows.end(), [](const NewWorkflow& a, const NewWorkflow& b) { return a.name < b.name; });
  std::vector<ConfigKey> configs;
  configs.reserve(workflows.size());
  for (const NewWorkflow& workflow : workflows) configs.push_back(key_of(workflow));
  const std::map<ConfigKey, std::int64_t> config_ids = put_configs(transaction_, project.id, configs);

  std::vector<std::int64_t> ids;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < workflows.size(); ++i) {
    ids.push_back(config_ids.at(configs[i]));
    names.push_back(workflows[i].name);
  }
#define INSERT "insert into workflow_definitions (revision_id, config_id, name) select cast($1 as integer), "
  static constexpr Sql insert(
      INSERT "c, n from unnest($2::bigint[], $3::text[]) with ordinality as new(c, n, place) order by place returning id, name",
      INSERT "c.value, n.value from json_each($2) c join json_each($3) n on n.key = c.key order by c.key returning id, name");
#undef INSERT
  std::map<std::string, std::int64_t, std::less<>> new_ids;
  for (const Row& row : transaction_.query(insert, {revision.id, ids, names})) new_ids.emplace(row.text(1), row.integer(0));

  std::vector<WorkflowDefinition> definitions;
  definitions.reserve(workflows.size());
  for (NewWorkflow& workflow : workflows) {
    definitions.push_back({.id = new_ids.at(workflow.name),
                           .name = workflow.name,
                           .project = project,
                           .revision_id = revision.id,
                           .revision_name = revision.name,
                           .revision_default_params = revision.default_params,
                           .timezone = workflow.timezone,
                           .config = std::move(workflow.config)});
  }
  return definitions;
}

std::optional<WorkflowDefinition> Projects::workflow(std::int64_t workflow_definition_id) {
  return workflow_of(transaction_.first("select " WORKFLOW " from " WORKFLOW_TABLES
                                        " join revisions r on r.id = w.revision_id join projects p on p.id = r.project_id"
                                        " where w.id = $1 and p.site_id = $2",
                                        {workflow_definition_id, site_id_}));
}

std::vector<WorkflowDefinition> workflows_of_ids(Transaction& transaction, const std::vector<std::int64_t>& ids) {
#define OF_IDS(these)                         \
  "select " WORKFLOW " from " WORKFLOW_TABLES \
  " join revisions r on r.id = w.revision_id join projects p on p.id = r.project_id where w.id " these
  static constexpr Sql sql(OF_IDS("= any($1::bigint[])"), OF_IDS("in (select value from json_each($1))"));
#undef OF_IDS
  return all_of<WorkflowDefinition>(transaction.query(sql, {ids}), [](const Row& row) { return workflow_of(row); });
}

std::optional<WorkflowDefinition> Projects::workflow(std::int64_t revision_id, std::string_view name) {
  return workflow_of(transaction_.first("select " WORKFLOW " from " WORKFLOW_TABLES
                                        " join revisions r on r.id = w.revision_id join projects p on p.id = r.project_id"
                                        " where w.revision_id = $1 and w.name = $2 and p.site_id = $3",
                                        {revision_id, std::string(name), site_id_}));
}

std::optional<WorkflowDefinition> Projects::latest_workflow(std::int64_t project_id, std::string_view name) {
  return workflow_of(transaction_.first("select " WORKFLOW " from projects p join revisions r on r.id = " LATEST_REVISION
                                        " join workflow_definitions w on w.revision_id = r.id join workflow_configs c on c.id = w.config_id"
                                        " where p.id = $1 and p.site_id = $2 and p.deleted_at is null and w.name = $3",
                                        {project_id, site_id_, std::string(name)}));
}

std::vector<WorkflowDefinition> Projects::workflows(std::int64_t revision_id) {
  return all_of<WorkflowDefinition>(transaction_.query("select " WORKFLOW " from " WORKFLOW_TABLES
                                                       " join revisions r on r.id = w.revision_id join projects p on p.id = r.project_id"
                                                       " where w.revision_id = $1 and p.site_id = $2 order by w.id",
                                                       {revision_id, site_id_}),
                                    [](const Row& row) { return workflow_of(row); });
}

std::vector<WorkflowDefinition> Projects::latest_workflows(const WorkflowFilter& filter) {
  // The ids are found first, so that only the configs of the page are read.
#define LIST(matches, compare, order)                                                                                           \
  "select " WORKFLOW " from (select w.id from projects p join workflow_definitions w on w.revision_id = " LATEST_REVISION       \
  " where p.site_id = $1 and p.deleted_at is null and w.id " compare " cast($2 as bigint) and (" matches                        \
  "(w.name, cast($3 as text)) > 0 or cast($4 as bigint) = 1 and " matches "(p.name, cast($3 as text)) > 0) order by w.id" order \
  " limit cast($5 as bigint)) page join workflow_definitions w on w.id = page.id"                                               \
  " join workflow_configs c on c.id = w.config_id join revisions r on r.id = w.revision_id"                                     \
  " join projects p on p.id = r.project_id order by w.id" order
  static constexpr Sql ascending(LIST("strpos", ">", ""), LIST("instr", ">", ""));
  static constexpr Sql descending(LIST("strpos", "<", " desc"), LIST("instr", "<", " desc"));
#undef LIST
  const std::int64_t begin = filter.descending ? std::numeric_limits<std::int64_t>::max() : 0;
  const Rows rows = transaction_.query(
      filter.descending ? descending : ascending,
      {site_id_, filter.last_id.value_or(begin), filter.name_part, std::int64_t{filter.search_project_name}, filter.size});
  return all_of<WorkflowDefinition>(rows, [](const Row& row) { return workflow_of(row); });
}

std::optional<StoredArchive> archive_of_revision(Transaction& transaction, std::int64_t revision_id) {
  const auto row = transaction.first(
      "select a.archive_data, r.archive_md5 from revision_archives a join revisions r on r.id = a.id where a.id = $1", {revision_id});
  if (!row) return std::nullopt;
  return StoredArchive{row->bytes(0), row->is_null(1) ? "" : row->bytes(1)};
}

std::int64_t config_digest(std::string_view config_json, const TimeZone& timezone) {
  const std::string hash = md5(std::string(config_json) + " " + timezone.id());
  std::uint64_t digest = 0;
  for (std::size_t i = 0; i < 8; ++i) digest = digest << 8 | static_cast<unsigned char>(hash[i]);
  return static_cast<std::int64_t>(digest);
}

}  // namespace digdag::store
