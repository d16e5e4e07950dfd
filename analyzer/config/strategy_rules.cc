#include "analyzer/config/strategy_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "analyzer/config/match_rules.h"
#include "exporter/config/document.h"

namespace consul_canary::config {
namespace {

using rollout::Spec;
using rollout::Step;

constexpr std::size_t kMaxSteps = 100;

NumberCheck Weight() {
  return {[](double value) {
            const double hundredths = value * 100.0;
            return value > 0.0 && value <= 100.0 &&
                   std::abs(hundredths - std::round(hundredths)) < 1e-9;
          },
          "greater than 0, at most 100, with at most two decimals"};
}

// Of a step; that 0 needs matches is checked later.
NumberCheck WeightOrZero() {
  const NumberCheck weight = Weight();
  return {[weight](double value) { return value == 0.0 || weight.holds(value); }, weight.words};
}

Rule OneStep(Step& step) {
  return [&step](const Node& node, const std::string& field, Findings& findings) {
    Map({{"weight", Number(step.weight_percent, WeightOrZero())},
         {"min_duration", Duration(step.min_duration, true)},
         {"pause", Flag(step.pause)}})(node, field, findings);
    RequireKey(node, field, "weight", findings);
    step.weight_percent = std::round(step.weight_percent * 100.0) / 100.0;
  };
}

void CheckAscending(const std::vector<Step>& steps, const std::string& field, Findings& findings) {
  for (std::size_t i = 1; i < steps.size(); ++i) {
    const std::string before = fmt::format("{}[{}].weight", field, i - 1);
    const std::string here = fmt::format("{}[{}].weight", field, i);
    if (!findings.Present(before) || !findings.Present(here)) continue;
    if (findings.Faulty(before) || findings.Faulty(here)) continue;
    if (steps[i].weight_percent > steps[i - 1].weight_percent) continue;
    findings.Report(findings.LineOf(here), here,
                    fmt::format("must be greater than the step before ({}), is {}",
                                steps[i - 1].weight_percent, steps[i].weight_percent));
  }
}

Rule Steps(std::vector<Step>& steps) {
  return [&steps](const Node& node, const std::string& field, Findings& findings) {
    if (node.kind == NodeKind::kList &&
        (node.children.empty() || node.children.size() > kMaxSteps)) {
      findings.Report(
          node.line, field,
          fmt::format("must have 1 to {} steps, has {}", kMaxSteps, node.children.size()));
      return;
    }
    steps.assign(node.children.size(), Step{});
    List([&steps](std::size_t i) { return OneStep(steps[i]); })(node, field, findings);
    CheckAscending(steps, field, findings);
  };
}

// Flagger's stepWeight, maxWeight and interval, written out as steps. A last stretch that is
// shorter than the others ends at `max`.
std::vector<Step> StepsOf(double step, double most, rollout::Seconds interval) {
  std::vector<Step> steps;
  for (int i = 1;; ++i) {
    const double weight = std::min(std::round(i * step * 100.0) / 100.0, most);
    steps.push_back({.weight_percent = weight, .min_duration = interval});
    if (weight >= most) return steps;
  }
}

// Null: left out.
Rule Linear(std::vector<Step>& steps) {
  return [&steps](const Node& node, const std::string& field, Findings& findings) {
    if (node.kind == NodeKind::kNull) return;
    double step = 0;
    double most = 0;
    rollout::Seconds interval{0};
    Map({{"step", Number(step, Weight())},
         {"max", Number(most, Weight())},
         {"interval", Duration(interval, true)}})(node, field, findings);
    RequireKey(node, field, "step", findings);
    RequireKey(node, field, "max", findings);
    if (findings.Faulty(field)) return;
    if (step > most) {
      findings.Report(findings.LineOf(field + ".step"), field + ".step",
                      fmt::format("must be at most strategy.linear.max ({}), is {}", most, step));
    } else if (std::ceil(most / step) > static_cast<double>(kMaxSteps)) {
      findings.Report(
          findings.LineOf(field + ".step"), field + ".step",
          fmt::format("makes more than {} steps up to {}, is {}", kMaxSteps, most, step));
    } else {
      steps = StepsOf(step, most, interval);
      // What is found wrong with a step later is wrong in this line.
      for (std::size_t i = 0; i < steps.size(); ++i) {
        const std::string place = fmt::format("strategy.steps[{}]", i);
        for (const char* key : {"", ".weight", ".min_duration"}) {
          findings.Place(place + key, node.line);
        }
      }
    }
  };
}

// Without matches no request proves a step of weight 0. Weights ascend, so it is the first one.
void CheckWeightZero(const Spec& spec, Findings& findings) {
  static const std::string kField = "strategy.steps[0].weight";
  if (spec.steps.front().weight_percent > 0 || !spec.match.empty()) return;
  if (!findings.Present(kField) || findings.Faulty(kField) || findings.Faulty("strategy.match")) {
    return;
  }
  findings.Report(findings.LineOf(kField), kField,
                  "must be greater than 0 where strategy.match is empty, since the canary then "
                  "gets no requests, is 0");
}

// A step whose deadline passes before it may be judged, or may end, can never advance.
void CheckDeadline(const Spec& spec, Findings& findings) {
  if (findings.Faulty("strategy.deadline")) return;
  const auto check = [&](rollout::Seconds duration, const std::string& field) {
    if (duration < spec.deadline || findings.Faulty(field)) return;
    const int line = findings.LineOf(findings.Present(field) ? field : "strategy.deadline");
    findings.Report(line, field,
                    fmt::format("must be shorter than strategy.deadline ({} s), is {} s",
                                spec.deadline.count(), duration.count()));
  };
  check(spec.warmup, "strategy.warmup");
  for (std::size_t i = 0; i < spec.steps.size(); ++i) {
    if (findings.Present("strategy.linear.step")) {
      return check(spec.steps[i].min_duration, "strategy.linear.interval");
    }
    check(spec.steps[i].min_duration, fmt::format("strategy.steps[{}].min_duration", i));
  }
}

void CheckOneKindOfSteps(Findings& findings) {
  const bool has_linear =
      findings.Present("strategy.linear.step") || findings.Present("strategy.linear.max");
  if (!has_linear || !findings.Present("strategy.steps")) return;
  findings.Report(findings.LineOf("strategy.linear"), "strategy.linear",
                  "stands beside strategy.steps; give one of the two");
}

}  // namespace

Rule Strategy(Spec& spec) {
  using rollout::OnDeadline;
  return Map(
      {{"steps", Steps(spec.steps)},
       {"linear", Linear(spec.steps)},
       {"match", Matches(spec.match)},
       {"ready_deadline", Duration(spec.ready_deadline, false)},
       {"warmup", Duration(spec.warmup, true)},
       {"deadline", Duration(spec.deadline, false)},
       {"on_deadline", Choice<OnDeadline>(spec.on_deadline, {{"hold", OnDeadline::kHold},
                                                             {"rollback", OnDeadline::kRollBack}})},
       {"after_promotion", Duration(spec.after_promotion, true)}});
}

void CheckStrategy(const Spec& spec, Findings& findings) {
  CheckOneKindOfSteps(findings);
  CheckWeightZero(spec, findings);
  CheckDeadline(spec, findings);
}

}  // namespace consul_canary::config
