#pragma once

#include <filesystem>
#include <string_view>
#include <utility>

namespace digdag {

/// A new directory that only this user may enter. It goes with its object, with all that is in it then.
class PrivateDirectory {
 public:
  /// `<parent>/<prefix><random>`. Error(kind "io") with the path of the parent and the cause.
  PrivateDirectory(const std::filesystem::path& parent, std::string_view prefix);
  PrivateDirectory(PrivateDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  PrivateDirectory& operator=(PrivateDirectory&&) = delete;
  ~PrivateDirectory();

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;  ///< empty where it was moved
};

}  // namespace digdag
