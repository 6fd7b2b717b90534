#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace digdag::cli {

/// One option of a command, as its usage shows it.
struct Option {
  enum class Kind {
    flag,           ///< `--no-save`
    text,           ///< `--session EXPR`
    optional_text,  ///< `--wait` or `--wait=5m`; alone its text is empty
    integer,        ///< `--max-task-threads N`
    list,           ///< may be repeated, values are kept in order: `-p KEY=VALUE`
    words,          ///< all words after it that do not start with `-`, as they are, and a single `-`: `--set a=1 b=2`
    dynamic,        ///< `-X key=value` or `-Xkey=value`
  };
  std::vector<std::string> names;  ///< the first one stands in error messages
  Kind kind = Kind::flag;
  std::string value_name;  ///< `EXPR`
  std::string help;        ///< one line; empty: not shown
};

/// A wrong command line: a message for `error: …`; `usage`: the usage is printed before it.
struct UsageError {
  std::string message;
  bool usage = false;
};

/// The words of a command line, taken apart by the rules of spec/cli.md 1.3 (decisions.md C-02): option and value are
/// separate words (`--name=value` too), options and positional words mix, `--` ends options, every word is trimmed of blanks
/// and of one pair of double quotes.
class Arguments {
 public:
  /// Throws UsageError: unknown option, missing value, twice, no integer, no `key=value`.
  Arguments(const std::vector<Option>& options, const std::vector<std::string>& words);

  // `name`: any name of the option.
  bool has(std::string_view name) const;
  std::optional<std::string> text(std::string_view name) const;
  std::string text_or(std::string_view name, std::string fallback) const;
  std::int64_t integer_or(std::string_view name, std::int64_t fallback) const;
  const std::vector<std::string>& list(std::string_view name) const;
  const std::vector<std::pair<std::string, std::string>>& dynamic() const { return dynamic_; }
  const std::vector<std::string>& positional() const { return positional_; }

 private:
  const Option* option_of(std::string_view name) const;
  std::string hint_for(std::string_view unknown_name) const;
  void take(const Option& option, std::string_view given_name, std::string value);

  const std::vector<Option>* options_;
  std::map<const Option*, std::vector<std::string>> values_;
  std::vector<std::pair<std::string, std::string>> dynamic_;
  std::vector<std::string> positional_;
};

/// Whether the words ask for the usage: then nothing else is looked at (spec/cli.md 1.3).
bool asks_for_help(const std::vector<std::string>& words);

/// A word without the blanks around it and without one pair of double quotes.
std::string trim_word(std::string_view word);

/// The values of `-p KEY=VALUE` in command-line order: each split at commas, pieces without `=` joined to the one before
/// (spec/cli.md 5.2, decisions.md C-03). Throws UsageError `Parameter -p expected a value of the form a=b but got:v`.
std::vector<std::pair<std::string, std::string>> key_values(const std::vector<std::string>& values, std::string_view option);

/// The lines of a usage that describe options: two blanks, names, description at column 37.
std::string describe_options(const std::vector<Option>& options);

}  // namespace digdag::cli
