// Rollouts on a real mesh whose owners, other tools and other hands change the world around them:
// watched only, promoted by someone else, reverted, without their splitter or specification.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/e2e/rollout_mesh.h"

namespace consul_canary::testing {
namespace {

// Judged by what no other load on the machine decides: these tests are not about verdicts.
constexpr const char* kLenient = R"(
service: api
strategy:
  steps: [{weight: 25}, {weight: 50}]
  warmup: 1s
analysis:
  judge: thresholds
  thresholds: [{metric: success_ratio, min: 0.5, window: 2s, failures: 10}]
)";

constexpr const char* kSpecKey = "consul-canary/specs/api";

class LifeCycleTest : public RolloutTest {
 protected:
  // "action/cause" of each decision.
  std::vector<std::string> Log() {
    std::vector<std::string> log;
    for (const json& decision : Decisions()) {
      log.push_back(decision.value("action", "") + "/" + decision.value("cause", ""));
    }
    return log;
  }

  bool WaitForDecision(const std::string& decision, milliseconds limit = seconds(60)) {
    const auto there = [&] {
      const auto log = Log();
      return std::find(log.begin(), log.end(), decision) != log.end();
    };
    const bool said = WaitUntil(there, limit, milliseconds(100));
    if (!said) ADD_FAILURE() << "no " << decision << ": " << Rollout().dump();
    return said;
  }

  // The JSON that stands in Consul; empty: there is none.
  json Entry(std::string_view kind) {
    const auto entry = mesh_->consul().ReadEntry(kind, "api");
    return entry && *entry ? json::parse(**entry) : json::object();
  }

  static std::string Filter(const std::string& version) {
    return "Service.Meta.version == \"" + version + "\"";
  }
};

TEST_F(LifeCycleTest, ActFalseSaysWhatItWouldDoAndWritesNothing) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_NO_FATAL_FAILURE(ApplySpec(std::string(kSpec) + "act: false\n"));
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForDecision("start/new-version"));
  ASSERT_TRUE(mesh_->WriteResolver(Filter("v1"), Filter("v2")));
  ASSERT_TRUE(WaitUntil([&] { return mesh_->AppliedWeights()["primary"] == 100; }, seconds(10)));
  ASSERT_TRUE(load_->WaitForMore(400, seconds(10)));
  ASSERT_TRUE(mesh_->WriteSplitter(25));
  const json splitter = Entry("service-splitter");
  const json resolver = Entry("service-resolver");
  ASSERT_TRUE(WaitForDecision("would-advance/proven"));
  ASSERT_TRUE(mesh_->Control("v2", "failure_ratio=0.3"));
  ASSERT_TRUE(WaitForDecision("would-rollback/harm"));
  EXPECT_EQ(Phase(), "rolled-back");
  EXPECT_EQ(Entry("service-splitter"), splitter);
  EXPECT_EQ(Entry("service-resolver"), resolver);
  const auto log = Log();
  EXPECT_EQ(std::count(log.begin(), log.end(), "would-advance/proven"), 1);
  // The rollout is over: nothing holds its specification.
  EXPECT_EQ(Ctl({"delete", "api"}).code, 0);
}

TEST_F(LifeCycleTest, PromotesVersionsThatStandInTags) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_TRUE(mesh_->WriteResolver("\"release-v1\" in Service.Tags", "\"none\" in Service.Tags"));
  ASSERT_NO_FATAL_FAILURE(ApplySpec(std::string(kLenient) + "version_tag_prefix: release-\n"));
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForPhase("succeeded"));
  EXPECT_EQ(Entry("service-resolver")["Subsets"]["primary"]["Filter"],
            "\"release-v2\" in Service.Tags");
  EXPECT_EQ(load_->Counts().failed, 0);
}

TEST_F(LifeCycleTest, AnExternalPromotionWaitsForThePrimarysOwner) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_TRUE(mesh_->WriteResolver(Filter("v1"), Filter("v2")));
  ASSERT_NO_FATAL_FAILURE(ApplySpec(std::string(kLenient) + "promote: external\n"));
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForDecision("promote/canary-full"));
  EXPECT_EQ(CanaryWeight(), 100);
  EXPECT_FALSE(Entry("service-resolver").contains("Meta")) << "never written by the analyzer";
  // The owner's turn: here another filter stands for other instances.
  ASSERT_TRUE(mesh_->WriteResolver(Filter("v2"), Filter("v2")));
  ASSERT_TRUE(WaitForPhase("succeeded"));
  EXPECT_EQ(CanaryWeight(), 0);
  EXPECT_EQ(load_->Counts().failed, 0);
}

TEST_F(LifeCycleTest, AVersionThatComesBackWithinTheWindowTakesNoSteps) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_NO_FATAL_FAILURE(ApplySpec(std::string(kLenient) + "rollback_window: 1h\n"));
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForPhase("succeeded"));
  ASSERT_TRUE(mesh_->RemoveInstance("api-1"));
  ASSERT_TRUE(mesh_->AddInstance("v1"));
  ASSERT_TRUE(WaitForDecision("promote/revert"));
  const CtlResult status =
      Ctl({"status", "api", "--wait", "--timeout", "60s", "--version", "v1"}, seconds(70));
  EXPECT_EQ(status.code, 0) << status.output;
  EXPECT_EQ(Entry("service-resolver")["Subsets"]["primary"]["Filter"], Filter("v1"));
  EXPECT_EQ(load_->Counts().failed, 0);
}

TEST_F(LifeCycleTest, AVersionThatFailsAfterItsPromotionGivesWayToTheOldOne) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_NO_FATAL_FAILURE(ApplySpec(std::string(kSpec) + "  after_promotion: 10m\n"));
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForDecision("promote/canary-full"));
  ASSERT_TRUE(load_->WaitForMore(200, seconds(10)));
  EXPECT_EQ(Rollout().value("stage", ""), "watching");
  EXPECT_EQ(CanaryWeight(), 100);
  EXPECT_EQ(Entry("service-resolver")["Subsets"]["primary"]["Filter"], Filter("v1"));
  ASSERT_TRUE(mesh_->Control("v2", "failure_ratio=0.3"));
  ASSERT_TRUE(WaitForPhase("rolled-back"));
  EXPECT_EQ(CanaryWeight(), 0);
  EXPECT_EQ(Entry("service-resolver")["Subsets"]["primary"]["Filter"], Filter("v1"));
  const auto log = Log();
  EXPECT_EQ(log.at(log.size() - 2), "rollback/harm");
}

TEST_F(LifeCycleTest, AVersionThatHangsAfterItsPromotionGivesWayToTheOldOne) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_TRUE(load_->WaitForMore(1000, seconds(20)));  // so many are timed that late is known
  ASSERT_NO_FATAL_FAILURE(ApplySpec(std::string(kSpec) + "  after_promotion: 10m\n"));
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForDecision("promote/canary-full"));
  ASSERT_TRUE(load_->WaitForMore(200, seconds(10)));
  ASSERT_TRUE(mesh_->Control("v2", "hang=1"));
  ASSERT_TRUE(WaitForPhase("rolled-back"));
  EXPECT_EQ(CanaryWeight(), 0);
  EXPECT_NE(Rollout().value("reason", "").find("of its requests took longer than 2 s"),
            std::string::npos)
      << Rollout().dump();
  ASSERT_TRUE(mesh_->Control("v2", "hang=0"));
}

TEST_F(LifeCycleTest, AWatchedVersionBecomesThePrimaryOnceItsTimeIsOver) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  std::string spec = kLenient;
  spec.replace(spec.find("  warmup: 1s"), 12, "  warmup: 1s\n  after_promotion: 5s");
  ASSERT_NO_FATAL_FAILURE(ApplySpec(spec));
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForPhase("succeeded"));
  const auto log = Log();
  EXPECT_EQ(std::count(log.begin(), log.end(), "promote/watched"), 1);
  EXPECT_EQ(Entry("service-resolver")["Subsets"]["primary"]["Filter"], Filter("v2"));
  EXPECT_EQ(load_->Counts().failed, 0);
}

TEST_F(LifeCycleTest, ARolledBackCanaryIsPutIntoMaintenanceMode) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_NO_FATAL_FAILURE(ApplySpec(std::string(kLenient) + "on_rollback: {maintenance: true}\n"));
  const auto canary = mesh_->AddInstance("v2");
  ASSERT_TRUE(canary);
  ASSERT_TRUE(WaitForStep(1));
  EXPECT_EQ(Ctl({"abort", "api"}).code, 0);
  ASSERT_TRUE(WaitForDecision("maintenance/rolled-back"));
  EXPECT_EQ(
      Decisions().back()["reason"],
      "maintenance: put " + *canary + " into it; `consul maint -disable -service=ID` ends it");
  EXPECT_TRUE(WaitUntil([&] { return mesh_->consul().PassingSidecars("api") == 1; }, seconds(15)))
      << "its sidecar follows it";
  ASSERT_TRUE(mesh_->consul().Put("/v1/agent/service/maintenance/" + *canary + "?enable=false"));
  ASSERT_TRUE(WaitUntil([&] { return mesh_->consul().PassingSidecars("api") == 2; }, seconds(30)));
  EXPECT_EQ(Ctl({"retry", "api"}).code, 0);
  ASSERT_TRUE(WaitForStep(1));
}

TEST_F(LifeCycleTest, ARolloutWhoseSplitterWasDeletedHoldsAndCanBeEnded) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_NO_FATAL_FAILURE(ApplySpec(kLenient));
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForStep(1));
  ASSERT_TRUE(mesh_->consul().Delete("/v1/config/service-splitter/api"));
  ASSERT_TRUE(WaitForDecision("hold/foreign-edit"));
  EXPECT_EQ(Ctl({"abort", "api"}).code, 0);
  ASSERT_TRUE(WaitForPhase("rolled-back", seconds(40)));
  EXPECT_TRUE(mesh_->Weights().empty());
  EXPECT_EQ(Ctl({"delete", "api"}).code, 0);
}

TEST_F(LifeCycleTest, ASpecificationThatIsChangedOrDeletedInTheMiddleIsSaidAndObeyed) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  std::string paused = kLenient;
  paused.replace(paused.find("{weight: 25}"), 12, "{weight: 25, pause: true}");
  ASSERT_NO_FATAL_FAILURE(ApplySpec(paused));
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForPhase("paused"));
  auto stored = mesh_->consul().KvGet(kSpecKey);
  ASSERT_TRUE(stored && *stored);
  json spec = json::parse(**stored);
  spec["spec"]["strategy"]["steps"][0]["weight"] = 20;
  ASSERT_TRUE(mesh_->consul().KvPut(kSpecKey, spec.dump()));
  ASSERT_TRUE(WaitForDecision("start/spec-changed"));
  ASSERT_TRUE(WaitUntil([&] { return CanaryWeight() == 20; }, seconds(30)));
  ASSERT_TRUE(mesh_->consul().Delete(std::string("/v1/kv/") + kSpecKey));
  EXPECT_TRUE(WaitUntil([&] { return CanaryWeight() == 0; }, seconds(15)));
  EXPECT_TRUE(WaitUntil([&] { return Ctl({"get", "api"}).code == 1; }, seconds(30)));
  EXPECT_EQ(load_->Counts().failed, 0);
}

}  // namespace
}  // namespace consul_canary::testing
