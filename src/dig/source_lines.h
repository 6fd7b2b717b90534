#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace digdag::dig {

/// Finds the lines that errors point into, in the files of a project. A file is read when its first line is asked for.
class SourceLines {
 public:
  /// Positions name their files relative to `root`.
  explicit SourceLines(std::filesystem::path root) : root_(std::move(root)) {}

  /// The text of a file that is known already.
  void add(std::string_view display_name, std::string_view text);
  /// The error with its source line, where that can be found.
  Error complete(Error error);

 private:
  struct Text {
    std::string content;
    std::vector<std::size_t> starts;  ///< of its lines
  };
  const Text& text_of(std::uint16_t file);

  std::filesystem::path root_;
  std::map<std::uint16_t, Text> texts_;
};

}  // namespace digdag::dig
