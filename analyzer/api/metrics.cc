#include "analyzer/api/metrics.h"

#include <array>
#include <limits>
#include <utility>

namespace consul_canary::api {
namespace {

using control::FleetView;
using control::RolloutView;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

constexpr double kPercent = 100;

class Families {
 public:
  void Gauge(const std::string& name, const std::string& help, Labels labels, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.gauge.value = value;
    Family(name, help, MetricType::Gauge).metric.push_back(std::move(metric));
  }

  void Counter(const std::string& name, const std::string& help, Labels labels,
               std::uint64_t value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.counter.value = static_cast<double>(value);
    Family(name, help, MetricType::Counter).metric.push_back(std::move(metric));
  }

  MetricFamily& Family(const std::string& name, const std::string& help, MetricType type) {
    const auto [found, is_new] = index_.try_emplace(name, families_.size());
    if (is_new) families_.push_back({"consul_canary_" + name, help, type, {}});
    return families_[found->second];
  }

  [[nodiscard]] std::vector<MetricFamily> Take() { return std::move(families_); }

 private:
  std::map<std::string, std::size_t> index_;
  std::vector<MetricFamily> families_;
};

void AddProgress(const RolloutView& view, Families& families) {
  using rollout::Phase;
  const rollout::State& state = view.state;
  const Labels service{{"service_name", view.id}};
  for (const Phase phase : {Phase::kIdle, Phase::kProgressing, Phase::kPaused, Phase::kPromoting,
                            Phase::kSucceeded, Phase::kRollingBack, Phase::kRolledBack}) {
    families.Gauge("rollout_phase", "1 for the phase that the rollout is in.",
                   {{"service_name", view.id}, {"phase", std::string(ToString(phase))}},
                   phase == state.phase ? 1 : 0);
  }
  const bool stepping = state.stage == rollout::Stage::kStepping && IsActive(state.phase);
  families.Gauge("rollout_step", "Step under way, from 1; 0 between rollouts.", service,
                 stepping ? state.step + 1 : 0);
  families.Gauge("rollout_steps", "Steps of the rollout's strategy.", service,
                 view.spec ? static_cast<double>(view.spec->steps.size()) : 0);
  families.Gauge("rollout_wanted_weight_ratio", "Share of traffic that the canary shall have.",
                 service, state.wanted.canary_percent / kPercent);
  families.Gauge("rollout_started_timestamp_seconds", "When the last rollout began; 0: never.",
                 service, state.started_wall_seconds);
  families.Gauge("outcomes_age_seconds", "Age of the oldest reading among the callers' sidecars.",
                 service, view.outcomes_age_seconds);
  families.Gauge("leader", "1 where this analyzer rules the rollout.", service,
                 view.leading ? 1 : 0);
}

void AddEvidence(const RolloutView& view, Families& families) {
  const std::string help = "Natural logarithm of the evidence; decided at its bound.";
  const auto evidence = [&](const std::string& metric, const char* kind, double value) {
    families.Gauge("evidence_log", help,
                   {{"service_name", view.id}, {"metric", metric}, {"kind", kind}}, value);
  };
  evidence("all", "harm", view.verdict.log_harm);
  evidence("all", "safe", view.verdict.log_safe);
  for (const rollout::MetricVerdict& metric : view.verdict.metrics) {
    if (metric.log_harm) evidence(metric.name, "harm", *metric.log_harm);
    if (metric.log_safe) evidence(metric.name, "safe", *metric.log_safe);
  }
  const auto bound = [&](const char* kind, double value) {
    families.Gauge("evidence_log_bound",
                   "What evidence_log is compared with: of metric all for harm, of each for safe.",
                   {{"service_name", view.id}, {"metric", "all"}, {"kind", kind}}, value);
  };
  bound("harm", view.verdict.harm_bound);
  bound("safe", view.verdict.safe_bound);
}

void AddInterval(const RolloutView& view, const std::string& name, const std::string& help,
                 const stats::Interval& interval, Families& families) {
  const std::pair<const char*, double> bounds[] = {
      {"lower", interval.lower}, {"estimate", interval.estimate}, {"upper", interval.upper}};
  for (const auto& [bound, value] : bounds) {
    families.Gauge(
        name, help,
        {{"service_name", view.id}, {"metric", "failure_ratio"}, {"bound", std::string(bound)}},
        value);
  }
}

void AddVerdict(const RolloutView& view, Families& families) {
  using rollout::VerdictKind;
  const rollout::Verdict& verdict = view.verdict;
  for (const VerdictKind kind :
       {VerdictKind::kNoData, VerdictKind::kWarmup, VerdictKind::kUntrusted,
        VerdictKind::kUndecided, VerdictKind::kSafe, VerdictKind::kHarm}) {
    families.Gauge("verdict", "1 for the verdict on the evidence as it stands.",
                   {{"service_name", view.id}, {"verdict", std::string(ToString(kind))}},
                   kind == verdict.kind ? 1 : 0);
  }
  AddEvidence(view, families);
  AddInterval(view, "difference_ratio",
              "Canary's ratio less the primary's, with 95% limits that hold at all times together.",
              verdict.difference, families);
  AddInterval(view, "rate_ratio",
              "Canary's failure ratio over the primary's, with 95% limits as difference_ratio's.",
              verdict.rate_ratio, families);
  const Labels service{{"service_name", view.id}};
  families.Gauge("overdispersion_ratio", "Cluster size of failures that tempers the evidence.",
                 service, verdict.overdispersion);
  if (verdict.observed_share) {
    families.Gauge("observed_share_ratio",
                   "Share of the requests that the canary was seen to get since its weight is "
                   "applied, in the last minute.",
                   service, *verdict.observed_share);
  }
  if (!view.spec) return;
  const std::string margin_help = "By how much the canary's ratio may exceed the primary's.";
  families.Gauge("margin_ratio", margin_help,
                 {{"service_name", view.id}, {"metric", "failure_ratio"}},
                 view.spec->failure_margin.absolute);
  for (const rollout::LatencyObjective& objective : view.spec->latency) {
    families.Gauge(
        "margin_ratio", margin_help,
        {{"service_name", view.id}, {"metric", rollout::LatencyName(objective.edge.count())}},
        objective.margin.absolute);
  }
}

void AddTicks(const control::LoopCounters& counters, Families& families) {
  ClientMetric metric;
  metric.histogram.sample_count = counters.ticks;
  metric.histogram.sample_sum = counters.tick_sum_seconds;
  for (const auto& [bound, count] : counters.tick_buckets) {
    metric.histogram.bucket.push_back({count, bound});
  }
  metric.histogram.bucket.push_back({counters.ticks, std::numeric_limits<double>::infinity()});
  families
      .Family("tick_duration_seconds", "Time that one look at all rollouts took.",
              MetricType::Histogram)
      .metric.push_back(std::move(metric));
}

}  // namespace

std::vector<MetricFamily> AnalyzerFamilies(
    const FleetView& fleet, const std::map<std::string, std::uint64_t>& hook_results) {
  Families families;
  for (const auto& [id, view] : fleet.rollouts) {
    AddProgress(*view, families);
    AddVerdict(*view, families);
  }
  for (const auto& [key, count] : fleet.counters.decisions) {
    const auto& [service, action, cause] = key;
    families.Counter("decisions_total", "Decisions taken by this analyzer.",
                     {{"service_name", service}, {"action", action}, {"cause", cause}}, count);
  }
  // All results from the start, so that a rate is there before the first of its kind.
  for (const char* result : {"ok", "conflict", "error"}) {
    const auto found = fleet.counters.writes.find(result);
    families.Counter("splitter_writes_total", "Writes of splitters and resolvers, by result.",
                     {{"result", result}},
                     found == fleet.counters.writes.end() ? 0 : found->second);
  }
  for (const char* result : {"acted", "ignored", "refused", "invalid", "unavailable"}) {
    const auto found = hook_results.find(result);
    families.Counter("hook_requests_total", "Requests to the Alertmanager hook, by result.",
                     {{"result", result}}, found == hook_results.end() ? 0 : found->second);
  }
  AddTicks(fleet.counters, families);
  return families.Take();
}

}  // namespace consul_canary::api
