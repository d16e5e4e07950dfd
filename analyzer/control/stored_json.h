// How state, decisions and orders stand in Consul's KV: JSON, each with "version": 1. Whatever
// carries another version is refused, so that an older analyzer never overwrites what a newer one
// wrote; so are times, weights and steps that cannot be. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "analyzer/rollout/state.h"
#include "exporter/base/result.h"

namespace consul_canary::control {

[[nodiscard]] std::string StateToJson(const rollout::State& state);
[[nodiscard]] base::Result<rollout::State> StateFromJson(std::string_view json);

[[nodiscard]] std::string DecisionToJson(const rollout::Decision& decision);
[[nodiscard]] base::Result<rollout::Decision> DecisionFromJson(std::string_view json);

// The sequence is not in the text: it is the key's last part.
[[nodiscard]] std::string OrderToJson(const rollout::Order& order);
[[nodiscard]] base::Result<rollout::Order> OrderFromJson(std::string_view json);

// Who has paused the whole fleet, and why.
struct FleetPause {
  std::string by;
  std::string reason;  // may be empty
  double wall_seconds = 0;

  bool operator==(const FleetPause&) const = default;
};

[[nodiscard]] std::string FleetPauseToJson(const FleetPause& pause);
// nullopt: an empty text, so the fleet is not paused.
[[nodiscard]] base::Result<std::optional<FleetPause>> FleetPauseFromJson(std::string_view json);
// "every rollout is paused by kim since 2026-11-24T17:00:00Z: incident 42"
[[nodiscard]] std::string InWords(const FleetPause& pause);

// {"version": 1, "spec": {…}} around a specification's own JSON.
[[nodiscard]] std::string StoredSpec(std::string_view spec_json);
[[nodiscard]] base::Result<std::string> SpecTextFromStored(std::string_view json);

// "2026-11-24T17:00:00Z" ↔ seconds since 1970; fractions and offsets are read, written are whole
// seconds. Outside the years 1 to 9999: "an unknown time".
[[nodiscard]] std::string FormatWallTime(double wall_seconds);
[[nodiscard]] base::Result<double> ParseWallTime(std::string_view rfc3339);

}  // namespace consul_canary::control
