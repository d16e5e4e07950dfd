#include "tests/benchmarks/allocations.h"

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> bytes_on_heap{0};
std::atomic<std::size_t> peak_bytes{0};

}  // namespace

void* operator new(std::size_t size) {
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  const std::size_t added = malloc_usable_size(memory);
  const std::size_t now = bytes_on_heap.fetch_add(added, std::memory_order_relaxed) + added;
  std::size_t peak = peak_bytes.load(std::memory_order_relaxed);
  while (peak < now && !peak_bytes.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
  return memory;
}

void operator delete(void* memory) noexcept {
  bytes_on_heap.fetch_sub(malloc_usable_size(memory), std::memory_order_relaxed);
  std::free(memory);
}

void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }

namespace consul_canary::benchmarks {

std::size_t BytesOnHeap() { return bytes_on_heap.load(std::memory_order_relaxed); }

std::size_t PeakBytesOnHeap() { return peak_bytes.load(std::memory_order_relaxed); }

void ForgetPeak() { peak_bytes.store(BytesOnHeap(), std::memory_order_relaxed); }

}  // namespace consul_canary::benchmarks
