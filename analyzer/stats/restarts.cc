#include "analyzer/stats/restarts.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "analyzer/stats/block.h"

namespace consul_canary::stats {
namespace {

constexpr double kFirstMass = 0.75;
constexpr double kLaterMass = 0.25;
constexpr double kBeyondMass = 0.05;  // of it, for the epochs after the planned ones

// Prior mass of the epochs first..last together, 1 <= first <= last.
double MassOfLaterEpochs(std::int64_t planned_epochs, std::int64_t first, std::int64_t last) {
  const std::int64_t planned = std::max<std::int64_t>(0, planned_epochs - 1);
  const double beyond_mass = planned > 0 ? kBeyondMass : kLaterMass;
  double mass = 0.0;
  if (first <= planned) {
    const auto count = static_cast<double>(std::min(last, planned) - first + 1);
    mass += (kLaterMass - beyond_mass) * count / static_cast<double>(planned);
  }
  if (last > planned) {  // the sum of 1/(i (i + 1)) telescopes
    const auto before = static_cast<double>(std::max(first - planned, std::int64_t{1}));
    mass += beyond_mass * (1.0 / before - 1.0 / static_cast<double>(last - planned + 1));
  }
  return mass;
}

}  // namespace

void Restart(Restarts restarts, std::span<const double> log_weights, double mass) {
  assert(log_weights.size() == restarts.log_sums.size());
  const double log_mass = std::log(mass);
  for (std::size_t k = 0; k < log_weights.size(); ++k) {
    const double fresh = log_mass + log_weights[k];
    double& sum = restarts.log_sums[k];
    sum = restarts.epoch < 0 ? fresh : LogAddExp(sum, fresh);
  }
  restarts.spent = std::min(1.0, restarts.spent + mass);
}

void BeginEpochs(Restarts restarts, std::span<const double> log_weights, const EpochPlan& plan,
                 bool has_evidence) {
  assert(plan.planned >= 0);
  if (restarts.epoch < 0) {
    if (!has_evidence) return;
    Restart(restarts, log_weights, plan.mass * kFirstMass);
    restarts.epoch = 0;
    return;
  }
  if (restarts.epoch_seconds < plan.length) return;
  const double begun = std::floor(restarts.epoch_seconds / plan.length);
  const std::int64_t last = restarts.epoch + static_cast<std::int64_t>(begun);
  const double mass = plan.mass * MassOfLaterEpochs(plan.planned, restarts.epoch + 1, last);
  if (mass > 0.0) Restart(restarts, log_weights, mass);
  restarts.epoch = last;
  restarts.epoch_seconds = std::max(0.0, restarts.epoch_seconds - begun * plan.length);
}

void PassTime(Restarts restarts, double elapsed_seconds) {
  assert(elapsed_seconds > 0.0);
  if (restarts.epoch >= 0) restarts.epoch_seconds += elapsed_seconds;
}

double LogRestarted(std::span<const double> log_sums, double spent, std::int64_t epoch) {
  if (epoch < 0) return 0.0;
  return LogAddExp(LogSumExp(log_sums), std::log1p(-spent));
}

}  // namespace consul_canary::stats
