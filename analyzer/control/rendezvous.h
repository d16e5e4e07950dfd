// Which analyzer a rollout belongs to, by rendezvous hashing: every analyzer comes to the same
// order from the same names, and where one joins or leaves, only its own rollouts move. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

namespace consul_canary::control {

// The same on every machine and in every version.
[[nodiscard]] std::uint64_t RendezvousWeight(std::string_view rollout, std::string_view analyzer);

// The name with the greatest weight; empty where there is none.
[[nodiscard]] std::string Preferred(std::string_view rollout,
                                    const std::set<std::string>& analyzers);

// How many of `analyzers` come before `analyzer`: 0 for the preferred one.
[[nodiscard]] std::size_t RankOf(std::string_view analyzer, std::string_view rollout,
                                 const std::set<std::string>& analyzers);

}  // namespace consul_canary::control
