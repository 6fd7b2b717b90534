#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace digdag::dig {

/// Which files of a project are left out: the text of `.digdagignore`, in the syntax of gitignore (spec/cli.md 8.1).
///
/// Comments, `!`, `/` at the start and within, `*`, `?`, `[a-z]`, `**`, `/` at the end, `\` before a special character. The last
/// rule that matches decides.
class IgnoreRules {
 public:
  IgnoreRules() = default;
  explicit IgnoreRules(std::string_view text);

  /// `path` is relative to the project, with `/` between its parts. Says nothing about what lies in an ignored folder: a
  /// walker does not enter one.
  bool ignores(std::string_view path, bool is_folder) const;

 private:
  struct Rule {
    std::vector<std::string> parts;  ///< the pattern cut at `/`
    bool negated = false;
    bool only_folders = false;
    bool anchored = false;  ///< counts from the project's folder; else it is matched with the last part of a path
  };
  std::vector<Rule> rules_;
};

}  // namespace digdag::dig
