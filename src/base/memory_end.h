#pragma once

namespace digdag {

/// From here on memory that ends where no handler can tell it (in a thread, while another error is handled) ends the program
/// with `error: out of memory` and exit code 1, and not with an abort. Call it once, at the start.
void tell_when_memory_ends();

/// The same at once.
[[noreturn]] void end_for_lack_of_memory();

}  // namespace digdag
