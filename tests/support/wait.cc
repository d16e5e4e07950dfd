#include "tests/support/wait.h"

#include <thread>

namespace consul_canary::testing {

bool WaitUntil(const std::function<bool()>& condition, milliseconds limit, milliseconds interval) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= deadline) return condition();
    std::this_thread::sleep_for(interval);  // between two looks at the condition
  }
  return true;
}

// What is tested is that so much time passes: nothing else could be waited for.
void Pass(milliseconds time) { std::this_thread::sleep_for(time); }

}  // namespace consul_canary::testing
