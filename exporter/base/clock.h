// Names for the two kinds of time. Intervals are measured on the monotonic clock; wall time is for
// display, for what is persisted and for comparison with other machines' timestamps. Pure code
// takes time as an argument and reads neither clock.
#pragma once

#include <chrono>

namespace consul_canary::base {

using MonotonicTime = std::chrono::steady_clock::time_point;
using WallTime = std::chrono::system_clock::time_point;
using std::chrono::milliseconds;
using std::chrono::seconds;

}  // namespace consul_canary::base
