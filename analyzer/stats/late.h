// Requests that hang: they complete nothing, fail nothing and stand in no histogram, so only the
// number of requests under way betrays them (docs/outcomes.md#late). A lower bound on how many of
// the canary's requests take longer than a time T, tested against the share that the primary's own
// histogram allows. Derivation: docs/statistics.md#late.
#pragma once

#include <array>
#include <cstdint>

namespace consul_canary::stats {

inline constexpr int kLateGridSize = 8;

// The share of requests that may take longer than T without being late: T is chosen so that at most
// this share of the primary's requests does.
inline constexpr double kLateShare = 0.001;

// What the blocks say that closed within a tick: requests that began, and of these at least so many
// that took longer than T. 0 <= late <= started.
struct LateCounts {
  std::int64_t started = 0;
  std::int64_t late = 0;

  bool operator==(const LateCounts&) const = default;
};

// What the primary's requests did in the same blocks.
struct PrimaryFlight {
  LateCounts late;
  double seconds = 0;       // that the blocks lasted
  double under_way = 0;     // requests at their end
  double mean_seconds = 0;  // no less than its requests take, as its histogram has them
};

// Whether the primary itself has requests that take long: by the same bound, or by more requests
// under way than their rate and their time account for (Little's law, twice and ten more). Whatever
// hangs for both, streams that no histogram shows, or a caller that goes away are no fault of the
// canary's: such blocks are left out. It depends on the primary alone, so the rest stays fair.
[[nodiscard]] bool HasLongRequests(const PrimaryFlight& primary);

// Bernoulli e-process with restarts, as HarmState, for the null "each request is late with a chance
// of at most kLateShare", mixed over alternatives from 4 times to nearly all.
struct LateState {
  std::array<double, kLateGridSize> log_sums{};
  double spent = 0;
  std::int64_t epoch = -1;
  double epoch_seconds = 0;

  bool operator==(const LateState&) const = default;
};

// planned_epochs as HarmPlan's. A tick without requests adds no evidence.
void ObserveLate(LateState& state, std::int64_t planned_epochs, const LateCounts& counts,
                 double overdispersion, double elapsed_seconds);

// ln M against the null above.
[[nodiscard]] double LogLate(const LateState& state);

}  // namespace consul_canary::stats
