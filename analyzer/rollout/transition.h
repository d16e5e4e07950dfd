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
  std::string waits;  // as in Outcome

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
// Why nothing may be widened now; empty: nothing stands against it.
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
// The share of the requests that the canary gets, where it is not its weight, and the likely
// causes.
[[nodiscard]] std::string ShareTrouble(const Transition& t);
// At the last step for good, as `promote: none` asks.
[[nodiscard]] bool IsKept(const Transition& t);
// The version that a start would roll out; empty: none. explicit_start: a person asks, past
// versions count.
[[nodiscard]] std::string Candidate(const Transition& t, bool explicit_start);
// Why no rollout can start; empty: it can.
[[nodiscard]] std::string StartObstacle(const Transition& t);

// --- moves
// -----------------------------------------------------------------------------------------------
void Begin(Transition& t, const std::string& version, std::string_view cause,
           const std::string& by);
// From now on each caller must be seen to take another weight.
void AwaitReload(Transition& t);
void EnterStage(Transition& t, Stage stage, double canary_percent);
void EnterStep(Transition& t, int step);
// The next step, or the promotion after the last one.
void AdvanceStep(Transition& t, std::string_view cause, const std::string& reason);
void BeginPromotion(Transition& t, std::string_view cause, const std::string& reason);
void RollBack(Transition& t, std::string_view cause, const std::string& reason);

void TakeOrders(Transition& t);
void MovePhase(Transition& t);

}  // namespace consul_canary::rollout
