#include "dig/script_heap.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace digdag::dig {
namespace {

constexpr std::size_t chunk_bytes = 128 << 10;
constexpr std::size_t slab_bytes = 8 << 10;
constexpr int most_refusals = 3;

}  // namespace

ScriptHeap::~ScriptHeap() {
  for (void* chunk : chunks_) munmap(chunk, chunk_bytes);
}

bool ScriptHeap::refuses(double bytes) {
  if (allocated_ <= most_ && bytes <= static_cast<double>(most_ - allocated_)) return false;
  was_refused_ = true;
  return true;
}

void ScriptHeap::limit(std::size_t bytes) {
  most_ = allocated_ + bytes;
  refusals_ = 0;
  was_refused_ = false;
}

void* ScriptHeap::refuse() {
  was_refused_ = true;
  if (++refusals_ >= most_refusals) std::_Exit(exit_out_of_memory);
  return nullptr;
}

void ScriptHeap::begin_fork() {
  ++forks_;
  free_.fill(nullptr);
  new_chunk(true);
}

bool ScriptHeap::new_chunk(bool populated) {
  void* const chunk =
      mmap(nullptr, chunk_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | (populated ? MAP_POPULATE : 0), -1, 0);
  if (chunk == MAP_FAILED) {
    chunk_ = {};
    return false;
  }
  chunks_.push_back(chunk);
  chunk_ = {static_cast<char*>(chunk), static_cast<char*>(chunk) + chunk_bytes};
  return true;
}

char* ScriptHeap::from_chunk(std::size_t bytes) {
  if (chunk_.size() < bytes && !new_chunk(false)) return nullptr;
  return chunk_.take(bytes);
}

void* ScriptHeap::small_block(std::size_t size_class) {
  if (Free* const block = free_[size_class]) {
    free_[size_class] = block->next;
    return block;
  }
  const std::size_t bytes = sizeof(Head) + size_class * step;
  if (forks_ > 0) {
    char* const head = from_chunk(bytes);
    return head ? head + sizeof(Head) : nullptr;
  }
  Range& slab = slabs_[size_class];
  if (slab.size() < bytes) {
    char* const start = from_chunk(slab_bytes);
    if (!start) return nullptr;
    slab = {start, start + slab_bytes};
  }
  return slab.take(bytes) + sizeof(Head);
}

void* ScriptHeap::allocate(std::size_t size) {
  if (size == 0) return nullptr;
  const std::size_t size_class = size <= most_small ? (size + step - 1) / step : 0;
  const std::size_t bytes = sizeof(Head) + (size_class > 0 ? size_class * step : size);
  if (bytes < size || allocated_ > most_ || bytes > most_ - allocated_) return refuse();
  void* block = nullptr;
  if (size_class > 0) {
    block = small_block(size_class);
  } else if (void* const own = std::malloc(bytes)) {
    block = static_cast<Head*>(own) + 1;
  }
  if (!block) return refuse();
  *head_of(block) = {forks_, static_cast<std::uint32_t>(size_class), bytes};
  allocated_ += bytes;
  refusals_ = 0;
  return block;
}

void ScriptHeap::release(void* block) {
  if (!block) return;
  const Head& head = *head_of(block);
  allocated_ -= head.size;
  if (head.forks != forks_) return;
  if (head.size_class == 0) {
    std::free(head_of(block));
  } else {
    auto* const free = static_cast<Free*>(block);
    Free*& first = free_[head.size_class];
    free->next = first;
    first = free;
  }
}

void* ScriptHeap::reallocate(void* block, std::size_t size) {
  if (!block) return allocate(size);
  if (size == 0) {
    release(block);
    return nullptr;
  }
  const Head head = *head_of(block);
  const std::size_t room = head.size - sizeof(Head);
  if (head.size_class > 0 && size <= room && size + step > room) return block;
  if (head.size_class == 0 && size > most_small && head.forks == forks_) {
    const std::size_t bytes = sizeof(Head) + size;
    if (bytes < size || bytes > head.size + (most_ > allocated_ ? most_ - allocated_ : 0)) return refuse();
    auto* const moved = static_cast<Head*>(std::realloc(head_of(block), bytes));
    if (!moved) return refuse();
    moved->size = bytes;
    allocated_ += bytes - head.size;
    refusals_ = 0;
    return moved + 1;
  }
  void* const moved = allocate(size);
  if (!moved) return nullptr;
  std::memcpy(moved, block, std::min(size, room));
  release(block);
  return moved;
}

}  // namespace digdag::dig
