#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "store/project_archive.h"

namespace digdag::store {

/// `Bad zip entry`, what the original says of an archive that it does not like, with a hint that says why.
Error bad_entry(const std::string& why);

/// The paths of an archive while it is read: what may stand beside what, and where links lead.
class ArchiveTree {
 public:
  ArchiveTree();
  ~ArchiveTree();
  ArchiveTree(const ArchiveTree&) = delete;
  ArchiveTree& operator=(const ArchiveTree&) = delete;

  /// The path in its normal form (no `.`, no double `/`); empty for the root itself. Throws where it would lead out.
  static std::string normal_path(std::string_view path);

  /// Throws where the path lies below a link or a file, or is another kind of thing already. The paths of hard links must be there.
  void add(const ArchiveEntry& entry);
  /// Throws where following a link would leave the project, whatever other links do. Call when everything was added: extraction must
  /// make the links last.
  void check_links() const;

 private:
  struct Node;
  Node& folder_of(std::string_view path, std::string& name);
  const Node* find_file(std::string_view path) const;
  void follow(const Node& link, std::string_view path, std::uint64_t& steps_left) const;

  std::unique_ptr<Node> root_;
  std::vector<std::string> links_;
  std::uint64_t path_bytes_ = 0;
};

}  // namespace digdag::store
