// What `--record` writes of a live rollout is replayed to the same decisions, with the same
// figures.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/e2e/rollout_mesh.h"

namespace consul_canary::testing {
namespace {

// How a decision is compared. What is proven, ordered or harmful gives its figures: the evidence
// and the requests of this step. Other reasons name versions and callers, which no recording knows.
std::string Told(const json& decision) {
  const auto cause = decision["cause"].get<std::string>();
  std::string text = decision["action"].get<std::string>() + "/" + cause + " " +
                     std::to_string(decision["weight"].get<int>());
  const std::set<std::string> with_figures{"proven", "harm", "order"};
  if (with_figures.contains(cause) && decision["action"] != "start") {
    text += ": " + decision["reason"].get<std::string>();
  }
  return text;
}

class ReplayTest : public RolloutTest {
 protected:
  void BeginRecorded(MeshOptions options = {}) {
    Begin(std::move(options), 200, {"--record", folder_.path().string()});
  }

  std::vector<std::string> Replayed(const std::string& file) {
    const CtlResult replayed = Ctl({"replay", file, "-o", "json"});
    EXPECT_EQ(replayed.code, 0) << replayed.output;
    std::vector<std::string> told;
    std::istringstream lines(replayed.output);
    for (std::string line; std::getline(lines, line);) {
      const json tick = json::parse(line);
      for (const json& decision : tick["decisions"]) told.push_back(Told(decision));
    }
    return told;
  }

  // One file for each rollout; all that was decided, in order.
  void ExpectReplaysAsItWas(std::size_t rollouts) {
    std::vector<std::string> live;
    for (const json& decision : Decisions()) live.push_back(Told(decision));
    ASSERT_EQ(analyzer_->Stop(), 0);
    std::set<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      files.insert(entry.path().string());
    }
    EXPECT_EQ(files.size(), rollouts);
    std::vector<std::string> again;
    for (const std::string& file : files) {
      const auto told = Replayed(file);
      again.insert(again.end(), told.begin(), told.end());
    }
    EXPECT_EQ(again, live);
    if (again != live) {
      for (const std::string& file : files) std::cout << ReadFile(file) << std::endl;
    }
    ASSERT_TRUE(analyzer_->Restart());
  }

  TempDir folder_{"recordings"};
};

TEST_F(ReplayTest, OfARolloutThatHarmEnded) {
  ASSERT_NO_FATAL_FAILURE(BeginRecorded());
  ASSERT_NO_FATAL_FAILURE(ApplySpec());
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForStep(2));
  ASSERT_TRUE(mesh_->Control("v2", "failure_ratio=0.3"));
  ASSERT_TRUE(WaitForPhase("rolled-back"));
  ExpectReplaysAsItWas(1);
}

// Promoted to the end by hand, after a first try that was paused, let go on and aborted.
TEST_F(ReplayTest, OfRolloutsThatPeopleDrive) {
  ASSERT_NO_FATAL_FAILURE(BeginRecorded());
  ASSERT_NO_FATAL_FAILURE(
      ApplySpec("service: api\nstrategy: {steps: [{weight: 25, min_duration: 60s}, "
                "{weight: 50, min_duration: 60s}], warmup: 1s}\n"));
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForStep(1));
  EXPECT_EQ(Ctl({"pause", "api"}).code, 0);
  ASSERT_TRUE(WaitForPhase("paused"));
  EXPECT_EQ(Ctl({"resume", "api"}).code, 0);
  ASSERT_TRUE(WaitForPhase("progressing"));
  EXPECT_EQ(Ctl({"promote", "api"}).code, 0);
  ASSERT_TRUE(WaitForStep(2));
  EXPECT_EQ(Ctl({"abort", "api"}).code, 0);
  ASSERT_TRUE(WaitForPhase("rolled-back"));
  EXPECT_EQ(Ctl({"retry", "api"}).code, 0);
  ASSERT_TRUE(WaitForStep(1));
  EXPECT_EQ(Ctl({"promote", "api", "--full"}).code, 0);
  ASSERT_TRUE(WaitForPhase("succeeded"));
  ExpectReplaysAsItWas(2);
}

// What the killed analyzer had counted since its last checkpoint, its successor counts again.
TEST_F(ReplayTest, OfARolloutWhoseAnalyzerWasKilledTwice) {
  ASSERT_NO_FATAL_FAILURE(BeginRecorded());
  ASSERT_NO_FATAL_FAILURE(
      ApplySpec("service: api\nstrategy: {steps: [{weight: 25, min_duration: 8s}, "
                "{weight: 50, min_duration: 8s}], warmup: 1s}\n"));
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  for (const int step : {1, 2}) {
    ASSERT_TRUE(WaitForStep(step));
    ASSERT_TRUE(load_->WaitForMore(800, seconds(20)));
    analyzer_->Kill();
    ASSERT_TRUE(load_->WaitForMore(400, seconds(10)));
    ASSERT_TRUE(analyzer_->Restart());
  }
  ASSERT_TRUE(WaitForPhase("succeeded"));
  ExpectReplaysAsItWas(1);
}

// What is decided then waits for Consul, and is looked at by nobody meanwhile.
TEST_F(ReplayTest, OfARolloutDuringWhichConsulWasAway) {
  ASSERT_NO_FATAL_FAILURE(BeginRecorded({.consul = {.persistent = true}}));
  ASSERT_NO_FATAL_FAILURE(ApplySpec());
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForStep(1));
  ASSERT_TRUE(WaitUntil([&] { return mesh_->AppliedWeights()["canary"] == 25; }, seconds(10)));
  mesh_->consul().Kill();
  ASSERT_TRUE(load_->WaitForMore(1000, seconds(20)));
  ASSERT_TRUE(mesh_->consul().Restart());
  ASSERT_TRUE(WaitForPhase("succeeded", seconds(90)));
  ExpectReplaysAsItWas(1);
}

TEST_F(ReplayTest, OfARolloutWhoseSplitterSomeoneElseEdited) {
  ASSERT_NO_FATAL_FAILURE(BeginRecorded());
  ASSERT_NO_FATAL_FAILURE(ApplySpec());
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForStep(1));
  ASSERT_TRUE(mesh_->WriteSplitter(33));
  ASSERT_TRUE(WaitUntil([&] { return Rollout().value("foreign_edit", false); }, seconds(10)));
  EXPECT_EQ(Ctl({"promote", "api"}).code, 1);  // refused
  ASSERT_TRUE(load_->WaitForMore(600, seconds(10)));
  EXPECT_EQ(Ctl({"resume", "api"}).code, 0);
  ASSERT_TRUE(WaitForPhase("succeeded"));
  ExpectReplaysAsItWas(1);
}

}  // namespace
}  // namespace consul_canary::testing
