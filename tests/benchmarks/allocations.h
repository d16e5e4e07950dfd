// Counts what the program holds on the heap, by replacing the global operators new and delete.
#pragma once

#include <cstddef>

namespace consul_canary::benchmarks {

// Bytes that malloc has set aside for what is alive now.
[[nodiscard]] std::size_t BytesOnHeap();

}  // namespace consul_canary::benchmarks
