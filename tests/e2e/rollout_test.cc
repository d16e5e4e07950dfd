// Rollouts on a real mesh, by the real analyzer: what its users are promised, from a deployment of
// instances to the splitter's last weight.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/daemons.h"
#include "tests/support/load.h"
#include "tests/support/mesh.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace consul_canary::testing {
namespace {

using nlohmann::json;

// Quick, but judged by the same rules: short warm-up, two steps, the default margin and error
// rates.
constexpr const char* kSpec = R"(
service: api
strategy:
  steps: [{weight: 25}, {weight: 50}]
  warmup: 1s
)";

class RolloutTest : public ::testing::Test {
 protected:
  void Begin(MeshOptions options = {}, double rate = 200, std::vector<std::string> flags = {}) {
    auto mesh = Mesh::Start(std::move(options));
    ASSERT_TRUE(mesh) << mesh.error().message;
    mesh_ = std::move(*mesh);
    auto analyzer = StartAnalyzer(mesh_->consul(), std::move(flags));
    ASSERT_TRUE(analyzer) << analyzer.error().message;
    analyzer_ = std::move(*analyzer);
    load_ = std::make_unique<Load>(LoadOptions{.url = mesh_->url(), .rate = rate});
    // The primary's own failure ratio is known before anything is compared with it.
    ASSERT_TRUE(load_->WaitForMore(static_cast<std::int64_t>(3 * rate), seconds(20)));
  }

  void TearDown() override {
    if (!HasFailure() || !analyzer_) return;
    std::cout << "analyzer's log:\n"
              << ReadFile(mesh_->consul().folder().path() / "analyzer.log") << std::endl;
  }

  CtlResult Ctl(std::vector<std::string> arguments, milliseconds limit = seconds(20)) {
    auto result = RunCtl(analyzer_->address(), std::move(arguments), limit);
    EXPECT_TRUE(result) << result.error().message;
    return result ? *result : CtlResult{};
  }

  std::string SpecFile(const std::string& text) {
    return mesh_->consul().folder().Write("spec.yaml", text).string();
  }

  void ApplySpec(const std::string& text = kSpec) {
    const CtlResult applied = Ctl({"apply", "-f", SpecFile(text)});
    ASSERT_EQ(applied.code, 0) << applied.output;
  }

  json Rollout() {
    const CtlResult got = Ctl({"get", "api", "-o", "json"});
    const json rollout = json::parse(got.output, nullptr, false);
    return rollout.is_object() ? rollout : json::object();
  }

  std::vector<json> Decisions() {
    const CtlResult got = Ctl({"history", "api", "-o", "json"});
    const json answer = json::parse(got.output, nullptr, false);
    return answer.is_object() ? answer["decisions"].get<std::vector<json>>() : std::vector<json>{};
  }

  std::string Phase() { return Rollout().value("phase", ""); }

  bool WaitForPhase(const std::string& phase, milliseconds limit = seconds(60)) {
    const bool reached = WaitUntil([&] { return Phase() == phase; }, limit, milliseconds(100));
    if (!reached) ADD_FAILURE() << "not " << phase << ": " << Rollout().dump();
    return reached;
  }

  bool WaitForStep(int step, milliseconds limit = seconds(60)) {
    const auto there = [&] {
      const json rollout = Rollout();
      return rollout.value("step", 0) == step && rollout["observed_weight"] == rollout["weight"];
    };
    const bool reached = WaitUntil(there, limit, milliseconds(100));
    if (!reached) ADD_FAILURE() << "not at step " << step << ": " << Rollout().dump();
    return reached;
  }

  double CanaryWeight() { return mesh_->Weights()["canary"]; }

  // Every decision has its number, none is missing or twice.
  void ExpectWholeLog(const std::vector<json>& decisions) {
    for (std::size_t i = 0; i < decisions.size(); ++i) {
      EXPECT_EQ(decisions[i].value("sequence", 0), static_cast<int>(i) + 1);
    }
  }

  // "step/weight" of each advance, in order.
  static std::vector<std::string> Advances(const std::vector<json>& decisions) {
    std::vector<std::string> advances;
    for (const json& decision : decisions) {
      if (decision["action"] != "advance") continue;
      advances.push_back(std::to_string(decision["step"].get<int>()) + "/" +
                         std::to_string(decision["weight"].get<int>()));
    }
    return advances;
  }

  std::unique_ptr<Mesh> mesh_;
  std::unique_ptr<Daemon> analyzer_;
  std::unique_ptr<Load> load_;
};

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
  EXPECT_LT(load_->FailedSince(fault), 20);
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

TEST_F(RolloutTest, ReplaysFromItsRecordingAsItWas) {
  const TempDir folder("recordings");
  ASSERT_NO_FATAL_FAILURE(Begin({}, 200, {"--record", folder.path().string()}));
  ASSERT_NO_FATAL_FAILURE(ApplySpec());
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForStep(2));
  ASSERT_TRUE(mesh_->Control("v2", "failure_ratio=0.3"));
  ASSERT_TRUE(WaitForPhase("rolled-back"));
  const auto decisions = Decisions();
  ASSERT_EQ(analyzer_->Stop(), 0);
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    files.push_back(entry.path().string());
  }
  ASSERT_EQ(files.size(), 1U);
  const CtlResult replayed = Ctl({"replay", files[0], "-o", "json"});
  ASSERT_EQ(replayed.code, 0) << replayed.output;
  std::vector<std::string> live;
  std::vector<std::string> again;
  const auto name = [](const json& decision) {
    return decision["action"].get<std::string>() + "/" + decision["cause"].get<std::string>() +
           " " + std::to_string(decision["weight"].get<int>());
  };
  std::ranges::transform(decisions, std::back_inserter(live), name);
  std::istringstream lines(replayed.output);
  for (std::string line; std::getline(lines, line);) {
    const json tick = json::parse(line);
    for (const json& decision : tick["decisions"]) again.push_back(name(decision));
  }
  live.pop_back();  // that the traffic is back came after the last recorded tick
  EXPECT_EQ(again, live);
  ASSERT_TRUE(analyzer_->Restart());
}

TEST_F(RolloutTest, ApplySaysHowLongItWillTakeAtTheRateItSees) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  const CtlResult applied = Ctl({"apply", "-f", SpecFile(kSpec)});
  EXPECT_EQ(applied.code, 0);
  EXPECT_NE(applied.output.find("requests a second seen now, a healthy canary passes all steps"),
            std::string::npos)
      << applied.output;
  const CtlResult undecidable = Ctl(
      {"apply", "-f",
       SpecFile("service: api\nstrategy: {steps: [{weight: 0.01}], deadline: 60s, warmup: 1s}\n")});
  EXPECT_EQ(undecidable.code, 0);
  EXPECT_NE(undecidable.output.find("Step 1 cannot be decided before its deadline"),
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
