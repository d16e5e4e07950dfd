// What `watch` draws of a rollout, and when it calls something a change.
#include "analyzer/cli/tree.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/cli/rollout_json.h"

namespace consul_canary::cli {
namespace {

using nlohmann::json;

constexpr Look kAscii{.columns = 100};
constexpr Look kUnicode{.unicode = true, .columns = 100};

std::string Drawn(const json& rollout, const Look& look, bool brief = false) {
  return "\n" + fmt::format("{}\n", fmt::join(Tree(rollout, look, brief), "\n"));
}

TEST(Tree, ShowsPhaseStepsSubsetsEvidenceAndWhatComesNext) {
  EXPECT_EQ(Drawn(SteppingRollout(), kUnicode), R"(
api   progressing   step 2 of 3   v2 over v1
├─ reason      collects evidence: ln M of harm 0.52 of 4.61, of safety 1.60 of 3.00
├─ steps
│  ├─ ✔    10%
│  ├─ ●    25%   at least 30 s   since 12 s
│  └─ ○    50%   then waits for promote
├─ subsets     VERSION          WEIGHT  PASSING   REQUESTS   FAILED  AT THIS STEP   FAILED
│  ├─ canary   v2                  25%        1       1234        3           220        1
│  └─ primary  v1                  75%        2       9876       12           900        3
├─ evidence    undecided
│  ├─ harm     ██░░░░░░░░░░░░░░░░░░  0.52 of 4.61, then rolled back
│  ├─ safety   ██████████░░░░░░░░░░  1.60 of 3.00, then advanced
│  ├─ failure_ratio   harm   0.52  safety   1.60
│  └─ late            harm  -0.10  safety      -
├─ stragglers  none of 2 caller(s), read 0.8 s ago at most
├─ next        advance to step 3 of 3, 50%; or, in 59 min, hold
└─ waits for   the minimum duration (18 s more), proof of safety (1.60 of 3.00)
)");
}

TEST(Tree, SaysWhichRequestsTheCanaryGetsWhateverItsWeight) {
  json rollout = SteppingRollout();
  rollout["match"] = {"header x-canary, exact \"always\"", "cookie canary, present"};
  rollout["routes"] = "whole";
  const std::string matched =
      "matched     header x-canary, exact \"always\"; cookie canary, present: ";
  EXPECT_NE(Drawn(rollout, kAscii).find(matched + "at the canary\n"), std::string::npos);
  const std::string before = ChangeKey(rollout);
  rollout["routes"] = "other";
  EXPECT_NE(Drawn(rollout, kAscii).find(matched + "not as the rollout has it\n"),
            std::string::npos);
  EXPECT_NE(ChangeKey(rollout), before);
}

TEST(Tree, IsAsciiWhereTheTerminalHasNothingElse) {
  json rollout = SteppingRollout();
  rollout["observed_weight"] = 10;
  const std::string drawn = Drawn(rollout, kAscii);
  for (const char c : drawn) EXPECT_GE(c, 0) << drawn;
  EXPECT_NE(drawn.find("|  |- v    10%\n|  |- *    25%"), std::string::npos) << drawn;
  EXPECT_NE(drawn.find(" 10%>25% "), std::string::npos) << drawn;
}

TEST(Tree, ListsMetricsByNameAndNumber) {
  json rollout = SteppingRollout();
  const json metric = {{"log_harm", 0}};
  rollout["evidence"]["metrics"] = {
      {"latency_10ms", metric}, {"latency_5ms", metric}, {"late", metric}};
  const std::string drawn = Drawn(rollout, kUnicode);
  EXPECT_LT(drawn.find("late  "), drawn.find("latency_5ms")) << drawn;
  EXPECT_LT(drawn.find("latency_5ms"), drawn.find("latency_10ms")) << drawn;
}

TEST(Tree, NamesStragglersAndWhatHolds) {
  json rollout = SteppingRollout();
  rollout["stragglers"] = "web-1 applies 10%";
  rollout["unknown"] = "Consul does not answer";
  rollout["problem"] = "the last write was refused";
  const std::string drawn = Drawn(rollout, kUnicode);
  for (const char* line : {"├─ stragglers  web-1 applies 10%\n", "├─ holds       Consul does not",
                           "├─ problem     the last write was refused\n"}) {
    EXPECT_NE(drawn.find(line), std::string::npos) << line << drawn;
  }
}

TEST(Tree, MarksTheStepAtWhichARolloutWasRolledBack) {
  json rollout = SteppingRollout();
  rollout["phase"] = "rolled-back";
  rollout["step"] = 0;
  const std::string drawn = Drawn(rollout, kUnicode);
  EXPECT_NE(drawn.find("✔    10%\n│  ├─ ✖    25%   at least 30 s\n│  └─ ○    50%"),
            std::string::npos)
      << drawn;
  EXPECT_EQ(drawn.find("stragglers"), std::string::npos) << drawn;
}

TEST(Tree, OfOneThatNeverHadTrafficMarksNoStep) {
  json rollout = SteppingRollout();
  rollout["phase"] = "rolled-back";
  rollout["step"] = 0;
  rollout["last_step"] = 1;
  rollout["evidence"]["rollout"]["canary"]["completed"] = 0;
  EXPECT_EQ(Drawn(rollout, kUnicode).find("✖"), std::string::npos);
}

TEST(Tree, OfAPromotedRolloutTheNewVersionIsThePrimarys) {
  json rollout = SteppingRollout();
  rollout["phase"] = "succeeded";
  rollout["waits"] = "waits for instances of a new version";
  rollout["next"] = {{"decision", "start"}, {"waits_for", "instances of a new version"}};
  const std::string drawn = Drawn(rollout, kUnicode);
  EXPECT_NE(drawn.find("└─ primary  v2 "), std::string::npos) << drawn;
  EXPECT_NE(drawn.find("├─ next        start\n└─ waits for   instances of a new version\n"),
            std::string::npos)
      << drawn;
}

TEST(Tree, OfARolloutThatIsNotUnderWayIsBriefAmongOthers) {
  json rollout = SteppingRollout();
  rollout["phase"] = "idle";
  rollout["step"] = 0;
  rollout["reason"] = rollout["waits"] = "waits for instances of a new version";
  EXPECT_EQ(Drawn(rollout, kUnicode, true), R"(
api   idle   v2 over v1
└─ reason      waits for instances of a new version
)");
  EXPECT_EQ(Drawn(SteppingRollout(), kUnicode, true), Drawn(SteppingRollout(), kUnicode));
}

TEST(Tree, ShowsWhatItUnderstandsOfAnAnswerThatLacksTheRest) {
  EXPECT_EQ(Drawn({{"service", "api"}, {"phase", "new\x1b[2Jphase"}, {"step", nullptr}}, kAscii),
            R"(
api   new?[2Jphase
|- steps
`- subsets     VERSION          WEIGHT  PASSING   REQUESTS   FAILED  AT THIS STEP   FAILED
   |- canary   -                     ?        ?          ?        ?             ?        ?
   `- primary  -                     ?        ?          ?        ?             ?        ?
)");
}

TEST(ChangeKey, MovesWithWhatHappensAndNotWithFigures) {
  const json before = SteppingRollout();
  json after = before;
  after["reason"] = "collects evidence: ln M of harm 0.60 of 4.61, of safety 1.70 of 3.00";
  after["evidence"]["log_harm"] = 0.6;
  after["stage_seconds"] = 13.4;
  after["outcomes_age_seconds"] = 0.2;
  EXPECT_EQ(ChangeKey(before), ChangeKey(after));
  const json changes = {{"phase", "paused"}, {"step", 3},
                        {"weight", 25.01},   {"observed_weight", 10},
                        {"verdict", "safe"}, {"unknown", "no data"},
                        {"decisions", 4},    {"stragglers", "web-1"},
                        {"problem", "bad"},  {"canary_version", "v3"}};
  for (const auto& [field, value] : changes.items()) {
    after = before;
    after[field] = value;
    EXPECT_NE(ChangeKey(before), ChangeKey(after)) << field;
  }
}

TEST(ChangeLine, SaysEverythingInOneLine) {
  json rollout = SteppingRollout();
  EXPECT_EQ(
      ChangeLine(rollout),
      "api  progressing  step 2/3  25%  v2 over v1  undecided: collects evidence: ln M of harm "
      "0.52 of 4.61, of safety 1.60 of 3.00");
  rollout["observed_weight"] = 10;
  rollout["problem"] = "two\nlines";
  EXPECT_EQ(ChangeLine(rollout),
            "api  progressing  step 2/3  10%->25%  v2 over v1  undecided: two?lines");
}

}  // namespace
}  // namespace consul_canary::cli
