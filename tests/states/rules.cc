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

}  // namespace

const std::vector<Rules>& AllRules() {
  static const std::vector<Rules> kAll = {
      {"Plain", Plain()},
      {"PauseStep", With([](Spec& spec) { spec.steps[0].pause = true; })},
      {"PromoteNone", With([](Spec& spec) { spec.promote = rollout::PromoteMode::kNone; })},
      {"ProofOnce", With([](Spec& spec) {
         spec.proof = rollout::Proof::kOnce;
         spec.steps[1].min_duration = Seconds(3);
       })},
      {"Thresholds", With([](Spec& spec) {
         spec.judge = rollout::JudgeMode::kThresholds;
         spec.thresholds = {{.min = 0.9, .window = Seconds(2), .failures = 2}};
       })},
      {"DeadlineRollsBack",
       With([](Spec& spec) { spec.on_deadline = rollout::OnDeadline::kRollBack; })},
      {"StartManual", With([](Spec& spec) { spec.start = rollout::StartMode::kManual; })},
  };
  return kAll;
}

const Rules& RulesNamed(std::string_view name) {
  const auto found = std::ranges::find(AllRules(), name, &Rules::name);
  assert(found != AllRules().end());
  return *found;
}

}  // namespace consul_canary::states
