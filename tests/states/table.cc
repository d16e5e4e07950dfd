#include "tests/states/table.h"

#include <fmt/format.h>

#include <string_view>
#include <vector>

#include "tests/states/events.h"
#include "tests/states/rules.h"

namespace consul_canary::states {
namespace {

using rollout::Phase;

constexpr std::string_view kGood = "tick, good requests";

// Where a rollout can be, and the shortest undisturbed way there.
struct Place {
  std::string_view name;
  std::string_view rules;
  std::vector<std::string_view> way;
  int good_ticks;  // after it
};

const std::vector<Place>& Places() {
  static const std::vector<Place> kPlaces = {
      {"idle", "StartManual", {}, 1},
      {"preparing", "Plain", {}, 1},
      {"stepping", "Plain", {}, 4},
      {"stepping, matched", "Match", {}, 4},
      {"paused, ordered", "Plain", {kGood, kGood, kGood, kGood, "order pause", kGood}, 0},
      {"paused, proven", "PauseStep", {}, 6},
      {"paused, kept", "PromoteNone", {}, 9},
      {"canary-full", "Plain", {}, 9},
      {"watching", "Watch", {}, 11},
      {"primary-filter", "Plain", {}, 10},
      {"primary-full", "Plain", {}, 11},
      {"succeeded", "Plain", {}, 13},
      {"rolling-back", "Plain", {kGood, kGood, kGood, kGood, "order abort", kGood}, 0},
      {"rolled-back", "Plain", {kGood, kGood, kGood, kGood, "order abort", kGood, kGood}, 0},
  };
  return kPlaces;
}

struct Question {
  std::string_view name;
  std::vector<std::string_view> events;  // the last one is a look
};

const std::vector<Question>& Questions() {
  static const std::vector<Question> kQuestions = {
      {"a tick, all known, the canary good", {kGood}},
      {"a tick, the canary bad", {"tick, bad requests of the canary"}},
      {"a tick without requests", {"tick without requests"}},
      {"a look between ticks", {"look between ticks"}},
      {"`start`", {"order start", kGood}},
      {"`pause`", {"order pause", kGood}},
      {"`resume`", {"order resume", kGood}},
      {"`promote`", {"order promote", kGood}},
      {"`promote --full`", {"order promote --full", kGood}},
      {"`abort`", {"order abort", kGood}},
      {"`retry`", {"order retry", kGood}},
      {"a rollback alert", {"rollback alert", kGood}},
      {"a rollback alert that began before the rollout",
       {"rollback alert that began before", kGood}},
      {"the canary's instances go", {"the newest version's instances go", kGood}},
      {"the primary's instances go", {"the primary's instances go", kGood}},
      {"a newer version is deployed", {"a newer version is deployed", kGood}},
      {"a caller's sidecar is not read", {"a caller's sidecar is not read", kGood}},
      {"no caller is passing", {"no caller is passing", kGood}},
      {"the splitter is edited", {"the splitter is edited", kGood}},
      {"the splitter is deleted", {"the splitter is deleted", kGood}},
      {"the routes of `match` are taken out", {"the routes of the match are taken out", kGood}},
      {"the canary's filter is edited", {"the canary's filter is edited", kGood}},
      {"the primary's filter is edited", {"the primary's filter is edited", kGood}},
      {"Kubernetes takes the splitter", {"Kubernetes takes the splitter", kGood}},
      {"Consul is away", {"Consul is away", kGood}},
      {"`abort` while a sidecar is not read and the splitter was edited",
       {"a caller's sidecar is not read", "the splitter is edited", "order abort", kGood}},
      {"the specification loses its last step", {"the specification is changed", kGood}},
      {"another leader takes over", {"another leader, or the same restarted", kGood}},
      {"nobody ruled until the deadlines were over, and no requests",
       {"nobody rules until the deadlines are over", "tick without requests"}},
  };
  return kQuestions;
}

std::string_view NameOf(const rollout::State& state) {
  const bool by_stage = state.phase == Phase::kProgressing || state.phase == Phase::kPromoting;
  return by_stage ? ToString(state.stage) : ToString(state.phase);
}

// Where the look led, or what it said instead.
std::string Answer(const Look& look) {
  const rollout::State& before = look.before;
  const rollout::State& after = look.outcome.state;
  const bool refused =
      !look.outcome.decisions.empty() && look.outcome.decisions.front().action == "refuse";
  if (NameOf(before) != NameOf(after)) {
    return fmt::format("{}→ {}", refused ? "refused; " : "", NameOf(after));
  }
  if (before.step < after.step) return "→ next step";
  if (look.outcome.decisions.empty()) return "–";
  const rollout::Decision& last = look.outcome.decisions.back();
  if (last.action == "start") return "→ preparing, anew";
  if (refused) return "refused";
  return last.action;
}

Model At(const Place& place) {
  const Rules& rules = RulesNamed(place.rules);
  Model model(rules.spec, rules.changed);
  model.Deploy("v2");
  for (const std::string_view event : place.way) Happen(model, EventNamed(event));
  for (int i = 0; i < place.good_ticks; ++i) Happen(model, EventNamed(kGood));
  return model;
}

}  // namespace

std::string TableOfStates() {
  std::string table = "| event |";
  std::string line = "|---|";
  for (const Place& place : Places()) {
    table += fmt::format(" {} |", place.name);
    line += "---|";
  }
  table += "\n" + line + "\n";
  for (const Question& question : Questions()) {
    table += fmt::format("| {} |", question.name);
    for (const Place& place : Places()) {
      Model model = At(place);
      for (const std::string_view event : question.events) Happen(model, EventNamed(event));
      table += fmt::format(" {} |", Answer(*model.last));
    }
    table += "\n";
  }
  return table;
}

}  // namespace consul_canary::states
