// The only place of the tests that polls: everything that takes time is a condition with a limit.
#pragma once

#include <chrono>
#include <functional>

namespace consul_canary::testing {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Asks `condition` at once and then every `interval`, until it holds (true) or `limit` has passed
// (false; it is asked once more after the limit, so that a slow machine's last look counts).
[[nodiscard]] bool WaitUntil(const std::function<bool()>& condition, milliseconds limit,
                             milliseconds interval = milliseconds(20));

// Lets `time` pass, for what is defined by its length ("Consul stopped for 20 s"), never in place
// of a condition.
void Pass(milliseconds time);

}  // namespace consul_canary::testing
