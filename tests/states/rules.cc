#include "tests/states/rules.h"

#include <algorithm>
#include <cassert>

namespace consul_canary::states {
namespace {

using rollout::Seconds;
using rollout::Spec;

Spec Plain() {
  Spec spec;
  spec.service = "api";
  spec.subset_filter = "is {{version}}";
  spec.steps = {{.weight_percent = 10}, {.weight_percent = 50}};
  spec.warmup = Seconds(1);
  spec.deadline = Seconds(6);
  spec.ready_deadline = Seconds(6);
  return spec;
}

Spec With(void (*change)(Spec&)) {
  Spec spec = Plain();
  change(spec);
  return spec;
}

Rules Named(std::string_view name, const Spec& spec) {
  Rules rules{name, spec, spec};
  rules.changed.steps.pop_back();
  return rules;
}

}  // namespace

const std::vector<Rules>& AllRules() {
  static const std::vector<Rules> kAll = {
      Named("Plain", Plain()),
      Named("PauseStep", With([](Spec& spec) { spec.steps[0].pause = true; })),
      Named("PromoteNone", With([](Spec& spec) { spec.promote = rollout::PromoteMode::kNone; })),
      Named("ProofOnce", With([](Spec& spec) {
              spec.proof = rollout::Proof::kOnce;
              spec.steps[1].min_duration = Seconds(3);
            })),
      Named("Thresholds", With([](Spec& spec) {
              spec.judge = rollout::JudgeMode::kThresholds;
              spec.thresholds = {{.min = 0.9, .window = Seconds(2), .failures = 2}};
            })),
      Named("DeadlineRollsBack",
            With([](Spec& spec) { spec.on_deadline = rollout::OnDeadline::kRollBack; })),
      Named("Match", With([](Spec& spec) {
              spec.steps[0].weight_percent = 0;
              spec.match = {{.header = "x-canary", .value = "always"}};
            })),
      Named("Watch", With([](Spec& spec) { spec.after_promotion = Seconds(3); })),
      Named("StartManual", With([](Spec& spec) { spec.start = rollout::StartMode::kManual; })),
  };
  return kAll;
}

std::vector<std::string> NamesOfRules() {
  std::vector<std::string> names;
  for (const Rules& rules : AllRules()) names.emplace_back(rules.name);
  return names;
}

const Rules& RulesNamed(std::string_view name) {
  const auto found = std::ranges::find(AllRules(), name, &Rules::name);
  assert(found != AllRules().end());
  return *found;
}

}  // namespace consul_canary::states
