// Inside Decide(): the outcome under construction and the moves that change it. Not for other
// folders.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "analyzer/rollout/callers.h"
#include "analyzer/rollout/decide.h"

namespace consul_canary::rollout {

struct Transition {
  const Spec& spec;
  const Observation& seen;
  Verdict verdict;
  State state;
  std::vector<Decision> decisions;
  std::string waits;        // as in Outcome
  std::uint64_t order = 0;  // number of the one that is being taken; 0: none

  // Appends to the decision log; `from` is the phase before the move, the state holds the one after
  // it.
  void Log(Phase from, std::string_view action, std::string_view cause, const std::string& reason);
};

[[nodiscard]] bool SamePercent(double a,
                               double b);  // to the hundredth, which is all that Consul keeps

// --- facts
// -----------------------------------------------------------------------------------------------
// Splitter weights of ours and theirs: settles, confirms or notes a foreign edit.
void ObserveSplitter(Transition& t);
// Notes that the entries got an owner whose entries we may not write, or lost it.
void ObserveOwner(Transition& t);
// Whose an entry is that the rollout would have to write, and what to do; empty: it may write.
[[nodiscard]] std::string Unwritable(const Transition& t);
// What a person has to do by hand where a rollback cannot be written; empty: it can.
[[nodiscard]] std::string WayBackByHand(const Transition& t);
// Why nothing may be widened now, a required shield that is not whole included; empty: nothing
// stands against it.
[[nodiscard]] std::string Obstacle(const Transition& t);
// The same for a canary that has, or is to get, traffic.
[[nodiscard]] std::string TrafficObstacle(const Transition& t);
// "ln M 3.2 of 4.6; canary 3/120 failed, primary 1/2300"
[[nodiscard]] std::string Figures(const Transition& t);
// "the canary is proven worse than the primary in failure_ratio: …"
[[nodiscard]] std::string WhyHarm(const Transition& t);
// "proven not worse than the margin: …", or which thresholds passed.
[[nodiscard]] std::string WhySafe(const Transition& t);
// What the verdict lacks for an advance: "collects evidence: …".
[[nodiscard]] std::string WhyUndecided(const Transition& t);
// What the canary's instances and the callers' ejections of them say against an advance, at a step
// and with all traffic; empty: nothing. Behind a shield the primary answers for a canary that
// cannot: that nobody notices is no health.
[[nodiscard]] std::string ShieldTrouble(const Transition& t);
// The share of the requests that the canary gets, where it is not its weight, and the likely
// causes.
[[nodiscard]] std::string ShareTrouble(const Transition& t);
// "subset canary holds no version v2" or the like; empty: it holds the rollout's version alone.
[[nodiscard]] std::string CanaryTrouble(const Transition& t);
// At the last step for good, as `promote: none` asks.
[[nodiscard]] bool IsKept(const Transition& t);
// Why no rollout can start; empty: it can.
[[nodiscard]] std::string StartObstacle(const Transition& t);

// --- routes of `strategy.match` (routes.cc)
// -----------------------------------------------------------------------------------------------
[[nodiscard]] Routes RoutesFor(const Spec& spec, Stage stage);
// Whether the requests that match go elsewhere than they shall.
[[nodiscard]] bool RoutesMove(const Observation& seen, Routes wanted);
// Whether nothing is to be done about them, save that a router may have to be made for them.
[[nodiscard]] bool RoutesStand(const Observation& seen, Routes wanted);
// After ObserveSplitter(): settles them or notes a foreign edit; without them no stage's traffic is
// confirmed.
void ObserveRoutes(Transition& t);
// What somebody else has made of them counts as ours, so that they are written. Whether he had.
bool OverwriteRoutes(Transition& t);
// Why they do not stand; empty: they do.
[[nodiscard]] std::string RoutesTrouble(const Transition& t);

// --- versions (versions.cc)
// -----------------------------------------------------------------------------------------------
// The version that a start would roll out; empty: none. explicit_start: a person asks, past
// versions count.
[[nodiscard]] std::string Candidate(const Transition& t, bool explicit_start);
// Whether the version was the primary within `rollback_window`.
[[nodiscard]] bool IsRevert(const Transition& t, const std::string& version);
// At the list's end, and nowhere else in it. Only the last hundred are kept.
void Remember(std::vector<std::string>& versions, const std::string& version);
// Where several new versions stand side by side, the one registered last is meant; the ones before
// it are not rolled out over it later.
void PassOver(Transition& t, const std::string& version);
// The rollout's version is the primary from now on.
void NotePromoted(Transition& t);
// Which former primaries have left since.
void FollowFormerPrimaries(Transition& t);

// --- a specification that changes in the middle (respecify.cc)
// -----------------------------------------------------------------------------------------------
// Whether the rollout under way is ruled by another specification than `spec`, the present one.
[[nodiscard]] bool IsRespecified(const Spec& spec, const State& state);
// Whether the difference concerns neither evidence nor entries, so that the rollout goes on.
[[nodiscard]] bool IsGentle(const Spec& spec, const State& state);
void TakeOver(Transition& t);  // t's specification, which differs gently
// The outcome so far was ruled by the former specification: takes the new one, or says why not yet.
void Respecify(Transition& t, const Spec& spec);
// The specification is gone.
void EndUnspecified(Transition& t);

// --- `act: false` (bystander.cc)
// -----------------------------------------------------------------------------------------------
// Takes the weight that stands in the splitter, whoever wrote it, for the one that is judged.
void FollowWeight(Transition& t);
// What there is to do in a rollout that is watched only.
void LookOn(Transition& t);
// Ends it where an acting rollout would roll back.
void WouldRollBack(Transition& t, std::string_view cause, const std::string& reason);

// --- moves
// -----------------------------------------------------------------------------------------------
void Begin(Transition& t, const std::string& version, std::string_view cause,
           const std::string& by);
// From now on each caller must be seen to take another weight.
void AwaitReload(Transition& t);
// From now on each caller must be seen to take the subset's members.
void AwaitMembership(Transition& t, Subset subset, bool filter_changes);
void EnterStage(Transition& t, Stage stage, double canary_percent);
void EnterStep(Transition& t, int step);
// The next step, or the promotion after the last one.
void AdvanceStep(Transition& t, std::string_view cause, const std::string& reason);
void BeginPromotion(Transition& t, std::string_view cause, const std::string& reason);
// All traffic is at the canary: the primary subset takes its version, or its owner is asked to.
void TakePrimary(Transition& t, std::string_view cause, const std::string& reason);
void RollBack(Transition& t, std::string_view cause, const std::string& reason);

// Why the step is not over yet; empty: it is proven, and nothing stands against an advance.
[[nodiscard]] std::string StepObstacle(const Transition& t);
// Where the step, or the watch after promotion, has taken too long: says so, or rolls back.
void CheckDeadline(Transition& t);

void TakeOrders(Transition& t);
void Promoting(Transition& t);  // what there is to do in that phase
void MovePhase(Transition& t);

}  // namespace consul_canary::rollout
