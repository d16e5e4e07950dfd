// A mesh in memory for Decide(), driven tick by tick: it shows what the tests set, and does what is
// written unless told not to. No clock, no I/O.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "analyzer/rollout/decide.h"
#include "analyzer/rollout/observation.h"
#include "analyzer/rollout/spec.h"
#include "analyzer/rollout/state.h"

namespace consul_canary::rollout {

// For messages of failed expectations.
inline void PrintTo(Phase phase, std::ostream* out) { *out << ToString(phase); }
inline void PrintTo(Stage stage, std::ostream* out) { *out << ToString(stage); }

inline constexpr stats::Counts kNothing{};

class World {
 public:
  static constexpr std::uint64_t kEpoch = 7;

  // Service api at version v1, idle, two steps (10 and 50), a warm-up of 2 s, one caller (web)
  // whose admin port tells nothing; no instance of another version yet.
  World();

  // An instance of the version appears; it will be the newest.
  void Deploy(const std::string& version);
  // Its instances leave.
  void Remove(const std::string& version);
  // As someone else would edit the resolver; the callers follow.
  void EditFilters(const std::string& primary, const std::string& canary);
  // v2 is rolled out until the given step's weight is confirmed and its warm-up over.
  void ReachStep(int step);
  // … until the promotion has reached the stage.
  void ReachStage(Stage stage);

  // Every look from now on carries these requests.
  void Traffic(stats::Counts primary, stats::Counts canary);
  // Every look from now on carries 5000 requests of the canary, of which none fails, and as many of
  // the primary as the splitter's weight makes of that: enough to prove any step within one tick.
  void PlentyOfTraffic();

  // A look between ticks: no time has passed, no requests are counted.
  void Look();
  // A tick of a second, then what is due is written. Several: one after the other.
  void Tick(int times = 1);
  // The same without the writes: what is wanted and what Consul holds may differ afterwards.
  void TickWithoutWriting();
  // Taken at the next look.
  void Give(OrderKind kind, Order order = {});

  // The callers take what the entries say: routes, and members of the two subsets.
  void CallersFollow();
  // As someone else would edit the router; the callers follow.
  void EditRoutes(RoutesSeen ours);
  // As someone else would edit the splitter.
  void EditSplitter(double canary_percent);

  // "action/cause weight" of each decision so far.
  [[nodiscard]] std::vector<std::string> Log() const;
  // "action/cause" of the last one.
  [[nodiscard]] std::string LastDecision() const;

  Spec spec;
  State state;
  Observation seen;
  Outcome last;
  std::vector<Decision> decisions;
  std::vector<std::string> writes;  // "splitter 10", "canary filter v2", …
  bool callers_follow = true;

 private:
  void See(double elapsed_seconds, bool counts_known);
  void CountPlenty();
  void Act();
  void Do(Write write);
  void DoRoutes();
  [[nodiscard]] int PassingOf(const std::string& filter) const;
  [[nodiscard]] std::vector<std::string> VersionsOf(const std::string& filter) const;
  void CountSubsets();

  bool plenty_ = false;
  std::uint64_t last_order_ = 0;
  std::uint64_t last_index_ = 0;
};

}  // namespace consul_canary::rollout
