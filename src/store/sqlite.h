#pragma once

#include <filesystem>
#include <memory>

#include "store/database.h"

namespace digdag::store {

/// Opens DIRECTORY/digdag.sqlite for this process alone, and makes both where they are not there yet (0700, 0600). Throws
/// Error(kind "database") `DIRECTORY is in use by pid N`; where it holds a database of the Java digdag and none of ours; DatabaseError
/// where it cannot be opened. `most_readers`: pieces of work that may read at the same time.
///
/// One thread writes: it runs all pieces of work that wait in one transaction, each in a savepoint of its own, and answers them after
/// its commit.
std::unique_ptr<Database> open_sqlite(const std::filesystem::path& directory, std::size_t most_readers);

/// A private database in memory, gone with the object.
std::unique_ptr<Database> open_memory();

/// The file that `open_sqlite` opens.
std::filesystem::path sqlite_file(const std::filesystem::path& directory);

}  // namespace digdag::store
