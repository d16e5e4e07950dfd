// When the loop's next tick is due, and by how much it is late. Pure: time is an argument.
#pragma once

#include <algorithm>
#include <optional>

#include "exporter/base/clock.h"

namespace consul_canary::control {

class TickClock {
 public:
  TickClock(base::milliseconds interval, base::MonotonicTime now)
      : interval_(interval), last_(now) {}

  // Begins a tick if one is due: after a round of scrapes, so that what was counted is not left
  // lying, or without one when it is overdue. A sidecar that appears is read in a round of its own,
  // so not each round is a tick: no two begin within half an interval. Returns by how much more
  // than an interval after the one before it begins; nullopt: none is due.
  [[nodiscard]] std::optional<base::MonotonicTime::duration> Begin(base::MonotonicTime now,
                                                                   bool round_over) {
    const base::MonotonicTime::duration since = now - last_;
    if (since < (round_over ? interval_ / 2 : interval_ * 3 / 2)) return std::nullopt;
    last_ = now;
    return std::max(since - interval_, base::MonotonicTime::duration::zero());
  }

  [[nodiscard]] base::MonotonicTime overdue_at() const { return last_ + interval_ * 3 / 2; }

 private:
  base::milliseconds interval_;
  base::MonotonicTime last_;
};

}  // namespace consul_canary::control
