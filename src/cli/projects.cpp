#include <unistd.h>

#include <iostream>

#include "base/error.h"
#include "base/text.h"
#include "cli/listing.h"
#include "cli/lookups.h"
#include "cli/remote.h"

namespace digdag::cli {
namespace {

using Kind = Option::Kind;

Array projects_wanted(const Arguments& arguments, Remote& remote) {
  if (!arguments.positional().empty()) {
    const std::string& name = arguments.positional()[0];
    Array found = list_at(remote.server().get("/api/projects", {{"name", name}}), "projects");
    if (found.empty()) throw task_error("Project '" + name + "' does not exist.");
    return found;
  }
  PagedList list{.path = "/api/projects", .member = "projects", .page_size = arguments.integer_or("--count", 100)};
  list.query.emplace_back("count", std::to_string(list.page_size));
  if (const auto last = arguments.text("--last-id")) list.query.emplace_back("last_id", *last);
  if (const auto name = arguments.text("--name")) list.query.emplace_back("name_pattern", *name);
  return fetch_rows(remote, arguments, list);
}

int show_projects(const Arguments& arguments, Remote& remote) {
  const Array projects = projects_wanted(arguments, remote);
  if (print_as_json(arguments, "projects", projects)) return 0;
  const TimeStyle times = time_style(arguments);
  std::cout << "Projects\n";
  for (const Value& project : projects) {
    std::cout << "  name: " << shown_at(project, "name") << "\n"
              << "  id: " << shown_at(project, "id") << "\n"
              << "  revision: " << shown_at(project, "revision") << "\n"
              << "  archive type: " << shown_at(project, "archiveType") << "\n"
              << "  project created at: " << shown_instant(value_at(project, "createdAt"), times) << "\n"
              << "  revision updated at: " << shown_instant(value_at(project, "updatedAt"), times) << "\n\n";
  }
  std::cout.flush();
  std::cerr << "Use `digdag workflows <project-name>` to show details.\n";
  return 0;
}

/// Whether a person says yes; the end of the input means no (decisions.md C-41).
bool is_sure() {
  std::cerr << "Are you sure you want to delete this project? [y/N]: " << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  if (!isatty(STDIN_FILENO) || std::cin.eof()) std::cerr << "\n";  // else the terminal shows that of the answer
  answer = lower(trim(answer));
  return answer == "y" || answer == "yes";
}

int delete_project(const Arguments& arguments, Remote& remote) {
  const Value project = project_named(remote.server(), arguments.positional()[0]);
  std::cout << "Project:\n"
            << "  id: " << shown_at(project, "id") << "\n"
            << "  name: " << shown_at(project, "name") << "\n"
            << "  latest revision: " << shown_at(project, "revision") << "\n"
            << "  created at: " << shown_instant(value_at(project, "createdAt"), {}) << "\n"
            << "  last updated at: " << shown_instant(value_at(project, "updatedAt"), {}) << "\n"
            << std::flush;
  if (!arguments.has("--force") && !is_sure()) throw task_error("canceled.");
  remote.server().remove("/api/projects/" + client::path_part(text_at(project, "id")));
  std::cerr << "Project '" << shown_at(project, "name") << "' is deleted.\n";
  return 0;
}

}  // namespace

int project_command(const Invocation& invocation) {
  std::vector<Option> options = {
      {{"--count"}, Kind::integer, "N", "number of projects to ask for (default: 100)"},
      {{"--last-id"}, Kind::integer, "ID", "show projects after this id"},
      {{"--name"}, Kind::text, "TEXT", "show projects whose name contains this text"},
  };
  for (Option& option : listing_options()) options.push_back(std::move(option));
  return client_command(invocation, "project", std::move(options), {0, 1}, show_projects);
}

int delete_command(const Invocation& invocation) {
  return client_command(invocation, "delete", {{{"--force"}, Kind::flag, "", "do not ask"}}, {1, 1}, delete_project);
}

}  // namespace digdag::cli
