// The questions that the simulation asks, each answered by a table or two. docs/statistics.md shows
// them (section "What is measured").
#pragma once

#include <vector>

#include "tests/simulation/effort.h"
#include "tests/simulation/tables.h"

namespace consul_canary::simulation {

// How often a canary that is as good as the primary is rolled back.
[[nodiscard]] std::vector<Table> FalseRollbacks(const Effort& effort);

// How soon a canary that fails is rolled back, by us and by the peers.
[[nodiscard]] std::vector<Table> Rollbacks(const Effort& effort);

// What a fault costs that begins late.
[[nodiscard]] std::vector<Table> LateFaults(const Effort& effort);

// How often a canary at the margin is advanced, and what the advance of a good one costs.
[[nodiscard]] std::vector<Table> Advances(const Effort& effort);

// Slow canaries, with the false rollbacks and the delay that watching for them costs.
[[nodiscard]] std::vector<Table> Slowness(const Effort& effort);

// Canaries that do not answer, and those that do not get the share of their weight.
[[nodiscard]] std::vector<Table> Silence(const Effort& effort);

// The watch after promotion: healthy versions, and faults that only begin there.
[[nodiscard]] std::vector<Table> Watches(const Effort& effort);

// Canaries whose failures eject them: false rollbacks and false advances.
[[nodiscard]] std::vector<Table> Ejections(const Effort& effort);

// What a shield costs until a rollback and until a proof.
[[nodiscard]] std::vector<Table> EjectionPrices(const Effort& effort);

// What is fair there and what is not, exactly, for small ticks.
[[nodiscard]] std::vector<Table> Expectations(const Effort& effort);

// Rollouts from the first step to the promotion, with the default specification.
[[nodiscard]] std::vector<Table> WholeRollouts(const Effort& effort);

}  // namespace consul_canary::simulation
