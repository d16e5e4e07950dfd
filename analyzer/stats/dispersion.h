// How much more failures clump than independent requests would: learned from the primary's
// instances, and used to temper the evidence (docs/statistics.md#overdispersion).
//
//     phi_len = sum over windows, instances of (x_i - n_i p_win)^2 / n_i
//               / sum over windows of (G - 1) p_win (1 - p_win)
//     phi     = max(1, max over window lengths of phi_len)
//
// Both sums forget half of what they hold each hour of windows: an incident of yesterday shall not
// slow today's rollouts, nor months of calm hide that failures have begun to clump.
// G: instances with requests in the window. Windows of 1, 5, 15 and 30 s: what fails together in
// one second, and what fails together for half a minute.
#pragma once

#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "analyzer/stats/counts.h"

namespace consul_canary::stats {

inline constexpr std::size_t kDispersionWindows = 4;
inline constexpr std::array<double, kDispersionWindows> kDispersionSeconds{1, 5, 15, 30};

// Requests of one tick by instance. An instance is known by a name that stays.
using InstanceCounts = std::vector<std::pair<std::string, Counts>>;

struct DispersionState {
  // Of the windows that are over: the two sums above, for each length.
  std::array<double, kDispersionWindows> excess{};
  std::array<double, kDispersionWindows> expected{};
  // Windows that are still open. Not stored: after a restart new ones begin.
  struct Window {
    double seconds = 0;
    std::map<std::string, Counts> instances;

    bool operator==(const Window&) const = default;
  };
  std::array<Window, kDispersionWindows> open;

  bool operator==(const DispersionState&) const = default;
};

// Adds one tick of the primary's instances. At most 64 instances are kept in a window, those that
// came first: more would teach nothing new.
void ObserveDispersion(DispersionState& state, const InstanceCounts& primary,
                       double elapsed_seconds);

// phi >= 1 from the windows that are over, or `floor` where that is greater. Never infinite.
[[nodiscard]] double Overdispersion(const DispersionState& state, double floor);

// Whether any window with at least two instances and a failure is over: without one the floor is
// all that is known, and a verdict should say so.
[[nodiscard]] bool IsDispersionLearned(const DispersionState& state);

}  // namespace consul_canary::stats
