// Restarts of an e-process, so that a late fault is found as fast as an early one: a
// Shiryaev–Roberts sum whose prior mass is spent over epochs of 60 s. Internal to stats/: what
// harm.h, ejected_harm.h and late.h share. Derivation: docs/statistics.md#harm.
//
//     start of epoch j:  lnR_k <- logaddexp(lnR_k, ln gamma_j + ln w_k);   spent += gamma_j
//     ln M = logaddexp(logsumexp_k lnR_k, ln(1 - spent))
//     gamma_0 = 3/4; gamma_j = 1/5 / (planned - 1) for the planned epochs after it, and beyond
//     them, for whoever is watched longer than planned, 1/20 / (i (i + 1)), i = j - (planned - 1);
//     1/4 / (j (j + 1)) without a plan (planned = 0) or with one epoch alone; all times
//     EpochPlan::mass
#pragma once

#include <cstdint>
#include <span>

namespace consul_canary::stats {

inline constexpr double kEpochSeconds = 60.0;

// The parts of a process's state that restarts touch. Borrows them: lives as long as an expression.
struct Restarts {
  std::span<double> log_sums;
  double& spent;
  std::int64_t& epoch;
  double& epoch_seconds;
};

template <class State>
[[nodiscard]] Restarts RestartsOf(State& state) {
  return {state.log_sums, state.spent, state.epoch, state.epoch_seconds};
}

struct EpochPlan {
  std::int64_t planned = 0;       // epochs
  double length = kEpochSeconds;  // seconds, of each
  double mass = 1;                // of all epochs together; the rest is for Restart
};

// Before a tick's evidence is added: begins the epochs that are due. The first waits until there is
// something to judge; several that a gap has spanned begin together. As many log_weights as
// log_sums.
void BeginEpochs(Restarts restarts, std::span<const double> log_weights, const EpochPlan& plan,
                 bool has_evidence);

// Before a tick's evidence is added, once the first epoch has begun: a restart between epochs, with
// this mass. What was seen before the tick may choose when and with how much, as long as all masses
// sum to 1 at most.
void Restart(Restarts restarts, std::span<const double> log_weights, double mass);

// After a tick's evidence: its time counts towards the next epoch once one has begun.
void PassTime(Restarts restarts, double elapsed_seconds);

// ln M; 0 before the first epoch.
[[nodiscard]] double LogRestarted(std::span<const double> log_sums, double spent,
                                  std::int64_t epoch);

}  // namespace consul_canary::stats
