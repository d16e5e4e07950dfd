// Rollouts on a real mesh, by the real analyzer: what its users are promised, from a deployment of
// instances to the splitter's last weight.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/e2e/rollout_mesh.h"

namespace consul_canary::testing {
namespace {

TEST_F(RolloutTest, PromotesTwoHealthyVersionsInARowWithoutAFailedRequest) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_NO_FATAL_FAILURE(ApplySpec());
  std::string old = "api-1";
  for (const std::string version : {"v2", "v3"}) {
    const auto instance = mesh_->AddInstance(version);
    ASSERT_TRUE(instance) << instance.error().message;
    const CtlResult status =
        Ctl({"status", "api", "--wait", "--timeout", "90s", "--version", version}, seconds(100));
    EXPECT_EQ(status.code, 0) << status.output << Rollout().dump();
    EXPECT_EQ(CanaryWeight(), 0);
    // The old instances match no subset any more: removing them is felt by nobody.
    ASSERT_TRUE(mesh_->RemoveInstance(old));
    old = *instance;
    LoadCounts before = load_->Counts();
    ASSERT_TRUE(load_->WaitForMore(100, seconds(10)));
    LoadCounts after = load_->Counts();
    EXPECT_GT(after.by_version[version], before.by_version[version]);
  }
  load_->Stop();
  EXPECT_EQ(load_->Counts().failed, 0);
  const auto decisions = Decisions();
  ExpectWholeLog(decisions);
  EXPECT_EQ(Advances(decisions), (std::vector<std::string>{"1/25", "2/50", "1/25", "2/50"}));
}

TEST_F(RolloutTest, RollsAFailingCanaryBackWithinSeconds) {
  ASSERT_NO_FATAL_FAILURE(Begin({}, 100));
  ASSERT_NO_FATAL_FAILURE(
      ApplySpec("service: api\nstrategy: {steps: [{weight: 10}, {weight: 50}]}\n"));
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForStep(1));
  ASSERT_TRUE(WaitUntil([&] { return Rollout().value("verdict", "") != "warm-up"; }, seconds(15)));
  ASSERT_TRUE(mesh_->Control("v2", "failure_ratio=0.2"));
  const auto fault = std::chrono::steady_clock::now();
  EXPECT_TRUE(WaitUntil([&] { return CanaryWeight() == 0; }, seconds(30)));
  const auto taken = std::chrono::steady_clock::now() - fault;
  RecordProperty("milliseconds", std::to_string(taken / std::chrono::milliseconds(1)));
  ASSERT_TRUE(WaitForPhase("rolled-back"));
  EXPECT_EQ(Ctl({"status", "api"}).code, 1);
  EXPECT_LT(load_->Since(fault).failed, 20);
  // The version is not tried again by itself.
  ASSERT_TRUE(load_->WaitForMore(300, seconds(10)));
  EXPECT_EQ(Phase(), "rolled-back");
}

TEST_F(RolloutTest, RollsBackACanaryWhoseFailuresRetriesHide) {
  ASSERT_NO_FATAL_FAILURE(Begin({.retry_codes = {500, 503}}));
  ASSERT_NO_FATAL_FAILURE(ApplySpec());
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForStep(1));
  ASSERT_TRUE(mesh_->Control("v2", "failure_ratio=0.2"));
  ASSERT_TRUE(WaitForPhase("rolled-back"));
  EXPECT_LE(load_->Counts().failed, 3);  // 0.2^4 of what the canary got
}

TEST_F(RolloutTest, RollsBackACanaryThatIsSlowAndFailsNothing) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_NO_FATAL_FAILURE(ApplySpec());
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForStep(1));
  ASSERT_TRUE(mesh_->Control("v2", "delay_ms=150"));
  ASSERT_TRUE(WaitForPhase("rolled-back"));
  EXPECT_NE(Rollout().value("reason", "").find("worse than the primary in latency_"),
            std::string::npos)
      << Rollout().dump();
  EXPECT_EQ(load_->Counts().failed, 0);
}

TEST_F(RolloutTest, RollsBackACanaryThatAnswersNothing) {
  ASSERT_NO_FATAL_FAILURE(Begin({}, 400));  // a thousand timed requests, so that late is known
  ASSERT_NO_FATAL_FAILURE(ApplySpec());
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForStep(1));
  ASSERT_TRUE(mesh_->Control("v2", "hang=1"));
  ASSERT_TRUE(WaitForPhase("rolled-back"));
  EXPECT_NE(Rollout().value("reason", "").find("of its requests took longer than 2 s"),
            std::string::npos)
      << Rollout().dump();
  ASSERT_TRUE(mesh_->Control("v2", "hang=0"));
}

TEST_F(RolloutTest, ApplySaysHowLongItWillTakeAtTheRateItSees) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  const CtlResult applied = Ctl({"apply", "-f", SpecFile(kSpec)});
  EXPECT_EQ(applied.code, 0);
  EXPECT_NE(applied.output.find("requests a second a healthy canary passes all steps"),
            std::string::npos)
      << applied.output;
  const CtlResult undecidable = Ctl(
      {"apply", "-f",
       SpecFile("service: api\nstrategy: {steps: [{weight: 0.01}], deadline: 60s, warmup: 1s}\n")});
  EXPECT_EQ(undecidable.code, 0);
  EXPECT_NE(undecidable.output.find("Step 1 is decided before its deadline in 0% of the runs"),
            std::string::npos)
      << undecidable.output;
  EXPECT_NE(undecidable.output.find("strategy.steps[0].weight: "), std::string::npos);
}

TEST_F(RolloutTest, GoesOnAfterTheAnalyzerWasKilled) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_NO_FATAL_FAILURE(ApplySpec());
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForStep(1));
  analyzer_->Kill();
  ASSERT_TRUE(load_->WaitForMore(200, seconds(10)));
  EXPECT_EQ(CanaryWeight(), 25);
  ASSERT_TRUE(analyzer_->Restart());
  ASSERT_TRUE(WaitForStep(2));
  analyzer_->Kill();
  ASSERT_TRUE(analyzer_->Restart());
  ASSERT_TRUE(WaitForPhase("succeeded"));
  const auto decisions = Decisions();
  ExpectWholeLog(decisions);
  EXPECT_EQ(Advances(decisions), (std::vector<std::string>{"1/25", "2/50"}));
  EXPECT_EQ(load_->Counts().failed, 0);
}

TEST_F(RolloutTest, HoldsWhileConsulIsAwayAndGoesOnAfterwards) {
  ASSERT_NO_FATAL_FAILURE(Begin({.consul = {.persistent = true}}));
  ASSERT_NO_FATAL_FAILURE(ApplySpec());
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForStep(1));
  ASSERT_TRUE(WaitUntil([&] { return mesh_->AppliedWeights()["canary"] == 25; }, seconds(10)));
  mesh_->consul().Kill();
  Pass(seconds(20));
  EXPECT_EQ(mesh_->AppliedWeights()["canary"], 25);
  const json held = Rollout();
  EXPECT_EQ(held["step"], 1) << held.dump();
  EXPECT_NE(held.value("unknown", "").find("Consul does not answer"), std::string::npos)
      << held.dump();
  ASSERT_TRUE(mesh_->consul().Restart());
  ASSERT_TRUE(WaitForPhase("succeeded", seconds(90)));
  const auto decisions = Decisions();
  ExpectWholeLog(decisions);
  EXPECT_EQ(Advances(decisions), (std::vector<std::string>{"1/25", "2/50"}));
}

TEST_F(RolloutTest, NoticesAnEditOfTheSplitterAndDoesNotOverwriteIt) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_NO_FATAL_FAILURE(ApplySpec());
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForStep(1));
  ASSERT_TRUE(mesh_->WriteSplitter(33));
  ASSERT_TRUE(WaitUntil([&] { return Rollout().value("foreign_edit", false); }, seconds(10)));
  ASSERT_TRUE(load_->WaitForMore(1500, seconds(20)));  // enough for a proof
  EXPECT_EQ(CanaryWeight(), 33);
  EXPECT_EQ(Rollout()["step"], 1);
  const CtlResult history = Ctl({"history", "api"});
  EXPECT_NE(history.output.find("edited by someone else: canary 33%"), std::string::npos)
      << history.output;
  // An abort outranks the hold.
  EXPECT_EQ(Ctl({"abort", "api"}).code, 0);
  ASSERT_TRUE(WaitForPhase("rolled-back"));
  EXPECT_EQ(CanaryWeight(), 0);
}

TEST_F(RolloutTest, GoesOnOverAForeignEditWhenAskedTo) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_NO_FATAL_FAILURE(ApplySpec());
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForStep(1));
  ASSERT_TRUE(mesh_->WriteSplitter(33));
  ASSERT_TRUE(WaitUntil([&] { return Rollout().value("foreign_edit", false); }, seconds(10)));
  EXPECT_EQ(Ctl({"resume", "api"}).code, 0);
  ASSERT_TRUE(WaitForPhase("succeeded"));
}

TEST_F(RolloutTest, RollsBackAtOnceWhenTheCanaryIsGone) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_NO_FATAL_FAILURE(ApplySpec());
  const auto canary = mesh_->AddInstance("v2");
  ASSERT_TRUE(canary);
  ASSERT_TRUE(WaitForStep(1));
  ASSERT_TRUE(mesh_->RemoveInstance(*canary));
  ASSERT_TRUE(WaitForPhase("rolled-back", seconds(10)));
  EXPECT_EQ(CanaryWeight(), 0);
  EXPECT_EQ(Decisions().back()["reason"],
            "the canary subset has no passing instance left in Consul");
}

TEST_F(RolloutTest, StartsByOrderAndStopsByOrder) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_NO_FATAL_FAILURE(ApplySpec(std::string(kSpec) + "start: manual\n"));
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(load_->WaitForMore(500, seconds(10)));
  EXPECT_EQ(Phase(), "idle");
  EXPECT_EQ(Ctl({"start", "api"}).code, 0);
  ASSERT_TRUE(WaitForStep(1));
  EXPECT_EQ(Ctl({"abort", "api"}).code, 0);
  ASSERT_TRUE(WaitForPhase("rolled-back"));
  EXPECT_EQ(Ctl({"retry", "api"}).code, 0);
  ASSERT_TRUE(WaitForPhase("succeeded"));
}

}  // namespace
}  // namespace consul_canary::testing
