#include "base/private_directory.h"

#include <cerrno>
#include <cstdlib>
#include <string>

#include "base/file.h"

namespace digdag {

PrivateDirectory::PrivateDirectory(const std::filesystem::path& parent, std::string_view prefix) {
  std::string name = parent / (std::string(prefix) + "XXXXXX");
  if (mkdtemp(name.data()) == nullptr) throw io_error(parent, errno);
  path_ = name;
}

PrivateDirectory::~PrivateDirectory() {
  if (!path_.empty()) remove_tree(path_);
}

}  // namespace digdag
