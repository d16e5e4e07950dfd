#include "analyzer/rollout/judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "analyzer/rollout/evidence.h"
#include "analyzer/stats/average.h"

namespace consul_canary::rollout {
namespace {

constexpr std::int64_t kGrossRequests = 10;
constexpr std::int64_t kGrossPrimaryDivisor = 10;  // the primary must fail less than a tenth

// Shares of the stake of harm beside kFailureWeight, of those metrics that enter.
constexpr double kLatencyWeight = 0.3;  // all edges together
constexpr double kLateWeight = 0.1;
constexpr double kIntervalAlpha = 0.05;  // of the intervals for people
constexpr double kMillisecondsPerSecond = 1000;

bool MostlyFails(const stats::Counts& canary) {
  return canary.completed >= kGrossRequests && 2 * canary.failures > canary.completed;
}

bool HardlyFails(const stats::Counts& primary) {
  return primary.completed > 0 && kGrossPrimaryDivisor * primary.failures < primary.completed;
}

// Where the evidence has no say: in the warm-up, and while promoting, when the primary has no
// requests. Elsewhere it would only add false alarms: of a small canary, ten requests fail together
// now and then.
bool IsGrossFailure(const Spec& spec, const Observation& seen, const State& state) {
  // Its weight is 0: what still fails is the version before it.
  if (state.stage == Stage::kPreparing) return false;
  // Nobody is helped by what is only said of a version that is not there.
  if (!spec.act && !CanaryIsTheRollouts(spec, seen, state)) return false;
  const Evidence& evidence = state.evidence;
  const TickCounts& tick = seen.counts;
  if (state.stage == Stage::kStepping) {
    if (IsJudged(spec, seen, state)) return false;
    // What fails for all shows at the primary in the same time, where it has requests enough.
    const auto differ = [](const stats::Counts& canary, const stats::Counts& primary) {
      return MostlyFails(canary) && primary.completed >= kGrossRequests && HardlyFails(primary);
    };
    return differ(tick.canary.low, tick.primary.high) ||
           differ(evidence.stage_canary, evidence.stage_primary);
  }
  // While promoting the primary gets no requests: what it did before stands for it.
  const bool in_tick = MostlyFails(tick.canary.low);
  if (!in_tick && !MostlyFails(evidence.stage_canary)) return false;
  const stats::Counts& now = in_tick ? tick.primary.high : evidence.stage_primary;
  return HardlyFails(now.completed > 0 ? now : evidence.harm.primary);
}

std::vector<MetricVerdict> MetricsOf(const Spec& spec, const Evidence& evidence) {
  std::vector<MetricVerdict> metrics;
  metrics.reserve(2 + evidence.latency.size() + spec.latency.size());
  metrics.push_back(
      {.name = "failure_ratio",
       .weight = kFailureWeight,
       .log_harm = stats::LogHarm(evidence.harm) + stats::LogEjectedHarm(evidence.ejected_harm),
       .log_safe = stats::LogSafe(evidence.safe) + stats::LogEjectedSafe(evidence.ejected_safe)});
  for (const EdgeEvidence& edge : evidence.latency) {
    metrics.push_back({.name = LatencyName(edge.edge_seconds),
                       .weight = kLatencyWeight / static_cast<double>(evidence.latency.size()),
                       .log_harm = stats::LogHarm(edge.harm)});
  }
  for (std::size_t i = 0; i < spec.latency.size(); ++i) {
    const double edge = spec.latency[i].edge.count();
    const bool has_begun =
        i < evidence.objectives.size() && evidence.objectives[i].edge_seconds == edge;
    const double log_safe = has_begun ? stats::LogSafe(evidence.objectives[i].safe) : 0.0;
    const std::string name = LatencyName(edge);
    const auto found = std::ranges::find(metrics, name, &MetricVerdict::name);
    if (found != metrics.end()) {
      found->log_safe = log_safe;
    } else {
      metrics.push_back({.name = name, .log_safe = log_safe});
    }
  }
  if (evidence.late_after_seconds > 0) {
    metrics.push_back(
        {.name = "late", .weight = kLateWeight, .log_harm = stats::LogLate(evidence.late)});
  }
  return metrics;
}

// Sets log_harm, and once it is harm who stands out.
void Combine(Verdict& verdict, double alpha) {
  std::vector<double> logs;
  std::vector<double> weights;
  std::vector<MetricVerdict*> harmful;
  for (MetricVerdict& metric : verdict.metrics) {
    if (!metric.log_harm) continue;
    logs.push_back(*metric.log_harm);
    weights.push_back(metric.weight);
    harmful.push_back(&metric);
  }
  verdict.log_harm = stats::LogAverage(logs, weights);
  if (verdict.log_harm < verdict.harm_bound) return;
  const std::vector<std::size_t> rejected = stats::RejectedByEbh(logs, alpha);
  for (const std::size_t i : rejected) harmful[i]->blamed = true;
  // Together they may prove what none does alone.
  if (rejected.empty()) {
    harmful[static_cast<std::size_t>(std::ranges::max_element(logs) - logs.begin())]->blamed = true;
  }
}

double LeastSafe(const std::vector<MetricVerdict>& metrics) {
  double least = *metrics.front().log_safe;
  for (const MetricVerdict& metric : metrics) {
    if (metric.log_safe) least = std::min(least, *metric.log_safe);
  }
  return least;
}

// What an objective suffers from that lies on no edge of the histograms; empty: it lies on one.
std::string BucketNote(const stats::LatencyCounts& latency, double edge_seconds) {
  if (latency.timed == 0 || stats::SlowerThan(latency, edge_seconds)) return "";
  const auto shown = [](std::optional<double> edge) {
    return edge ? fmt::format("{:g} ms", *edge * kMillisecondsPerSecond) : std::string("nothing");
  };
  return fmt::format(
      "the histograms have no bucket that ends at {:g} ms: the canary's requests above {} are held "
      "against the primary's above {}, which may never be proven; use one of these as the edge, or "
      "set envoy_stats_config_json to have finer buckets",
      edge_seconds * kMillisecondsPerSecond, shown(stats::EdgeAtOrBelow(latency, edge_seconds)),
      shown(stats::EdgeAtOrAbove(latency, edge_seconds)));
}

std::vector<std::string> NotesOf(const Spec& spec, const Evidence& evidence,
                                 const Verdict& verdict) {
  std::vector<std::string> notes;
  if (!verdict.overdispersion_learned) {
    notes.push_back(fmt::format(
        "the primary's instances have not told how failures clump: the floor of {:g} is assumed",
        evidence.overdispersion_floor));
  }
  if (!evidence.metrics_fixed) return notes;
  if (evidence.latency.empty()) {
    notes.emplace_back(
        "latency is not watched: too few requests of the primary were timed before the first "
        "judged tick");
  }
  if (evidence.late_after_seconds == 0) {
    notes.emplace_back(
        "hanging requests cannot be told: before the first judged tick too few requests of the "
        "primary were timed, or too many took longer than the last bucket");
  } else if (evidence.late_left_out) {
    notes.emplace_back(
        "hanging requests cannot be told: the primary itself has requests that take long");
  }
  for (const LatencyObjective& objective : spec.latency) {
    const std::string note = BucketNote(evidence.primary_latency, objective.edge.count());
    if (!note.empty()) notes.push_back(note);
  }
  return notes;
}

bool IsSequentialSafe(const Spec& spec, const Evidence& evidence, const Verdict& verdict) {
  if (spec.proof == Proof::kOnce && evidence.proven) return evidence.step_canary.completed > 0;
  return verdict.log_safe >= verdict.safe_bound;
}

// Either judge may roll back.
bool IsHarm(const Spec& spec, const Verdict& verdict) {
  const bool sequential =
      spec.judge != JudgeMode::kThresholds && verdict.log_harm >= verdict.harm_bound;
  return sequential || !verdict.threshold_harm.empty();
}

// Every judge must allow an advance.
bool IsSafe(const Spec& spec, const Evidence& evidence, const Verdict& verdict) {
  const bool sequential =
      spec.judge == JudgeMode::kThresholds || IsSequentialSafe(spec, evidence, verdict);
  return sequential && verdict.threshold_obstacle.empty();
}

// Among so many requests none would be the canary's by chance once in a million times: there are a
// thousand such gaps in an hour.
double MostByChance() { return std::log(1e6); }

VerdictKind KindOf(const Spec& spec, const State& state, const Verdict& verdict) {
  if (IsHarm(spec, verdict)) return VerdictKind::kHarm;
  if (state.stage == Stage::kWatching) {
    if (!IsWarm(spec, state)) return VerdictKind::kWarmup;
    return state.evidence.stage_canary.completed > 0 ? VerdictKind::kUndecided
                                                     : VerdictKind::kNoData;
  }
  if (state.stage != Stage::kStepping) return VerdictKind::kNoData;
  if (!state.confirmed || !IsWarm(spec, state)) return VerdictKind::kWarmup;
  if (state.evidence.share.untrusted || IsSilent(state.evidence) ||
      !SilentInstance(state.evidence).empty() || IsMostlyEjected(state.evidence)) {
    return VerdictKind::kUntrusted;
  }
  // Nor is anything proven before the share was looked at; where it is none to look at, before
  // every caller has been seen to apply the weight and the routes.
  const bool has_share = spec.match.empty() && !state.evidence.shielded;
  const bool share_known =
      has_share ? state.evidence.share.seconds > 0 : state.evidence.share_applied;
  if (share_known && IsSafe(spec, state.evidence, verdict)) return VerdictKind::kSafe;
  return state.evidence.step_canary.completed > 0 ? VerdictKind::kUndecided : VerdictKind::kNoData;
}

}  // namespace

std::string_view ToString(VerdictKind kind) {
  switch (kind) {
    case VerdictKind::kNoData:
      return "no-data";
    case VerdictKind::kWarmup:
      return "warm-up";
    case VerdictKind::kUntrusted:
      return "untrusted";
    case VerdictKind::kUndecided:
      return "undecided";
    case VerdictKind::kSafe:
      return "safe";
    case VerdictKind::kHarm:
      return "harm";
  }
  return "unknown";
}

bool IsHarmful(const Verdict& verdict) {
  return verdict.kind == VerdictKind::kHarm || verdict.gross_failure;
}

std::string LatencyName(double edge_seconds) {
  return fmt::format("latency_{:g}ms", edge_seconds * kMillisecondsPerSecond);
}

bool IsSilent(const Evidence& evidence) { return evidence.silent_requests > MostByChance(); }

std::string SilentInstance(const Evidence& evidence) {
  for (const auto& [id, due] : evidence.silent_instances) {
    if (due > MostByChance()) return id;
  }
  return "";
}

bool IsMostlyEjected(const Evidence& evidence) {
  return evidence.shielded && evidence.ejected_share > kMostEjected;
}

Verdict VerdictOf(const Spec& spec, const State& state) {
  const Evidence& evidence = state.evidence;
  Verdict verdict;
  verdict.harm_bound = -std::log(spec.false_rollback);
  verdict.safe_bound = -std::log(spec.false_advance);
  verdict.metrics = MetricsOf(spec, evidence);
  Combine(verdict, spec.false_rollback);
  verdict.log_safe = LeastSafe(verdict.metrics);
  verdict.overdispersion =
      stats::Overdispersion(evidence.dispersion, evidence.overdispersion_floor);
  verdict.overdispersion_learned = stats::IsDispersionLearned(evidence.dispersion);
  if (evidence.share.totals.completed > 0) {
    verdict.observed_share = stats::ObservedShare(evidence.share);
  }
  verdict.rate_ratio = stats::RatioInterval(evidence.ratio, kIntervalAlpha);
  verdict.difference = stats::DifferenceInterval(evidence.difference, kIntervalAlpha);
  if (spec.judge != JudgeMode::kSequential) {
    verdict.threshold_harm = ThresholdHarm(spec, evidence.thresholds);
    verdict.threshold_obstacle = ThresholdObstacle(spec, evidence.thresholds);
  }
  verdict.notes = NotesOf(spec, evidence, verdict);
  verdict.kind = KindOf(spec, state, verdict);
  return verdict;
}

Verdict Judge(const Spec& spec, const Observation& seen, State& state) {
  if (!seen.counts_known) return VerdictOf(spec, state);
  if (!IsActive(state.phase)) {
    LearnBetweenRollouts(seen, state.evidence);
    return VerdictOf(spec, state);
  }
  AddEvidence(spec, seen, state);
  Verdict verdict = VerdictOf(spec, state);
  if (!seen.doubtful) {
    verdict.gross_failure = IsGrossFailure(spec, seen, state);
    if (verdict.log_safe >= verdict.safe_bound) state.evidence.proven = true;
  }
  return verdict;
}

}  // namespace consul_canary::rollout
