#include "analyzer/config/analysis_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "analyzer/config/threshold_rules.h"
#include "analyzer/config/value_rules.h"

namespace consul_canary::config {
namespace {

using rollout::JudgeMode;
using rollout::LatencyObjective;
using rollout::NoDataPolicy;
using rollout::Proof;
using rollout::Seconds;
using rollout::Spec;

constexpr std::size_t kMostObjectives = 8;
// A stall of an instance that is longer is no stall but a fault, which is to be judged.
constexpr Seconds kLongestStall{60};

Rule ProofMargin(stats::Margin& margin) {
  return Map({{"ratio", Number(margin.ratio, Between(0, 1000, "above 0 and below 1000"))},
              {"absolute", Number(margin.absolute, Between(0, 1, "above 0 and below 1"))}});
}

Rule HarmMargin(stats::Margin& margin) {
  return Map({{"ratio", Number(margin.ratio, FromBelow(1, 1000, "from 1 on and below 1000"))},
              {"absolute", Number(margin.absolute, FromBelow(0, 1, "from 0 on and below 1"))}});
}

// --- latency

Rule OneObjective(LatencyObjective& objective) {
  return [&objective](const Node& node, const std::string& field, Findings& findings) {
    Map({{"edge", Duration(objective.edge, false)}, {"margin", ProofMargin(objective.margin)}})(
        node, field, findings);
    RequireKey(node, field, "edge", findings);
  };
}

void CheckDistinct(const std::vector<LatencyObjective>& objectives, const std::string& field,
                   Findings& findings) {
  const auto edge_of = [&](std::size_t i) { return fmt::format("{}[{}].edge", field, i); };
  const auto usable = [&](std::size_t i) {
    return findings.Present(edge_of(i)) && !findings.Faulty(edge_of(i));
  };
  for (std::size_t i = 1; i < objectives.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (objectives[i].edge != objectives[j].edge || !usable(i) || !usable(j)) continue;
      findings.Report(findings.LineOf(edge_of(i)), edge_of(i),
                      fmt::format("must differ from {}, both are {} s", edge_of(j),
                                  objectives[i].edge.count()));
      break;
    }
  }
}

Rule Latency(std::vector<LatencyObjective>& objectives) {
  Rule list = [&objectives](const Node& node, const std::string& field, Findings& findings) {
    if (node.kind == NodeKind::kList) objectives.assign(node.children.size(), {});
    List([&objectives](std::size_t i) { return OneObjective(objectives[i]); })(node, field,
                                                                               findings);
    CheckDistinct(objectives, field, findings);
    std::ranges::stable_sort(objectives, {}, &LatencyObjective::edge);
  };
  return ListOfAtMost(kMostObjectives, "edges", std::move(list));
}

// --- contradictions

void CheckNoData(const Spec& spec, Findings& findings) {
  const std::string field = "analysis.on_insufficient_data";
  if (findings.Faulty(field) || findings.Faulty("analysis.judge")) return;
  const NoDataPolicy policy = spec.on_insufficient_data;
  if (policy == NoDataPolicy::kAdvance && spec.judge != JudgeMode::kThresholds) {
    Contradicts(findings, field, "analysis",
                "advance is possible with analysis.judge: thresholds alone, since the sequential "
                "judge advances on nothing but proof; use hold");
  } else if (policy == NoDataPolicy::kRollBack && spec.judge == JudgeMode::kSequential) {
    Contradicts(findings, field, "analysis",
                "rollback would be ignored with analysis.judge: sequential, since it is about the "
                "windows of thresholds; use hold, and strategy.on_deadline: rollback");
  }
}

void CheckSequential(const Spec& spec, Findings& findings) {
  if (spec.judge != JudgeMode::kThresholds || findings.Faulty("analysis.judge")) return;
  const auto ignored = [&findings](bool given, const std::string& field) {
    if (!given || findings.Faulty(field)) return;
    Contradicts(findings, field, "analysis",
                "would be ignored with analysis.judge: thresholds; use judge: both, or leave it "
                "out");
  };
  ignored(spec.proof == Proof::kOnce, "analysis.proof");
  ignored(!spec.latency.empty(), "analysis.latency");
  ignored(spec.rollback_margin != Spec{}.rollback_margin, "analysis.failure_ratio.rollback_margin");
  ignored(spec.failure_margin != Spec{}.failure_margin, "analysis.failure_ratio.margin");
  ignored(spec.false_rollback != Spec{}.false_rollback, "analysis.false_rollback");
  ignored(spec.false_advance != Spec{}.false_advance, "analysis.false_advance");
}

void CheckComparable(const Spec& spec, Findings& findings) {
  if (spec.judge == JudgeMode::kThresholds || findings.Faulty("analysis.judge")) return;
  for (std::size_t i = 0; i < spec.steps.size(); ++i) {
    const std::string step = fmt::format("strategy.steps[{}]", i);
    if (spec.steps[i].weight_percent < 100 || findings.Faulty(step)) continue;
    Contradicts(findings, step + ".weight", step,
                "leaves the primary no requests to compare the canary with, so that nothing is "
                "proven; leave the step out (a promotion gives the canary all traffic by itself), "
                "or use analysis.judge: thresholds, is 100");
  }
}

// With one proof for all steps nothing but time ends the later ones.
void CheckProof(const Spec& spec, Findings& findings) {
  if (spec.proof != Proof::kOnce || findings.Faulty("analysis.proof")) return;
  for (std::size_t i = 1; i < spec.steps.size(); ++i) {
    const std::string step = fmt::format("strategy.steps[{}]", i);
    if (spec.steps[i].min_duration > Seconds(0) || findings.Faulty(step)) continue;
    if (!findings.Present(step)) {
      Contradicts(findings, "analysis.proof", "analysis",
                  "once needs strategy.steps, with a min_duration longer than 0 for each step "
                  "after the first: they are not proven anew");
      return;
    }
    Contradicts(findings, step + ".min_duration", step,
                "must be longer than 0 with analysis.proof: once, since this step is not proven "
                "anew, is 0 s");
  }
}

}  // namespace

Rule Analysis(Spec& spec) {
  using rollout::OutcomeView;
  const NumberCheck chance{[](double value) { return value >= 1e-9 && value < 0.5; },
                           "from 0.000000001 on and below 0.5"};
  return Map(
      {{"judge", Choice<JudgeMode>(spec.judge, {{"sequential", JudgeMode::kSequential},
                                                {"thresholds", JudgeMode::kThresholds},
                                                {"both", JudgeMode::kBoth}})},
       {"interval", NotBuilt({"1s", "1000ms"})},
       {"overdispersion",
        Map({{"floor", Number(spec.overdispersion_floor, FromTo(1, 1e6, "from 1 to 1000000"))},
             {"stall", DurationFromTo(spec.stall, Seconds(0), kLongestStall)}})},
       {"outcomes", Choice<OutcomeView>(spec.outcomes, {{"first-try", OutcomeView::kFirstTry},
                                                        {"attempts", OutcomeView::kAttempts},
                                                        {"requests", OutcomeView::kRequests}})},
       {"false_rollback", Number(spec.false_rollback, chance)},
       {"false_advance", Number(spec.false_advance, chance)},
       {"failure_ratio", Map({{"margin", ProofMargin(spec.failure_margin)},
                              {"rollback_margin", HarmMargin(spec.rollback_margin)}})},
       {"proof",
        Choice<Proof>(spec.proof, {{"each-step", Proof::kEachStep}, {"once", Proof::kOnce}})},
       {"latency", Latency(spec.latency)},
       {"thresholds", Thresholds(spec.thresholds)},
       {"on_insufficient_data",
        Choice<NoDataPolicy>(spec.on_insufficient_data, {{"hold", NoDataPolicy::kHold},
                                                         {"rollback", NoDataPolicy::kRollBack},
                                                         {"advance", NoDataPolicy::kAdvance}})}});
}

void CheckAnalysis(const Spec& spec, Findings& findings) {
  CheckThresholds(spec, findings);
  CheckNoData(spec, findings);
  CheckSequential(spec, findings);
  CheckComparable(spec, findings);
  CheckProof(spec, findings);
}

}  // namespace consul_canary::config
