#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <iterator>

#include "base/config.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/lookups.h"
#include "cli/remote.h"
#include "cli/settings.h"
#include "dig/loader.h"
#include "store/secret_cipher.h"

namespace digdag::cli {
namespace {

namespace fs = std::filesystem;
using Kind = Option::Kind;
using Secrets = std::vector<std::pair<std::string, std::string>>;

/// A line that a person types into the terminal, which does not show it.
std::string ask(const std::string& key) {
  const Fd terminal(open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
  termios shown{};
  if (!terminal || !isatty(STDIN_FILENO) || tcgetattr(terminal.get(), &shown) != 0)
    throw task_error("no terminal to ask for '" + key + "'; use " + key + "=- or @file");
  std::cerr << key << ":" << std::flush;
  termios hidden = shown;
  hidden.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  tcsetattr(terminal.get(), TCSAFLUSH, &hidden);
  std::string value;
  std::getline(std::cin, value);
  tcsetattr(terminal.get(), TCSAFLUSH, &shown);
  std::cerr << "\n";
  return value;
}

/// What the words after --set mean (spec/cli.md 9.1, decisions.md C-03).
class SecretReader {
 public:
  Secrets read(const std::vector<std::string>& words) {
    for (const std::string& word : words) read(word);
    for (const auto& [key, value] : secrets_) {
      if (!store::is_secret_key(key)) throw UsageError{"Invalid secret key: " + key, true};
      if (value.size() > store::most_secret_value_bytes) throw UsageError{"Invalid secret value for key: " + key, true};
    }
    return std::move(secrets_);
  }

 private:
  void read(const std::string& word) {
    if (word == "-" || word == "@-") return add_all(dig::load_yaml(standard_input(), {.display_name = "standard input"}), "standard input");
    if (word.starts_with('@')) {
      const std::string file = word.substr(1);
      if (file.empty()) throw WrongWords{"--set @ needs the name of a file"};
      return add_all(dig::load_yaml_file(file, (current_directory() / file).parent_path(), file), file);
    }
    const std::size_t equals = word.find('=');
    const std::string key = word.substr(0, equals);
    if (key.empty()) throw WrongWords{"--set needs key=value: " + word};
    if (equals == std::string::npos) {
      if (stdin_read_) throw UsageError{"Stdin already read"};
      return add(key, ask(key), "--set secret key: '" + key + "'");
    }
    std::string value = word.substr(equals + 1);
    if (value == "-")
      value = standard_input();
    else if (value.starts_with('@'))
      value = read_file(value.substr(1));
    add(key, std::move(value), "--set secret key: '" + key + "'");
  }

  void add_all(const Value& mapping, const std::string& file) {
    for (const auto& member : mapping.as_object()) {
      if (!member.value.is_scalar() || member.value.is_null())
        throw config_error("The value of secret '" + member.key + "' in " + file + " must be a text, number or boolean");
      add(member.key, convert_to_string(member.value, member.key), "secret key: '" + member.key + "' in file: " + file);
    }
  }

  void add(const std::string& key, std::string value, const std::string& place) {
    for (const auto& known : secrets_) {
      if (known.first == key) throw UsageError{"Duplicate " + place};
    }
    secrets_.emplace_back(key, std::move(value));
  }

  std::string standard_input() {
    if (stdin_read_) throw UsageError{"Can only read once from stdin", true};
    stdin_read_ = true;
    return {std::istreambuf_iterator<char>(std::cin), {}};
  }

  Secrets secrets_;
  bool stdin_read_ = false;
};

/// Where secrets are kept: files of this user, or a project on the server.
class SecretPlace {
 public:
  virtual ~SecretPlace() = default;
  virtual void set(const std::string& key, const std::string& value) = 0;
  virtual void erase(const std::string& key) = 0;
  virtual std::vector<std::string> keys() = 0;
};

class LocalSecrets : public SecretPlace {
 public:
  void set(const std::string& key, const std::string& value) override {
    std::error_code failure;
    fs::create_directories(folder_, failure);
    if (!failure) fs::permissions(folder_, fs::perms::owner_all, failure);
    if (failure) throw Error("io", folder_.string() + ": " + failure.message());
    write_file_atomically(folder_ / key, value, 0600);
  }
  void erase(const std::string& key) override {
    std::error_code failure;
    fs::remove(folder_ / key, failure);
    if (failure) throw Error("io", (folder_ / key).string() + ": " + failure.message());
  }
  std::vector<std::string> keys() override {
    std::vector<std::string> names;
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(folder_, none)) {
      if (entry.is_regular_file(none)) names.push_back(entry.path().filename());
    }
    return names;
  }

 private:
  const fs::path folder_ = configuration_home() / "secrets";
};

class ProjectSecrets : public SecretPlace {
 public:
  ProjectSecrets(client::RestClient& server, const std::string& project)
      : server_(server), path_("/api/projects/" + client::path_part(text_at(project_named(server, project), "id")) + "/secrets") {}

  void set(const std::string& key, const std::string& value) override {
    change("set", [&] { server_.put(path_ + "/" + client::path_part(key), Value::object({{"value", value}})); });
  }
  void erase(const std::string& key) override {
    change("delete", [&] { server_.remove(path_ + "/" + client::path_part(key)); });
  }
  std::vector<std::string> keys() override {
    std::vector<std::string> names;
    for (const Value& secret : list_at(server_.get(path_), "secrets")) names.push_back(text_at(secret, "key"));
    return names;
  }

 private:
  template <typename Request>
  void change(const std::string& verb, Request request) {
    try {
      request();
    } catch (const client::RestError& error) {
      throw task_error("Failed to " + verb + " project secret: " + error.message()).because(error);
    }
  }

  client::RestClient& server_;
  const std::string path_;
};

int use(SecretPlace& place, const Secrets& to_set, const std::vector<std::string>& to_delete, bool as_json) {
  for (const auto& [key, value] : to_set) {
    place.set(key, value);
    std::cerr << "Secret '" << key << "' set\n";
  }
  for (const std::string& key : to_delete) {
    place.erase(key);
    std::cerr << "Secret '" << key << "' deleted\n";
  }
  if (!to_set.empty() || !to_delete.empty()) return 0;
  std::vector<std::string> keys = place.keys();
  std::sort(keys.begin(), keys.end());
  if (as_json) {
    Array secrets;
    for (const std::string& key : keys) secrets.push_back(Value::object({{"key", key}}));
    std::cout << to_json(Value::object({{"secrets", Value(std::move(secrets))}})) << "\n";
    return 0;
  }
  for (const std::string& key : keys) std::cout << visible(key) << "\n";
  return 0;
}

int secrets(const Arguments& arguments, Remote& remote) {
  if (!arguments.has("--local") && !arguments.has("--project")) throw UsageError{"Please specify either --project or --local"};
  if (arguments.has("--local") && arguments.has("--project")) throw UsageError{"Please specify only one of --project and --local"};
  if (arguments.has("--set") && arguments.has("--delete")) throw UsageError{"Please specify only one of --set or --delete"};
  const Secrets to_set = SecretReader().read(arguments.list("--set"));
  const std::vector<std::string>& to_delete = arguments.list("--delete");
  for (const std::string& key : to_delete) {
    if (!store::is_secret_key(key)) throw UsageError{"Invalid secret key: " + key, true};
  }
  if (arguments.has("--local")) {
    LocalSecrets place;
    return use(place, to_set, to_delete, arguments.has("--json"));
  }
  ProjectSecrets place(remote.server(), arguments.text_or("--project", ""));
  return use(place, to_set, to_delete, arguments.has("--json"));
}

}  // namespace

int secrets_command(const Invocation& invocation) {
  return client_command(invocation, "secrets",
                        {
                            {{"--local"}, Kind::flag, "", "secrets of this user, for `digdag run`"},
                            {{"--project"}, Kind::text, "NAME", "secrets of a project on the server"},
                            {{"--set"},
                             Kind::words,
                             "KEY=VALUE...",
                             "set secrets: KEY=VALUE, KEY=@FILE, KEY=- (standard input), KEY (asks), @FILE or - (a mapping)"},
                            {{"--delete"}, Kind::words, "KEY...", "delete secrets"},
                            {{"--json"}, Kind::flag, "", "print the keys as one JSON document, as the REST API does"},
                        },
                        {0, 0}, secrets);
}

}  // namespace digdag::cli
