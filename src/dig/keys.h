#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace digdag::dig {

/// The reserved keys of the language (spec/language.md 6, decisions.md 1).

/// Keys of a file besides its tasks that are copied into the definition, in the order in which they stand there.
const std::vector<std::string>& file_keys();
/// Keys that a group may have besides its tasks.
const std::vector<std::string>& group_keys();
/// Keys of a file that mean nothing further inside: `_params`, `_concurrency`, `trigger`.
bool is_file_only_key(std::string_view key);
/// Keys that the engine reads on any task, so that no operator need know them: `_export`, `_retry`, `_error`, `_type`, ….
const std::vector<std::string>& task_keys();
/// Keys kept for later versions: `_pool`, `_priority`, `_cache`, `_finally`.
bool is_reserved_key(std::string_view key);

/// The name of the tree whose tasks stand under a key of a task: `^sub` (`_do`, `_else_do`), `^check`, `^error`; "" for other keys.
std::string_view name_of_subtasks(std::string_view key);

/// `foo, bar` for a message; of many names the first 20.
std::string list_names(const std::vector<std::string>& names);
/// `'foo', '_exprt' (did you mean [_export]?)`: unknown keys with what may have been meant.
std::string name_with_suggestions(const std::vector<std::string>& unknown, const std::vector<std::string>& known);

}  // namespace digdag::dig
