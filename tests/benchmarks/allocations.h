// Counts what the program holds on the heap, by replacing the global operators new and delete.
#pragma once

#include <cstddef>

namespace consul_canary::benchmarks {

// Bytes that malloc has set aside for what is alive now.
[[nodiscard]] std::size_t BytesOnHeap();

// The most that was ever set aside at once, since the last call of ForgetPeak().
[[nodiscard]] std::size_t PeakBytesOnHeap();
void ForgetPeak();

}  // namespace consul_canary::benchmarks
