#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace digdag::dig {

/// The memory of the JavaScript engine: bounded, and made for processes that are forked only to compute for a millisecond.
///
/// After `begin_fork` new blocks come from fresh pages that were mapped at once, and what was allocated before is never given
/// back. Holes between the blocks of the process that was forked are not filled: each would cost the copy of a page. For the same
/// reason blocks stand by their size before: what an evaluation changes, the heads of objects, then stands on few pages.
class ScriptHeap {
 public:
  ScriptHeap() = default;
  ~ScriptHeap();
  ScriptHeap(const ScriptHeap&) = delete;
  ScriptHeap& operator=(const ScriptHeap&) = delete;

  void* allocate(std::size_t size);
  void* reallocate(void* block, std::size_t size);
  void release(void* block);

  /// From now on no more than so many bytes are added. What is refused gives nullptr; the third time in a row the process ends
  /// with `exit_out_of_memory`, for the engine would collect its garbage ten times, for seconds, before it gives up.
  void limit(std::size_t bytes);
  void no_limit() { most_ = SIZE_MAX; }
  bool was_refused() const { return was_refused_; }
  /// Whether a block of so many bytes would be refused; if so, it counts as refused.
  bool refuses(double bytes);

  void begin_fork();

  static constexpr int exit_out_of_memory = 86;

 private:
  /// Stands before each block.
  struct Head {
    std::uint32_t forks;       ///< `forks_` when it was allocated
    std::uint32_t size_class;  ///< 0: a block of its own from malloc
    std::size_t size;
  };
  struct Free {
    Free* next;
  };
  /// Memory that is handed out from its start.
  struct Range {
    char* at = nullptr;
    char* end = nullptr;
    std::size_t size() const { return static_cast<std::size_t>(end - at); }
    char* take(std::size_t bytes) { return std::exchange(at, at + bytes); }
  };
  static constexpr std::size_t step = 16;
  static constexpr std::size_t most_small = 1024;

  static Head* head_of(void* block) { return static_cast<Head*>(block) - 1; }
  void* refuse();
  void* small_block(std::size_t size_class);
  /// From the current chunk, or a new one where it has less.
  char* from_chunk(std::size_t bytes);
  bool new_chunk(bool populated);

  std::size_t allocated_ = 0;
  std::size_t most_ = SIZE_MAX;
  int refusals_ = 0;
  bool was_refused_ = false;
  std::uint32_t forks_ = 0;
  std::array<Free*, most_small / step + 1> free_{};
  std::array<Range, most_small / step + 1> slabs_{};  ///< of each size, before `begin_fork`
  Range chunk_;
  std::vector<void*> chunks_;
};

}  // namespace digdag::dig
