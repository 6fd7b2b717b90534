#include "store/archive_tree.h"

#include <deque>

#include "base/text.h"

namespace digdag::store {
namespace {

constexpr std::size_t most_path_bytes = 2048, most_name_bytes = 255;
constexpr std::uint64_t most_bytes_of_all_paths = 32 << 20;
constexpr int most_hops = 40;                     // as the kernel, which then gives up
constexpr std::uint64_t most_steps = 10'000'000;  // of following all links

}  // namespace

Error bad_entry(const std::string& why) { return Error("illegal argument", "Bad zip entry").hint(why); }

struct ArchiveTree::Node {
  enum class Kind : std::uint8_t { folder, file, link };
  Kind kind = Kind::folder;
  Node* parent = nullptr;
  std::string target;
  std::map<std::string, std::unique_ptr<Node>, std::less<>> children;
};

ArchiveTree::ArchiveTree() : root_(std::make_unique<Node>()) {}
ArchiveTree::~ArchiveTree() = default;

std::string ArchiveTree::normal_path(std::string_view path) {
  const std::string shown = visible(path.substr(0, 200));
  if (path.starts_with('/')) throw bad_entry("the path " + shown + " is absolute");
  if (path.size() > most_path_bytes)
    throw bad_entry("the path " + shown + "… is longer than " + std::to_string(most_path_bytes) + " bytes");
  std::string normal;
  for (const std::string& part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") throw bad_entry("the path " + shown + " leads out of the project");
    if (part.size() > most_name_bytes) throw bad_entry("a name in the path " + shown + " is longer than 255 bytes");
    if (!normal.empty()) normal += '/';
    normal += part;
  }
  return normal;
}

ArchiveTree::Node& ArchiveTree::folder_of(std::string_view path, std::string& name) {
  Node* folder = root_.get();
  std::vector<std::string> parts = split(path, '/');
  name = std::move(parts.back());
  parts.pop_back();
  for (std::string& part : parts) {
    auto& child = folder->children[part];
    if (!child) {
      child = std::make_unique<Node>();
      child->parent = folder;
    }
    if (child->kind != Node::Kind::folder) throw bad_entry(visible(path) + " lies below " + part + ", which is no folder");
    folder = child.get();
  }
  return *folder;
}

const ArchiveTree::Node* ArchiveTree::find_file(std::string_view path) const {
  const Node* node = root_.get();
  for (const std::string& part : split(path, '/')) {
    const auto child = node->children.find(part);
    if (child == node->children.end()) return nullptr;
    node = child->second.get();
  }
  return node->kind == Node::Kind::file ? node : nullptr;
}

void ArchiveTree::add(const ArchiveEntry& entry) {
  path_bytes_ += entry.path.size() + entry.target.size();
  if (path_bytes_ > most_bytes_of_all_paths) throw bad_entry("its paths are longer than 32 MiB together");
  if (entry.kind == ArchiveEntry::Kind::hard_link && find_file(entry.target) == nullptr)
    throw bad_entry("the hard link " + visible(entry.path) + " names no file that stands before it");
  std::string name;
  Node& folder = folder_of(entry.path, name);
  auto& node = folder.children[name];
  const auto kind = entry.kind == ArchiveEntry::Kind::link ? Node::Kind::link : Node::Kind::file;
  if (!node) {
    node = std::make_unique<Node>();
    node->parent = &folder;
    node->kind = kind;
  } else if (node->kind != Node::Kind::file || kind != Node::Kind::file) {
    throw bad_entry(visible(entry.path) + " is there twice");
  }
  if (kind != Node::Kind::link) return;
  if (entry.target.empty() || entry.target.starts_with('/') || entry.target.size() > most_path_bytes)
    throw bad_entry("the link " + visible(entry.path) + " leads to " + visible(entry.target.substr(0, 200)));
  node->target = entry.target;
  links_.push_back(entry.path);
}

void ArchiveTree::follow(const Node& link, std::string_view path, std::uint64_t& steps_left) const {
  const Node* at = link.parent;
  std::uint64_t below_missing = 0;  // parts that nothing in the archive stands for, below `at`
  std::deque<std::string> rest;
  const auto put_before_rest = [&](const std::string& target) {
    std::vector<std::string> parts = split(target, '/');
    rest.insert(rest.begin(), parts.begin(), parts.end());
  };
  put_before_rest(link.target);
  for (int hops = 0; !rest.empty();) {
    if (steps_left-- == 0) throw bad_entry("its links lead through too many others");
    const std::string part = std::move(rest.front());
    rest.pop_front();
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (below_missing > 0)
        --below_missing;
      else if (at->parent == nullptr)
        throw bad_entry("the link " + visible(path) + " leads out of the project");
      else
        at = at->parent;
      continue;
    }
    const auto child = below_missing > 0 ? at->children.end() : at->children.find(part);
    if (child == at->children.end()) {
      ++below_missing;
    } else if (child->second->kind == Node::Kind::link) {
      if (++hops > most_hops) return;
      put_before_rest(child->second->target);
    } else {
      at = child->second.get();
    }
  }
}

void ArchiveTree::check_links() const {
  std::uint64_t steps_left = most_steps;
  for (const std::string& path : links_) {
    const Node* node = root_.get();
    for (const std::string& part : split(path, '/')) node = node->children.find(part)->second.get();
    follow(*node, path, steps_left);
  }
}

}  // namespace digdag::store
