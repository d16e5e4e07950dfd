#include "analyzer/api/next.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace consul_canary::api {
namespace {

using control::RolloutView;
using rollout::Phase;
using rollout::PromoteMode;
using rollout::Spec;
using rollout::Stage;
using rollout::State;

// "waits for instances of a new version", without its first words.
std::string WhatWaits(const std::string& waits) {
  constexpr std::string_view kWords = "waits for ";
  return waits.starts_with(kWords) ? waits.substr(kWords.size()) : waits;
}

bool IsLastStep(const Spec& spec, const State& state) {
  return state.step + 1 >= static_cast<int>(spec.steps.size());
}

std::string Advance(const Spec& spec, int step) {
  return fmt::format("advance to step {} of {}, {:g}%", step + 1, spec.steps.size(),
                     spec.steps.at(static_cast<std::size_t>(step)).weight_percent);
}

std::string AfterStep(const Spec& spec, const State& state) {
  if (!IsLastStep(spec, state)) return Advance(spec, state.step + 1);
  return spec.promote == PromoteMode::kNone ? "stay at this step, as `promote: none` asks"
                                            : "promote: all traffic to the canary";
}

void AddRest(std::vector<std::string>& parts, const char* what, double whole, double passed) {
  if (passed < whole) parts.push_back(fmt::format("{} ({:.0f} s more)", what, whole - passed));
}

// What a reason says without the words that `waits_for` says already.
std::string Cause(const State& state) {
  for (const std::string_view words :
       {"holds: ", "promotion holds: ", "promotion: ", "waits for the canary: "}) {
    if (state.reason.starts_with(words)) return state.reason.substr(words.size());
  }
  return state.reason;
}

// What a step that is under way still lacks.
std::string MissingAtStep(const RolloutView& view) {
  const Spec& spec = *view.spec;
  const State& state = view.state;
  if (state.reason.starts_with("holds: ")) return "an end of the hold: " + Cause(state);
  if (!state.confirmed && state.wanted.routes == rollout::Routes::kPlaced) return state.reason;
  if (!state.confirmed) {
    return fmt::format("the splitter to hold {:g}%", state.wanted.canary_percent);
  }
  std::vector<std::string> parts;
  const rollout::Step& step = spec.steps.at(static_cast<std::size_t>(state.step));
  AddRest(parts, "the warm-up", spec.warmup.count(), state.confirmed_seconds);
  AddRest(parts, "the minimum duration", step.min_duration.count(), state.confirmed_seconds);
  if (spec.judge != rollout::JudgeMode::kThresholds &&
      view.verdict.log_safe < view.verdict.safe_bound) {
    parts.push_back(fmt::format("proof of safety ({:.2f} of {:.2f})",
                                std::max(0.0, view.verdict.log_safe), view.verdict.safe_bound));
  }
  if (!view.verdict.threshold_obstacle.empty()) parts.push_back(view.verdict.threshold_obstacle);
  return parts.empty() ? state.reason : fmt::format("{}", fmt::join(parts, ", "));
}

std::string OnDeadlineText(const Spec& spec) {
  return spec.on_deadline == rollout::OnDeadline::kRollBack ? "rollback" : "hold";
}

NextDecision OfProgress(const RolloutView& view) {
  const Spec& spec = *view.spec;
  const State& state = view.state;
  NextDecision next;
  if (state.stage == Stage::kPreparing) {
    next.decision = Advance(spec, 0);
    next.waits_for = Cause(state);
    next.deadline_seconds = std::max(0.0, spec.ready_deadline.count() - state.stage_seconds);
    next.on_deadline = "rollback";
    return next;
  }
  if (state.stage != Stage::kStepping || state.step >= static_cast<int>(spec.steps.size())) {
    return {.decision = "go on", .waits_for = Cause(state)};
  }
  const bool pauses = spec.steps.at(static_cast<std::size_t>(state.step)).pause;
  next.decision = pauses ? "pause until `promote`" : AfterStep(spec, state);
  next.waits_for = MissingAtStep(view);
  if (state.deadline_passed) return next;
  next.deadline_seconds = std::max(0.0, spec.deadline.count() - state.stage_seconds);
  next.on_deadline = OnDeadlineText(spec);
  return next;
}

NextDecision OfPause(const RolloutView& view) {
  const Spec& spec = *view.spec;
  if (!view.state.proven_wait) return {.decision = "go on", .waits_for = "an order: `resume`"};
  if (spec.promote == PromoteMode::kNone && IsLastStep(spec, view.state)) {
    return {.decision = "none: the last step is kept", .waits_for = "a new version, or `abort`"};
  }
  return {.decision = AfterStep(spec, view.state), .waits_for = "an order: `promote`"};
}

NextDecision OfWatch(const Spec& spec, const State& state) {
  NextDecision next{.decision = "the primary subset takes version " + state.canary_version,
                    .waits_for = Cause(state)};
  if (state.deadline_passed) return next;
  next.deadline_seconds =
      std::max(0.0, (spec.deadline + spec.after_promotion).count() - state.stage_seconds);
  next.on_deadline = OnDeadlineText(spec);
  return next;
}

NextDecision OfPromotion(const Spec& spec, const State& state) {
  switch (state.stage) {
    case Stage::kWatching:
      return OfWatch(spec, state);
    case Stage::kCanaryFull:
      if (spec.after_promotion.count() > 0) {
        return {.decision = fmt::format("watch it for {:g} s", spec.after_promotion.count()),
                .waits_for = Cause(state)};
      }
      return {.decision = "the primary subset takes version " + state.canary_version,
              .waits_for = Cause(state)};
    case Stage::kPrimaryFilter:
      return {.decision = "all traffic back to the primary subset", .waits_for = Cause(state)};
    case Stage::kPrimaryFull:
      return {.decision = "succeeded", .waits_for = Cause(state)};
    default:
      return {.decision = "go on", .waits_for = Cause(state)};
  }
}

}  // namespace

NextDecision NextOf(const RolloutView& view) {
  if (!view.spec) return {};
  switch (view.state.phase) {
    case Phase::kProgressing:
      return OfProgress(view);
    case Phase::kPaused:
      return OfPause(view);
    case Phase::kPromoting:
      return OfPromotion(*view.spec, view.state);
    case Phase::kRollingBack:
      return {.decision = "rolled-back",
              .waits_for = "all traffic to be back at the primary" +
                           (view.waits.empty() ? "" : "; " + view.waits)};
    default:
      return {.decision = "start", .waits_for = WhatWaits(view.waits)};
  }
}

}  // namespace consul_canary::api
