#include "tests/benchmarks/allocations.h"

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> bytes_on_heap{0};

}  // namespace

void* operator new(std::size_t size) {
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  bytes_on_heap.fetch_add(malloc_usable_size(memory), std::memory_order_relaxed);
  return memory;
}

void operator delete(void* memory) noexcept {
  bytes_on_heap.fetch_sub(malloc_usable_size(memory), std::memory_order_relaxed);
  std::free(memory);
}

void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }

namespace consul_canary::benchmarks {

std::size_t BytesOnHeap() { return bytes_on_heap.load(std::memory_order_relaxed); }

}  // namespace consul_canary::benchmarks
