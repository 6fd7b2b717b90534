#include "command/program.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/text.h"
#include "command/wire.h"

namespace digdag::command {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view default_path = "/usr/local/bin:/usr/bin:/bin";
constexpr std::size_t most_bytes_of_a_text = std::size_t{128} * 1024;  // MAX_ARG_STRLEN of Linux, the zero at the end included
// Together they fit into a message to the guard. Linux takes 6 MB of arguments and environment, with a pointer to each, at most.
constexpr std::size_t most_bytes_of_all_texts = most_message_bytes / 8;
constexpr std::size_t most_bytes_of_input = most_message_bytes / 2;

std::string_view path_of(const std::vector<std::pair<std::string, std::string>>& environment) {
  std::string_view path = default_path;
  for (const auto& [name, value] : environment) {
    if (name == "PATH") path = value;
  }
  return path;
}

enum class Found { missing, not_executable, executable };

Found look_at(const std::string& file) {
  struct stat status {};
  if (stat(file.c_str(), &status) != 0) return Found::missing;
  return S_ISREG(status.st_mode) && access(file.c_str(), X_OK) == 0 ? Found::executable : Found::not_executable;
}

/// The best that there is, and where.
std::pair<Found, std::string> search(std::string_view name, std::string_view path, const fs::path& working_directory) {
  if (name.empty()) return {Found::missing, ""};
  if (name.find('/') != std::string_view::npos) {
    auto file = (working_directory / name).string();
    return {look_at(file), file};
  }
  std::pair<Found, std::string> best{Found::missing, std::string(name)};
  for (const auto& directory : split(path, ':')) {
    auto file = (working_directory / directory / name).string();
    const Found found = look_at(file);
    if (found == Found::executable) return {found, file};
    if (found == Found::not_executable && best.first == Found::missing) best = {found, file};
  }
  return best;
}

std::string cannot_run(const CommandRequest& request, std::string_view why) {
  return fmt::format("Cannot run program \"{}\" (in directory \"{}\"): {}", request.arguments.empty() ? "" : request.arguments.front(),
                     request.working_directory.string(), why);
}

std::string missing_directory(const CommandRequest& request) {
  std::error_code error;
  const auto status = fs::status(request.working_directory, error);
  if (fs::is_directory(status)) return "";
  return cannot_run(request, fs::exists(status) ? "its working directory is not a directory" : "its working directory does not exist");
}

std::size_t bytes_of_environment(const CommandRequest& request) {
  std::size_t bytes = 0;
  for (const auto& [name, value] : request.environment) bytes += name.size() + value.size() + 2;
  return bytes;
}

std::string too_large(const CommandRequest& request) {
  std::size_t arguments = 0;
  for (const auto& argument : request.arguments) arguments += argument.size() + 1;
  return cannot_run(request,
                    fmt::format("environment of {} bytes is too large for the system; with arguments of {} bytes it must stay below a "
                                "quarter of the stack limit (`ulimit -s`) and 6 MB; give large parameters in a file",
                                bytes_of_environment(request), arguments));
}

/// A text that no process can be given: too long, or with a zero byte in it.
std::string unpassable_text(const CommandRequest& request) {
  std::size_t total = 0;
  for (const auto& [name, value] : request.environment) {
    const std::size_t bytes = name.size() + value.size() + 2;
    total += bytes + sizeof(char*);
    if (bytes > most_bytes_of_a_text) {
      return cannot_run(request,
                        fmt::format("environment variable '{}' of {} bytes is too large for the system, which takes {} bytes in one; "
                                    "give large parameters in a file",
                                    name, bytes, most_bytes_of_a_text));
    }
    if (value.find('\0') != std::string::npos) {
      return cannot_run(request, fmt::format("environment variable '{}' has a zero byte in it", name));
    }
  }
  for (const auto& argument : request.arguments) {
    total += argument.size() + 1 + sizeof(char*);
    if (argument.size() >= most_bytes_of_a_text) {
      return cannot_run(request, fmt::format("an argument of {} bytes is too large for the system", argument.size()));
    }
    if (argument.find('\0') != std::string::npos) return cannot_run(request, "an argument has a zero byte in it");
  }
  if (request.input.size() > most_bytes_of_input) {
    return cannot_run(request, fmt::format("standard input of {} bytes is too large; at most {} can be given", request.input.size(),
                                           most_bytes_of_input));
  }
  return total > most_bytes_of_all_texts ? too_large(request) : "";
}

/// The interpreter that the first line of a script names; empty where it names none.
std::string interpreter_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  std::string line(256, '\0');
  in.read(line.data(), static_cast<std::streamsize>(line.size()));
  line.resize(static_cast<std::size_t>(in.gcount()));
  if (!line.starts_with("#!")) return "";
  const auto text = trim(std::string_view(line).substr(2, line.find('\n') - 2));
  return std::string(text.substr(0, text.find_first_of(" \t")));
}

}  // namespace

std::optional<std::string> find_program(std::string_view name, const std::vector<std::pair<std::string, std::string>>& environment,
                                        const fs::path& working_directory) {
  auto [found, file] = search(name, path_of(environment), working_directory);
  if (found != Found::executable) return std::nullopt;
  return file;
}

std::string check_request(const CommandRequest& request, std::string& program) {
  if (request.arguments.empty()) return "Cannot run a command without a program";
  if (auto wrong = missing_directory(request); !wrong.empty()) return wrong;
  if (auto wrong = unpassable_text(request); !wrong.empty()) return wrong;
  const auto& name = request.arguments.front();
  const auto path = path_of(request.environment);
  Found found = Found::missing;
  std::tie(found, program) = search(name, path, request.working_directory);
  if (found == Found::not_executable) return cannot_run(request, fmt::format("{} is not an executable file", program));
  if (found == Found::missing) {
    return cannot_run(
        request, name.find('/') != std::string::npos ? std::string("No such file") : fmt::format("No such program in PATH ({})", path));
  }
  return "";
}

std::string describe_start_error(const CommandRequest& request, const std::string& program, int error) {
  if (error == E2BIG) return too_large(request);
  if (auto wrong = missing_directory(request); !wrong.empty()) return wrong;
  if (error == ENOENT) {
    if (const auto interpreter = interpreter_of(program); !interpreter.empty()) {
      return cannot_run(request, fmt::format("the interpreter that its first line names does not exist: {}", interpreter));
    }
  }
  if (error == EAGAIN) {
    rlimit limit{};
    getrlimit(RLIMIT_NPROC, &limit);
    return cannot_run(request, fmt::format("{}; the limit of processes is {} (`ulimit -u`)", std::strerror(error), limit.rlim_cur));
  }
  return cannot_run(request, std::strerror(error));
}

}  // namespace digdag::command
