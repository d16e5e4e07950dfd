#include "analyzer/config/threshold_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "analyzer/config/value_rules.h"
#include "analyzer/stats/mann_whitney.h"

namespace consul_canary::config {
namespace {

using rollout::JudgeMode;
using rollout::Seconds;
using rollout::Spec;
using rollout::Threshold;
using rollout::ThresholdMetric;

constexpr std::size_t kMostThresholds = 16;
constexpr double kMostBins = 1000;
// Ten points of a minute each, as Kayenta's canaries are commonly judged.
constexpr Seconds kMannWhitneyWindow{600};

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

}  // namespace

Rule Thresholds(std::vector<Threshold>& thresholds) {
  Rule list = [&thresholds](const Node& node, const std::string& field, Findings& findings) {
    if (node.kind == NodeKind::kList) thresholds.assign(node.children.size(), {});
    List([&thresholds](std::size_t i) { return OneThreshold(thresholds[i]); })(node, field,
                                                                               findings);
  };
  return ListOfAtMost(kMostThresholds, "thresholds", std::move(list));
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

}  // namespace consul_canary::config
