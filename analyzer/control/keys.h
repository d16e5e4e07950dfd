// Where everything stands in Consul's KV. Kinds that are watched as a whole have a prefix of their
// own, so that one blocking query serves all rollouts; what is read seldom or is large lies below
// rollouts/.
//
//   consul-canary/specs/<id>                      the specification
//   consul-canary/orders/<id>/<sequence>          orders that nobody has carried out yet
//   consul-canary/locks/<id>                      held by the session of the analyzer that rules it
//   consul-canary/rollouts/<id>/state
//   consul-canary/rollouts/<id>/decisions/<sequence>
//   consul-canary/analyzers/<analyzer id>         held by the session of an analyzer that is alive
//   consul-canary/paused                          the pause of the whole fleet
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace consul_canary::control {

inline constexpr std::string_view kSpecsPrefix = "consul-canary/specs/";
inline constexpr std::string_view kOrdersPrefix = "consul-canary/orders/";
inline constexpr std::string_view kLocksPrefix = "consul-canary/locks/";
inline constexpr std::string_view kRolloutsPrefix = "consul-canary/rollouts/";
inline constexpr std::string_view kAnalyzersPrefix = "consul-canary/analyzers/";
inline constexpr std::string_view kFleetPauseKey = "consul-canary/paused";

[[nodiscard]] std::string SpecKey(std::string_view id);
// Of all orders of a rollout; ends with a slash.
[[nodiscard]] std::string OrdersKey(std::string_view id);
[[nodiscard]] std::string OrderKey(std::string_view id, std::uint64_t sequence);
[[nodiscard]] std::string LockKey(std::string_view id);
// "consul-canary/rollouts/<id>/<part>"; the part may be empty: everything of it.
[[nodiscard]] std::string RolloutKey(std::string_view id, std::string_view part);
[[nodiscard]] std::string AnalyzerKey(std::string_view analyzer_id);

// Decision and order keys sort by their number: 00000042.
[[nodiscard]] std::string SequenceName(std::uint64_t sequence);
// The number that a key ends with; nullopt where SequenceName() writes no such name.
[[nodiscard]] std::optional<std::uint64_t> SequenceOf(std::string_view key);

// What follows `prefix` in `key`; empty for the prefix itself and for other keys.
[[nodiscard]] std::string_view After(std::string_view prefix, std::string_view key);

}  // namespace consul_canary::control
