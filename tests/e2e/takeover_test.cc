// Two analyzers in the middle of a rollout on a real mesh: who takes over goes on from what is
// stored, and who was deposed writes nothing more.
#include <signal.h>

#include "tests/e2e/rollout_mesh.h"

namespace consul_canary::testing {
namespace {

// The first step waits for a person, so that the test has its time.
constexpr const char* kPausing = R"(
service: api
strategy:
  steps: [{weight: 25, pause: true}, {weight: 50}]
  warmup: 1s
)";

class TakeoverTest : public RolloutTest {
 protected:
  void BeginWithTwo() {
    ASSERT_NO_FATAL_FAILURE(Begin({}, 200, {"--analyzer.id", "first"}));
    auto second = StartAnalyzer(mesh_->consul(), {"--analyzer.id", "second"}, "second");
    ASSERT_TRUE(second) << second.error().message;
    second_ = std::move(*second);
  }

  void TearDown() override {
    RolloutTest::TearDown();
    if (!HasFailure() || !second_) return;
    std::cout << "second's log:\n"
              << ReadFile(mesh_->consul().folder().path() / "second.log") << std::endl;
  }

  [[nodiscard]] static bool Leads(Daemon& analyzer, const Http& http) {
    const auto body = http.Get(analyzer.address() + "/api/v1/rollouts/api");
    const json answer = body ? json::parse(*body, nullptr, false) : json();
    return answer.is_object() && answer.value("leader", false);
  }

  // … and the first step has its weight; a leader is found.
  void ReachFirstStep(const std::string& spec) {
    ASSERT_NO_FATAL_FAILURE(BeginWithTwo());
    ASSERT_NO_FATAL_FAILURE(ApplySpec(spec));
    ASSERT_TRUE(mesh_->AddInstance("v2"));
    ASSERT_NO_FATAL_FAILURE(FindLeader());
    ASSERT_TRUE(WaitForStep(1));
  }

  // Whoever leads becomes analyzer_, which the base class asks and orders; second_ is the other.
  void LetTheOtherOneTakeOver() { std::swap(analyzer_, second_); }
  void FindLeader() {
    const Http& http = mesh_->consul().http();
    ASSERT_TRUE(
        WaitUntil([&] { return Leads(*analyzer_, http) || Leads(*second_, http); }, seconds(20)));
    if (!Leads(*analyzer_, http)) std::swap(analyzer_, second_);
  }

  bool WaitUntilOtherLeads() {
    return WaitUntil([&] { return Leads(*second_, mesh_->consul().http()); }, seconds(30));
  }

  std::string EpochInSplitter() {
    const auto entry = mesh_->consul().ReadEntry("service-splitter", "api");
    if (!entry || !*entry) return "";
    return json::parse(**entry)["Meta"].value("consul-canary-epoch", "");
  }

  std::unique_ptr<Daemon> second_;
};

TEST_F(TakeoverTest, AfterAKillGoesOnFromTheSameStep) {
  ASSERT_NO_FATAL_FAILURE(ReachFirstStep(kSpec));
  const std::string old_epoch = EpochInSplitter();
  analyzer_->Kill();
  ASSERT_TRUE(WaitUntilOtherLeads());
  LetTheOtherOneTakeOver();
  ASSERT_TRUE(WaitForPhase("succeeded"));
  EXPECT_NE(EpochInSplitter(), old_epoch);
  const auto decisions = Decisions();
  ExpectWholeLog(decisions);
  EXPECT_EQ(Advances(decisions), (std::vector<std::string>{"1/25", "2/50"}));
  EXPECT_EQ(load_->Counts().failed, 0);
}

TEST_F(TakeoverTest, FromAStoppedLeaderLeavesItNothingToWriteWhenItGoesOn) {
  ASSERT_NO_FATAL_FAILURE(ReachFirstStep(kPausing));
  analyzer_->process().Signal(SIGSTOP);
  ASSERT_TRUE(WaitUntilOtherLeads());
  LetTheOtherOneTakeOver();
  ASSERT_EQ(Ctl({"abort", "api"}).code, 0);
  ASSERT_TRUE(WaitForPhase("rolled-back"));
  const std::string epoch = EpochInSplitter();
  const std::size_t decisions = Decisions().size();
  // It believes that it leads, and that a quarter of the traffic belongs to the canary.
  second_->process().Signal(SIGCONT);
  const auto has_learned = [&] {
    return ReadFile(second_->process().output()).find("not leading any more") != std::string::npos;
  };
  EXPECT_TRUE(WaitUntil(has_learned, seconds(20)));
  ASSERT_TRUE(load_->WaitForMore(600, seconds(20)));  // some ticks
  EXPECT_EQ(CanaryWeight(), 0);
  // An idle rollout may have moved, but nothing was written for it.
  EXPECT_EQ(EpochInSplitter(), epoch);
  EXPECT_EQ(Decisions().size(), decisions);
  ExpectWholeLog(Decisions());
}

TEST_F(TakeoverTest, EndsARolloutWhoseSpecificationIsGone) {
  ASSERT_NO_FATAL_FAILURE(ReachFirstStep(kPausing));
  analyzer_->process().Signal(SIGSTOP);
  const ConsulAgent& consul = mesh_->consul();
  ASSERT_TRUE(consul.Delete("/v1/kv/consul-canary/specs/api"));
  EXPECT_TRUE(WaitUntil([&] { return CanaryWeight() == 0; }, seconds(30)));
  // Whoever starts later has nothing to go on with.
  const auto lock = [&] {
    return consul.KvGet("consul-canary/locks/api").value_or(std::string("unknown"));
  };
  EXPECT_TRUE(WaitUntil([&] { return !lock(); }, seconds(30)));
  analyzer_->process().Signal(SIGCONT);
  const auto has_learned = [&] {
    return ReadFile(analyzer_->process().output()).find("rollout deleted") != std::string::npos;
  };
  EXPECT_TRUE(WaitUntil(has_learned, seconds(20)));
  ASSERT_TRUE(load_->WaitForMore(600, seconds(20)));  // some ticks
  EXPECT_EQ(CanaryWeight(), 0);
  EXPECT_EQ(lock(), std::nullopt);
  EXPECT_EQ(load_->Counts().failed, 0);
}

}  // namespace
}  // namespace consul_canary::testing
