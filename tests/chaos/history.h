// What a watcher of Consul and the proxies saw of rollouts, as plain values, and the invariants
// that hold over it. Pure: each check returns its violations in words, and nothing when all is
// well.
//
// Consul's indexes order everything that it stores, entries and keys alike: that decides what came
// first wherever both sides have one, not the clocks of those who saw it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "exporter/base/clock.h"

namespace consul_canary::testing {

using base::MonotonicTime;

// One version of a splitter, as Consul had it. Percent.
struct SplitterSeen {
  std::uint64_t index = 0;  // its ModifyIndex
  double canary = 0;
  double sum = 100;         // of all splits
  std::uint64_t epoch = 0;  // of the leader who wrote it; 0: none in its Meta
  std::string hand{};       // mark of the last hand edit that it comes after
  MonotonicTime at{};       // when the watcher had it
};

// A write of the splitter that passed a proxy.
struct SplitterWrite {
  std::string analyzer{};
  double canary = 0;
  double sum = 100;
  std::uint64_t epoch = 0;
  MonotonicTime received{};   // by the proxy
  MonotonicTime forwarded{};  // to Consul
  std::optional<MonotonicTime> answered{};
  bool accepted = false;  // answered `true`
};

// A write of the resolver that passed a proxy.
struct ResolverWrite {
  std::string analyzer{};
  std::uint64_t epoch = 0;
  MonotonicTime forwarded{};  // to Consul
  std::optional<MonotonicTime> answered{};
  bool accepted = false;  // answered `true`
};

struct DecisionSeen {
  std::uint64_t sequence = 0;
  std::uint64_t index = 0;  // ModifyIndex of its key
  std::string action{};
  std::string cause{};
  std::string to{};  // phase
  double weight = 0;
  std::string version{};
  std::string reason{};
  // When the transaction that holds it came to a proxy; nullopt: none of them saw it.
  std::optional<MonotonicTime> decided{};
};

// An edit by someone else. Its mark stands in the Meta of this version of the splitter and of all
// that follow.
struct HandEdit {
  std::string mark{};
  double canary = 0;
  MonotonicTime at{};
};

// What the callers had completed at the canary, by their own count.
struct CanaryRequests {
  MonotonicTime at{};
  std::map<std::string, std::int64_t> completed_by_version{};
};

// All of one service.
struct History {
  std::string service{};
  std::vector<SplitterSeen> splitters{};  // by index
  std::vector<SplitterWrite> writes{};    // by `forwarded`
  std::vector<ResolverWrite> resolver_writes{};
  std::vector<DecisionSeen> decisions{};  // by sequence
  std::vector<HandEdit> edits{};
  std::vector<CanaryRequests> requests{};  // by `at`
};

using Violations = std::vector<std::string>;

// In every version of the splitter, and in every write that Consul took.
[[nodiscard]] Violations WeightsSumTo100(const History& history);

// Whatever weight the canary has above 0 is that of the last decision that was stored before, or of
// a hand edit.
[[nodiscard]] Violations WeightsAreDecided(const History& history);

// Each advance on proof: callers had completed `least` requests at the canary since Consul first
// gave it traffic, one of them within `fresh_for` before the decision.
[[nodiscard]] Violations EvidenceWasFresh(const History& history, std::int64_t least,
                                          base::milliseconds fresh_for);

// No write of an epoch is taken that was let through to Consul after one of the same entry and a
// later epoch had been answered, of splitter and resolver alike; nor does the epoch of a splitter
// in Consul ever go back.
[[nodiscard]] Violations DeposedLeadersAreRefused(const History& history);

// Whether `write` was let through after one of a later epoch had been answered with `true`.
[[nodiscard]] bool IsOfADeposedLeader(const History& history, const SplitterWrite& write);

// Numbered from 1 without a gap.
[[nodiscard]] Violations LogIsWhole(const History& history);

[[nodiscard]] Violations CheckAll(const History& history, std::int64_t least,
                                  base::milliseconds fresh_for);

}  // namespace consul_canary::testing
