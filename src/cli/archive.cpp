#include <algorithm>
#include <filesystem>
#include <iostream>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/findings.h"
#include "cli/messages.h"
#include "cli/remote.h"
#include "cli/settings.h"
#include "cli/times.h"
#include "dig/loader.h"
#include "store/project_archive.h"

namespace digdag::cli {
namespace {

namespace fs = std::filesystem;
using Kind = Option::Kind;

constexpr const char* default_output = "digdag.archive.tar.gz";

const Option project_option = {
    {"--project"}, Kind::text, "DIR", "use this directory as the project directory (default: current directory)"};
const Option links_option = {{"--copy-outgoing-symlinks"}, Kind::flag, "", "pack what links lead to that leave the project"};
const Option revision_option = {{"-r", "--revision"}, Kind::text, "NAME", "name of the revision (default: random)"};

void print_workflows(const dig::Project& project) {
  std::cout << "Workflows:\n";
  for (const auto& file : project.files) std::cout << "  " << visible(file.name) << "\n";
  if (!project.files.empty()) return;
  std::cout << "  WARNING: This project doesn't include workflows. Usually, this is a mistake.\n"
               "           Please make sure that all *.dig files are on the top directory.\n"
               "           *.dig files in subdirectories are not recognized automatically.\n\n";
}

/// Throws where one of its workflows is broken.
dig::Project sound_project(const Arguments& arguments) {
  dig::Project project = dig::load_project(project_directory(arguments));
  Errors errors;
  for (const auto& file : project.files) errors.errors.insert(errors.errors.end(), file.errors.begin(), file.errors.end());
  if (!errors.errors.empty()) throw errors;
  return project;
}

/// The project as an archive; tells on standard output what is packed.
std::string pack(const dig::Project& project, const Arguments& arguments, const std::set<fs::path>& left_out) {
  const auto entries = store::project_entries(project.directory, arguments.has("--copy-outgoing-symlinks"), left_out);
  for (const store::ArchiveEntry& entry : entries) {
    std::cout << "  Archiving " << visible(entry.path) << "\n";
    if (entry.kind == store::ArchiveEntry::Kind::link) std::cout << "    symlink -> " << visible(entry.target) << "\n";
  }
  std::string bytes;
  store::write_archive(project.directory, entries, [&](std::string_view piece) { bytes += piece; });
  print_workflows(project);
  std::cout.flush();
  return bytes;
}

int archive(const Arguments& arguments) {
  const std::string output = arguments.text_or("-o", default_output);
  std::cout << "Creating " << output << "...\n";
  write_file_atomically(output, pack(sound_project(arguments), arguments, {(current_directory() / output).lexically_normal()}));
  std::cout << "Created " << output << ".\n"
            << "Use `digdag upload " << output << " <project> -r <revision>` to upload it to a server.\n\n";
  return 0;
}

/// Sends an archive as a new revision and shows what the server has made of it.
void put_project(Remote& remote, const std::string& name, const std::string& revision, const std::optional<Instant>& schedule_from,
                 std::string bytes) {
  client::RestClient::Query query = {{"project", name}, {"revision", revision}};
  if (schedule_from) query.emplace_back("schedule_from", format_instant(*schedule_from));
  const auto [project, missed_sessions] = remote.server().put_archive("/api/projects", query, std::move(bytes));
  std::cout << "Uploaded:\n"
            << "  id: " << shown_at(project, "id") << "\n"
            << "  name: " << shown_at(project, "name") << "\n"
            << "  revision: " << shown_at(project, "revision") << "\n"
            << "  archive type: " << shown_at(project, "archiveType") << "\n"
            << "  project created at: " << shown_at(project, "createdAt") << "\n"
            << "  revision updated at: " << shown_at(project, "updatedAt") << "\n\n"
            << "Use `digdag workflows` to show all workflows.\n";
  if (!missed_sessions.empty()) std::cerr << visible(missed_sessions) << " missed sessions will start now\n";
}

std::string revision_of(const Arguments& arguments) {
  std::string revision = arguments.text("-r").value_or(random_uuid());
  if (revision.empty()) throw UsageError{"revision cannot be empty", true};
  return revision;
}

/// Tells what in a project is probably not meant. Wrong schedules are the server's to refuse, which may know others than this program; here
/// they are told with their place and a remedy. With --strict nothing of that is sent (spec/decisions.md L-12).
void warn_of(const dig::Project& project, bool strict) {
  Findings findings = findings_of(project, strict);
  for (const Error& error : findings.errors) {
    const std::string& hint = error.hint_text();
    findings.warnings.push_back({error.position(), "W-schedule", error.message() + (hint.empty() ? "" : "; " + hint)});
  }
  print_warnings(project.warnings);
  print_warnings(findings.warnings);
  const std::size_t count = project.warnings.size() + findings.warnings.size();
  if (strict && count > 0) throw task_error("push --strict found " + std::to_string(count) + (count == 1 ? " warning" : " warnings"));
}

int push(const Arguments& arguments, Remote& remote) {
  // Nothing is written there any more, so that a project can be pushed that cannot be written to; scripts look for the line.
  std::cout << "Creating .digdag/tmp/archive-" << random_uuid() << ".tar.gz...\n" << std::flush;
  std::optional<Instant> schedule_from;
  if (const auto text = arguments.text("--schedule-from")) schedule_from = given_time("--schedule-from", *text);
  const std::string revision = revision_of(arguments);
  const dig::Project project = sound_project(arguments);
  warn_of(project, arguments.has("--strict"));
  put_project(remote, arguments.positional()[0], revision, schedule_from, pack(project, arguments, {}));
  return 0;
}

int upload(const Arguments& arguments, Remote& remote) {
  const std::string revision = revision_of(arguments);
  put_project(remote, arguments.positional()[1], revision, std::nullopt, read_regular_file(arguments.positional()[0]));
  return 0;
}

}  // namespace

int archive_command(const Invocation& invocation) {
  return local_command(
      invocation, "archive",
      {project_option, {{"-o", "--output"}, Kind::text, "FILE", "file to write (default: digdag.archive.tar.gz)"}, links_option}, {0, 0},
      archive);
}

int push_command(const Invocation& invocation) {
  return client_command(
      invocation, "push",
      {project_option,
       revision_option,
       {{"--schedule-from"}, Kind::text, "TIME", "start of schedules: \"yyyy-MM-dd HH:mm:ss Z\" or Unix seconds (default: now)"},
       {{"--strict"}, Kind::flag, "", "send nothing where `check --strict` has a warning"},
       links_option},
      {1, 1}, push);
}

int upload_command(const Invocation& invocation) { return client_command(invocation, "upload", {revision_option}, {2, 2}, upload); }

}  // namespace digdag::cli
