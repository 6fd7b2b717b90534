#include "base/position.h"

#include <deque>
#include <mutex>
#include <unordered_map>

#include "base/text.h"

namespace digdag {
namespace {
struct FileNames {
  std::mutex mutex;
  std::deque<std::string> names{std::string()};
  std::unordered_map<std::string_view, std::uint16_t> ids;
};

FileNames& file_names() {
  static FileNames* const names = new FileNames;  // never destroyed: threads may name files while the process ends
  return *names;
}
constexpr std::size_t most_files = 65535;
}  // namespace

std::uint16_t file_id(std::string_view name) {
  if (name.empty()) return 0;
  FileNames& table = file_names();
  const std::lock_guard lock(table.mutex);
  if (const auto found = table.ids.find(name); found != table.ids.end()) return found->second;
  if (table.names.size() >= most_files) return static_cast<std::uint16_t>(most_files - 1);
  if (table.names.size() == most_files - 1) name = "(too many files)";
  table.names.emplace_back(name);
  const auto id = static_cast<std::uint16_t>(table.names.size() - 1);
  table.ids.emplace(table.names.back(), id);
  return id;
}

std::string file_name(std::uint16_t id) {
  FileNames& table = file_names();
  const std::lock_guard lock(table.mutex);
  return id < table.names.size() ? table.names[id] : std::string();
}

std::string to_string(const Position& position) {
  std::string text = visible(file_name(position.file));
  if (!position.known()) return text;
  if (!text.empty()) text += ':';
  text += std::to_string(position.line);
  if (position.column != 0) text += ':' + std::to_string(position.column);
  return text;
}

}  // namespace digdag
