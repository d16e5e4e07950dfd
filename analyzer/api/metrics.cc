#include "analyzer/api/metrics.h"

#include <array>
#include <vector>

namespace consul_canary::api {
namespace {

using control::FleetView;
using control::LoopCounters;
using control::RolloutView;
using metrics::LabelText;
using metrics::TextWriter;
using enum metrics::MetricType;

constexpr double kPercent = 100;

// One rollout, and the label service_name, which all of its series bear.
struct Row {
  const RolloutView* view;
  LabelText labels;
};
using Rows = std::vector<Row>;

// A gauge with one series for each rollout: value_of(view).
template <class ValueOf>
void WriteGauge(std::string_view name, std::string_view help, const Rows& rows,
                const ValueOf& value_of, TextWriter& page) {
  page.Begin(name, help, kGauge);
  for (const Row& row : rows) page.Add(row.labels, {}, value_of(*row.view));
}

void WritePhases(const Rows& rows, TextWriter& page) {
  using rollout::Phase;
  page.Begin("consul_canary_rollout_phase", "1 for the phase that the rollout is in.", kGauge);
  for (const Row& row : rows) {
    for (const Phase phase : {Phase::kIdle, Phase::kProgressing, Phase::kPaused, Phase::kPromoting,
                              Phase::kSucceeded, Phase::kRollingBack, Phase::kRolledBack}) {
      page.AddCount(row.labels, {{"phase", ToString(phase)}}, phase == row.view->state.phase);
    }
  }
}

int StepUnderWay(const RolloutView& view) {
  const rollout::State& state = view.state;
  const bool stepping = state.stage == rollout::Stage::kStepping && IsActive(state.phase);
  return stepping ? static_cast<int>(state.step) + 1 : 0;
}

void WriteProgress(const Rows& rows, TextWriter& page) {
  WritePhases(rows, page);
  WriteGauge("consul_canary_rollout_step", "Step under way, from 1; 0 between rollouts.", rows,
             StepUnderWay, page);
  const auto steps = [](const RolloutView& view) {
    return view.spec ? static_cast<double>(view.spec->steps.size()) : 0;
  };
  WriteGauge("consul_canary_rollout_steps", "Steps of the rollout's strategy.", rows, steps, page);
  const auto wanted = [](const RolloutView& view) {
    return view.state.wanted.canary_percent / kPercent;
  };
  WriteGauge("consul_canary_rollout_wanted_weight_ratio",
             "Share of traffic that the canary shall have.", rows, wanted, page);
  const auto started = [](const RolloutView& view) { return view.state.started_wall_seconds; };
  WriteGauge("consul_canary_rollout_started_timestamp_seconds",
             "When the last rollout began; 0: never.", rows, started, page);
  const auto age = [](const RolloutView& view) { return view.outcomes_age_seconds; };
  WriteGauge("consul_canary_outcomes_age_seconds",
             "Age of the oldest reading among the callers' sidecars.", rows, age, page);
  const auto leads = [](const RolloutView& view) { return view.leading ? 1 : 0; };
  WriteGauge("consul_canary_leader", "1 where this analyzer rules the rollout.", rows, leads, page);
}

void WriteEvidence(const Rows& rows, TextWriter& page) {
  page.Begin("consul_canary_evidence_log",
             "Natural logarithm of the evidence; decided at its bound.", kGauge);
  for (const Row& row : rows) {
    const auto evidence = [&](std::string_view metric, std::string_view kind, double value) {
      page.Add(row.labels, {{"metric", metric}, {"kind", kind}}, value);
    };
    evidence("all", "harm", row.view->verdict.log_harm);
    evidence("all", "safe", row.view->verdict.log_safe);
    for (const rollout::MetricVerdict& metric : row.view->verdict.metrics) {
      if (metric.log_harm) evidence(metric.name, "harm", *metric.log_harm);
      if (metric.log_safe) evidence(metric.name, "safe", *metric.log_safe);
    }
  }
  page.Begin("consul_canary_evidence_log_bound",
             "What evidence_log is compared with: of metric all for harm, of each for safe.",
             kGauge);
  for (const Row& row : rows) {
    const auto bound = [&](std::string_view kind, double value) {
      page.Add(row.labels, {{"metric", "all"}, {"kind", kind}}, value);
    };
    bound("harm", row.view->verdict.harm_bound);
    bound("safe", row.view->verdict.safe_bound);
  }
}

template <class IntervalOf>
void WriteInterval(std::string_view name, std::string_view help, const Rows& rows,
                   const IntervalOf& interval_of, TextWriter& page) {
  page.Begin(name, help, kGauge);
  for (const Row& row : rows) {
    const stats::Interval& interval = interval_of(row.view->verdict);
    const std::array<std::pair<std::string_view, double>, 3> bounds{
        {{"lower", interval.lower}, {"estimate", interval.estimate}, {"upper", interval.upper}}};
    for (const auto& [bound, value] : bounds) {
      page.Add(row.labels, {{"metric", "failure_ratio"}, {"bound", bound}}, value);
    }
  }
}

void WriteIntervals(const Rows& rows, TextWriter& page) {
  using rollout::Verdict;
  WriteInterval(
      "consul_canary_difference_ratio",
      "Canary's ratio less the primary's, with 95% limits that hold at all times together.", rows,
      [](const Verdict& verdict) -> const auto& { return verdict.difference; }, page);
  WriteInterval(
      "consul_canary_rate_ratio",
      "Canary's failure ratio over the primary's, with 95% limits as difference_ratio's.", rows,
      [](const Verdict& verdict) -> const auto& { return verdict.rate_ratio; }, page);
}

void WriteVerdicts(const Rows& rows, TextWriter& page) {
  using rollout::VerdictKind;
  page.Begin("consul_canary_verdict", "1 for the verdict on the evidence as it stands.", kGauge);
  for (const Row& row : rows) {
    for (const VerdictKind kind :
         {VerdictKind::kNoData, VerdictKind::kWarmup, VerdictKind::kUntrusted,
          VerdictKind::kUndecided, VerdictKind::kSafe, VerdictKind::kHarm}) {
      page.AddCount(row.labels, {{"verdict", ToString(kind)}}, kind == row.view->verdict.kind);
    }
  }
  WriteEvidence(rows, page);
  WriteIntervals(rows, page);
  const auto overdispersion = [](const RolloutView& view) { return view.verdict.overdispersion; };
  WriteGauge("consul_canary_overdispersion_ratio",
             "Cluster size of failures that tempers the evidence.", rows, overdispersion, page);
  page.Begin("consul_canary_observed_share_ratio",
             "Share of the requests that the canary was seen to get since its weight is applied, "
             "in the last minute.",
             kGauge);
  for (const Row& row : rows) {
    const auto& share = row.view->verdict.observed_share;
    if (share) page.Add(row.labels, {}, *share);
  }
}

void WriteMargins(const Rows& rows, TextWriter& page) {
  page.Begin("consul_canary_margin_ratio",
             "By how much the canary's ratio may exceed the primary's.", kGauge);
  for (const Row& row : rows) {
    if (!row.view->spec) continue;
    page.Add(row.labels, {{"metric", "failure_ratio"}}, row.view->spec->failure_margin.absolute);
    for (const rollout::LatencyObjective& objective : row.view->spec->latency) {
      page.Add(row.labels, {{"metric", rollout::LatencyName(objective.edge.count())}},
               objective.margin.absolute);
    }
  }
}

// All results from the start, so that a rate is there before the first of its kind.
void WriteResults(std::string_view name, std::string_view help,
                  std::initializer_list<const char*> results,
                  const std::map<std::string, std::uint64_t>& counts, TextWriter& page) {
  page.Begin(name, help, kCounter);
  for (const char* result : results) {
    const auto found = counts.find(result);
    page.AddCount({{"result", result}}, found == counts.end() ? 0 : found->second);
  }
}

void WriteHistogram(std::string_view name, std::string_view help,
                    const control::Histogram& histogram, TextWriter& page) {
  page.Begin(name, help, kHistogram);
  for (const auto& [bound, count] : histogram.buckets()) page.AddBucket({}, bound, count);
  page.EndHistogram({}, histogram.sum_seconds(), histogram.count());
}

void WriteCounters(const LoopCounters& counters,
                   const std::map<std::string, std::uint64_t>& hook_results, TextWriter& page) {
  page.Begin("consul_canary_decisions_total", "Decisions taken by this analyzer.", kCounter);
  for (const auto& [key, count] : counters.decisions) {
    const auto& [service, action, cause] = key;
    page.AddCount({{"service_name", service}, {"action", action}, {"cause", cause}}, count);
  }
  WriteResults("consul_canary_splitter_writes_total",
               "Writes of splitters, routers and resolvers, by result.",
               {"ok", "conflict", "owned", "error"}, counters.writes, page);
  WriteResults("consul_canary_hook_requests_total", "Requests to the Alertmanager hook, by result.",
               {"acted", "ignored", "refused", "invalid", "unavailable"}, hook_results, page);
  WriteHistogram("consul_canary_tick_duration_seconds", "Time that one look at all rollouts took.",
                 counters.tick_duration, page);
  WriteHistogram("consul_canary_tick_lateness_seconds",
                 "By how much a tick began later than one interval after the one before.",
                 counters.tick_lateness, page);
}

}  // namespace

void WriteAnalyzer(const FleetView& fleet, const std::map<std::string, std::uint64_t>& hook_results,
                   TextWriter& page) {
  Rows rows;
  rows.reserve(fleet.rollouts.size());
  for (const auto& [id, view] : fleet.rollouts) {
    rows.push_back({view.get(), LabelText({{"service_name", view->id}})});
  }
  WriteProgress(rows, page);
  WriteVerdicts(rows, page);
  WriteMargins(rows, page);
  WriteCounters(*fleet.counters, hook_results, page);
}

}  // namespace consul_canary::api
