#include "analyzer/config/analysis_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "analyzer/stats/mann_whitney.h"

namespace consul_canary::config {
namespace {

using rollout::JudgeMode;
using rollout::LatencyObjective;
using rollout::NoDataPolicy;
using rollout::Proof;
using rollout::Seconds;
using rollout::Spec;
using rollout::Threshold;
using rollout::ThresholdMetric;

constexpr std::size_t kMostObjectives = 8;
constexpr std::size_t kMostThresholds = 16;
constexpr double kMostBins = 1000;
// Ten points of a minute each, as Kayenta's canaries are commonly judged.
constexpr Seconds kMannWhitneyWindow{600};
constexpr Seconds kShortestWindow{1};  // a tick
// A stall of an instance that is longer is no stall but a fault, which is to be judged.
constexpr Seconds kLongestStall{60};

NumberCheck Between(double low, double high, std::string_view words) {
  return {[low, high](double value) { return value > low && value < high; }, words};
}

NumberCheck FromTo(double low, double high, std::string_view words) {
  return {[low, high](double value) { return value >= low && value <= high; }, words};
}

NumberCheck FromBelow(double low, double high, std::string_view words) {
  return {[low, high](double value) { return value >= low && value < high; }, words};
}

Rule DurationFromTo(Seconds& target, Seconds least, Seconds most) {
  return [&target, least, most](const Node& node, const std::string& field, Findings& findings) {
    Seconds value = target;
    Duration(value, least == Seconds(0))(node, field, findings);
    if (value < least || value > most) {
      findings.Report(node.line, field,
                      fmt::format("must be from {} s to {} s, {}", least.count(), most.count(),
                                  Describe(node)));
      return;
    }
    target = value;
  };
}

Rule Window(Seconds& target) {
  return DurationFromTo(target, kShortestWindow, Seconds(std::chrono::hours(24)));
}

Rule ProofMargin(stats::Margin& margin) {
  return Map({{"ratio", Number(margin.ratio, Between(0, 1000, "above 0 and below 1000"))},
              {"absolute", Number(margin.absolute, Between(0, 1, "above 0 and below 1"))}});
}

Rule HarmMargin(stats::Margin& margin) {
  return Map({{"ratio", Number(margin.ratio, FromBelow(1, 1000, "from 1 on and below 1000"))},
              {"absolute", Number(margin.absolute, FromBelow(0, 1, "from 0 on and below 1"))}});
}

Rule ListOfAtMost(std::size_t most, std::string_view what, Rule list) {
  return [most, what, list = std::move(list)](const Node& node, const std::string& field,
                                              Findings& findings) {
    if (node.kind != NodeKind::kList || node.children.size() <= most) {
      return list(node, field, findings);
    }
    findings.Report(
        node.line, field,
        fmt::format("must have at most {} {}, has {}", most, what, node.children.size()));
  };
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

// --- thresholds

bool IsDigits(std::string_view text, std::size_t most) {
  return !text.empty() && text.size() <= most &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// "latency_p99.9" → .999, read as that decimal and not divided, so that it is the nearest double.
std::optional<double> QuantileOf(std::string_view metric) {
  constexpr std::string_view kPrefix = "latency_p";
  if (!metric.starts_with(kPrefix)) return std::nullopt;
  metric.remove_prefix(kPrefix.size());
  const std::size_t point = metric.find('.');
  const std::string_view whole = metric.substr(0, point);
  const std::string_view rest =
      point == std::string_view::npos ? std::string_view("0") : metric.substr(point + 1);
  if (!IsDigits(whole, 2) || whole.front() == '0' || !IsDigits(rest, 3)) return std::nullopt;
  const std::string decimal = fmt::format("0.{:0>2}{}", whole, rest);
  double quantile = 0;
  std::from_chars(decimal.data(), decimal.data() + decimal.size(), quantile);
  return quantile;
}

// Which metric a threshold is about decides what else it may say.
bool ReadMetric(const Node& node, const std::string& field, Findings& findings,
                Threshold& threshold) {
  constexpr std::string_view kRight =
      "success_ratio, latency_p99 (or another quantile) or "
      "mann_whitney";
  const bool is_text = IsText(node);
  if (is_text && node.text == "success_ratio") {
    threshold.metric = ThresholdMetric::kSuccessRatio;
  } else if (is_text && node.text == "mann_whitney") {
    threshold.metric = ThresholdMetric::kMannWhitney;
    threshold.window = kMannWhitneyWindow;
  } else if (const auto quantile = is_text ? QuantileOf(node.text) : std::nullopt) {
    threshold.metric = ThresholdMetric::kLatency;
    threshold.quantile = *quantile;
  } else if (is_text && node.text == "query") {
    findings.Report(node.line, field,
                    fmt::format("query is not built yet in this version, which has no source of "
                                "PromQL; use {}",
                                kRight));
    return false;
  } else {
    findings.Report(node.line, field, fmt::format("must be {}, {}", kRight, Describe(node)));
    return false;
  }
  return true;
}

Rule DurationInSeconds(std::optional<double>& target) {
  return [&target](const Node& node, const std::string& field, Findings& findings) {
    Seconds duration{0};
    Duration(duration, false)(node, field, findings);
    target = duration.count();
  };
}

Rule OptionalNumber(std::optional<double>& target, NumberCheck check) {
  return [&target, check = std::move(check)](const Node& node, const std::string& field,
                                             Findings& findings) {
    Number(target.emplace(), check)(node, field, findings);
  };
}

Rule FailedChecks(int& target) {
  return [&target](const Node& node, const std::string& field, Findings& findings) {
    double number = target;
    const NumberCheck whole{
        [](double value) { return value >= 1 && value <= 1000 && value == std::floor(value); },
        "from 1 to 1000, whole"};
    Number(number, whole)(node, field, findings);
    target = static_cast<int>(number);
  };
}

// A key of another metric.
Rule KeyOf(std::string_view owner, std::string_view instead) {
  return [owner, instead](const Node& node, const std::string& field, Findings& findings) {
    findings.Report(node.line, field, fmt::format("is for {}; {}", owner, instead));
  };
}

Rules KeysOf(Threshold& threshold) {
  Rules rules{{"metric", [](const Node&, const std::string&, Findings&) {}},
              {"window", Window(threshold.window)},
              {"failures", FailedChecks(threshold.failures)}};
  switch (threshold.metric) {
    case ThresholdMetric::kSuccessRatio:
      rules.emplace_back("min",
                         OptionalNumber(threshold.min, {[](double v) { return v > 0 && v <= 1; },
                                                        "above 0 and at most 1"}));
      rules.emplace_back("max", KeyOf("latency quantiles", "success_ratio takes min"));
      break;
    case ThresholdMetric::kLatency:
      rules.emplace_back("max", DurationInSeconds(threshold.max));
      rules.emplace_back("min", KeyOf("success_ratio", "a latency quantile takes max"));
      break;
    case ThresholdMetric::kMannWhitney:
      rules.emplace_back("bin", Window(threshold.bin));
      rules.emplace_back("confidence",
                         Number(threshold.confidence, Between(0, 1, "above 0 and below 1")));
      rules.emplace_back("tolerance",
                         Number(threshold.tolerance, FromBelow(0, 1, "from 0 on and below 1")));
      for (const std::string_view key : {"min", "max"}) {
        rules.emplace_back(key, KeyOf("success_ratio (min) and latency quantiles (max)",
                                      "mann_whitney takes confidence and tolerance"));
      }
      break;
  }
  return rules;
}

Rule OneThreshold(Threshold& threshold) {
  return [&threshold](const Node& node, const std::string& field, Findings& findings) {
    if (node.kind == NodeKind::kMap) {
      RequireKey(node, field, "metric", findings);
      const auto metric = std::ranges::find(node.children, "metric", &Node::key);
      if (metric == node.children.end() ||
          !ReadMetric(*metric, field + ".metric", findings, threshold)) {
        return;
      }
    }
    Map(KeysOf(threshold))(node, field, findings);
    if (threshold.metric == ThresholdMetric::kSuccessRatio) {
      RequireKey(node, field, "min", findings);
    } else if (threshold.metric == ThresholdMetric::kLatency) {
      RequireKey(node, field, "max", findings);
    }
  };
}

Rule Thresholds(std::vector<Threshold>& thresholds) {
  Rule list = [&thresholds](const Node& node, const std::string& field, Findings& findings) {
    if (node.kind == NodeKind::kList) thresholds.assign(node.children.size(), {});
    List([&thresholds](std::size_t i) { return OneThreshold(thresholds[i]); })(node, field,
                                                                               findings);
  };
  return ListOfAtMost(kMostThresholds, "thresholds", std::move(list));
}

// --- contradictions

// Reports it at the field's own line, or at `otherwise` where it was left out.
void Contradicts(Findings& findings, const std::string& field, const std::string& otherwise,
                 std::string problem) {
  const std::string& at = findings.Present(field) ? field : otherwise;
  findings.Report(findings.LineOf(at), field, std::move(problem));
}

void CheckWindow(const Spec& spec, const Threshold& threshold, const std::string& field,
                 Findings& findings) {
  const std::string window = field + ".window";
  const std::string bin = field + ".bin";
  if (findings.Faulty(window) || !findings.Present(field + ".metric")) return;
  if (threshold.window >= spec.deadline && !findings.Faulty("strategy.deadline")) {
    Contradicts(findings, window, field,
                fmt::format("must be shorter than strategy.deadline ({} s), is {} s",
                            spec.deadline.count(), threshold.window.count()));
  }
  if (threshold.metric != ThresholdMetric::kMannWhitney || findings.Faulty(bin) ||
      findings.Faulty(field + ".confidence")) {
    return;
  }
  const double bins = std::floor(threshold.window.count() / threshold.bin.count());
  const int least = stats::LeastValues(threshold.confidence);
  if (bins < least || bins > kMostBins) {
    Contradicts(findings, bin, field,
                fmt::format("must be such that {} to {} bins fit into the window ({} s), since "
                            "fewer cannot tell at a confidence of {}, is {} s",
                            least, kMostBins, threshold.window.count(), threshold.confidence,
                            threshold.bin.count()));
  }
}

void CheckThresholds(const Spec& spec, Findings& findings) {
  const std::string list = "analysis.thresholds";
  for (std::size_t i = 0; i < spec.thresholds.size(); ++i) {
    CheckWindow(spec, spec.thresholds[i], fmt::format("{}[{}]", list, i), findings);
  }
  if (findings.Faulty("analysis.judge")) return;
  const bool uses_them = spec.judge != JudgeMode::kSequential;
  if (!uses_them && !spec.thresholds.empty()) {
    Contradicts(findings, list, "analysis",
                "would be ignored with analysis.judge: sequential; use judge: both or thresholds");
  } else if (uses_them && spec.thresholds.empty() && !findings.Faulty(list)) {
    Contradicts(findings, "analysis.judge", "analysis",
                "needs analysis.thresholds with at least one threshold, there is none");
  }
}

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
