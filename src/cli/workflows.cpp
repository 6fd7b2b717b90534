#include <iostream>

#include "base/error.h"
#include "base/json.h"
#include "cli/listing.h"
#include "cli/lookups.h"
#include "cli/remote.h"

namespace digdag::cli {
namespace {

using Kind = Option::Kind;

Array workflows_wanted(const Arguments& arguments, Remote& remote) {
  if (!arguments.positional().empty()) {
    const std::string project = text_at(project_named(remote.server(), arguments.positional()[0]), "id");
    Array workflows = list_at(remote.server().get("/api/projects/" + client::path_part(project) + "/workflows"), "workflows");
    limit_rows(workflows, arguments);
    return workflows;
  }
  const std::string order = arguments.text_or("--order", "asc");
  if (order != "asc" && order != "desc") throw UsageError{"Invalid parameter value for --order: " + order};
  PagedList list{.path = "/api/workflows", .member = "workflows", .page_size = arguments.integer_or("--count", 100)};
  list.query = {{"count", std::to_string(list.page_size)}, {"order", order}};
  if (const auto last = arguments.text("--last-id")) list.query.emplace_back("last_id", *last);
  if (const auto name = arguments.text("--name")) list.query.emplace_back("name_pattern", *name);
  return fetch_rows(remote, arguments, list);
}

int show_definition(const Arguments& arguments, Remote& remote) {
  const std::string project = text_at(project_named(remote.server(), arguments.positional()[0]), "id");
  const Value workflow = workflow_named(remote.server(), project, arguments.positional()[1]);
  if (print_as_json(arguments, workflow)) return 0;
  std::cout << to_yaml(value_at(workflow, "config")) << "\n";
  return 0;
}

int show_workflows(const Arguments& arguments, Remote& remote) {
  if (arguments.positional().size() == 2) return show_definition(arguments, remote);
  const Array workflows = workflows_wanted(arguments, remote);
  if (print_as_json(arguments, "workflows", workflows)) return 0;
  std::string project;
  for (const Value& workflow : workflows) {
    if (const std::string next = shown_at(workflow, "project.name"); next != project) std::cout << "  " << (project = next) << "\n";
    std::cout << "    " << shown_at(workflow, "name") << "\n";
  }
  std::cout << "\n" << std::flush;
  std::cerr << "Use `digdag workflows <project-name> <name>` to show details.\n";
  return 0;
}

}  // namespace

int workflow_command(const Invocation& invocation) {
  std::vector<Option> options = {
      {{"--count"}, Kind::integer, "N", "number of workflows to ask for (default: 100)"},
      {{"--last-id"}, Kind::integer, "ID", "show workflows after this id"},
      {{"--order"}, Kind::text, "ORDER", "order by id: asc (default) or desc"},
      {{"--name"}, Kind::text, "TEXT", "show workflows whose name contains this text"},
  };
  for (Option& option : listing_options()) options.push_back(std::move(option));
  return client_command(invocation, "workflow", std::move(options), {0, 2}, show_workflows);
}

}  // namespace digdag::cli
