// The tables of list, get, status and history.
#include "analyzer/cli/tables.h"

#include <gtest/gtest.h>

#include "tests/unit/cli/rollout_json.h"

namespace consul_canary::cli {
namespace {

using nlohmann::json;

TEST(RolloutTable, HasARowForEachAndTheProblemInPlaceOfTheReason) {
  json writing = SteppingRollout();
  writing["observed_weight"] = 10;
  json bad = SteppingRollout();
  bad["problem"] = "line 1: service: is missing";
  EXPECT_EQ(RolloutTable(json::array({writing, bad}), {}),
            "SERVICE              PHASE         STEP   WEIGHT     CANARY     VERDICT    REASON\n"
            "api                  progressing   2/3    10%→25%    v2         undecided  collects "
            "evidence: ln M of harm 0.52 of 4.61, of safety 1.60 of 3.00\n"
            "api                  progressing   2/3    25%        v2         undecided  line 1: "
            "service: is missing\n");
}

TEST(RolloutTable, ColoursThePhaseWhereTheReaderHasColours) {
  json rollout = SteppingRollout();
  rollout["phase"] = "rolled-back";
  const std::string table = RolloutTable(json::array({rollout}), {.colours = true});
  EXPECT_NE(table.find("\x1b[31mrolled-back  \x1b[0m 2/3"), std::string::npos) << table;
}

TEST(RolloutDetails, SaysWhatLiesBehindTheRow) {
  json rollout = SteppingRollout();
  rollout["unknown"] = "no fresh data from web-1";
  rollout["stragglers"] = "web-1 applies 10%";
  rollout["evidence"]["notes"] = {"the primary has long requests itself"};
  const std::string details = RolloutDetails(rollout, {});
  for (const char* line :
       {"\nversions   canary v2, primary v1\n",
        "\nthis step  canary 1 of 220 requests failed, primary 3 of 900 requests failed\n",
        "\nharm       ln M 0.52, rolled back at 4.61\n",
        "\nsafety     ln M 1.60, advanced at 3.00\n", "\ncallers    2, read 0.8 s ago at most\n",
        "\nmetric     failure_ratio: harm 0.52, safety 1.60\n", "\nmetric     late: harm -0.10\n",
        "\nnote       the primary has long requests itself\n", "\nstragglers web-1 applies 10%\n",
        "\nnext       advance to step 3 of 3, 50%: the minimum duration (18 s more), proof",
        "\nholds      no fresh data from web-1\n"}) {
    EXPECT_NE(details.find(line), std::string::npos) << line << "\nis not in" << details;
  }
}

TEST(DecisionTable, KeepsTheOrderAndSaysWhy) {
  EXPECT_EQ(
      DecisionTable(json::parse(R"([
      {"time": "2026-11-24T17:00:00Z", "action": "start", "cause": "new-version",
       "to": "progressing", "weight": 0, "reason": "version v2 is rolled out over v1"},
      {"time": "2026-11-24T17:00:09Z", "action": "advance", "cause": "ready", "to": "progressing",
       "weight": 12.5, "reason": "1 instance(s) of version v2 are routable"}])"),
                    {}),
      "TIME                  ACTION       CAUSE          PHASE          WEIGHT  REASON\n"
      "2026-11-24T17:00:00Z  start        new-version    progressing        0%  version v2 is "
      "rolled out over v1\n"
      "2026-11-24T17:00:09Z  advance      ready          progressing     12.5%  1 instance(s) "
      "of version v2 are routable\n");
}

}  // namespace
}  // namespace consul_canary::cli
