// Rollouts whose canary is met by those who ask for it: by a header or a cookie, through routes in
// the service-router of a real mesh that are there while the rollout steps, and at no other time.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "exporter/envoy/applied_weights.h"
#include "tests/e2e/rollout_mesh.h"

namespace consul_canary::testing {
namespace {

// Judged by what no other load on the machine decides.
constexpr const char* kLenient = R"(
analysis:
  judge: thresholds
  thresholds: [{metric: success_ratio, min: 0.5, window: 2s, failures: 10}]
)";

constexpr const char* kBlueGreen = R"(
service: api
strategy:
  match: [{header: x-canary, exact: always}, {cookie: canary, exact: "1"}]
  steps: [{weight: 0, pause: true}]
  warmup: 1s
)";

class MatchTest : public RolloutTest {
 protected:
  void BeginMatched(const std::string& header) {
    matched_ =
        std::make_unique<Load>(LoadOptions{.url = mesh_->url(), .rate = 100, .headers = {header}});
  }

  json Router() {
    const auto entry = mesh_->consul().ReadEntry("service-router", "api");
    return entry && *entry ? json::parse(**entry) : json();
  }

  json Routes() {
    const json router = Router();
    return router.is_object() ? router.value("Routes", json::array()) : json();
  }

  bool WaitForRoutes(std::size_t count) {
    const bool there =
        WaitUntil([&] { return Routes().size() == count; }, seconds(60), milliseconds(100));
    if (!there) ADD_FAILURE() << Router().dump() << "\n" << Rollout().dump();
    return there;
  }

  bool WaitForDecision(const std::string& action, const std::string& cause) {
    const auto said = [&] {
      const auto decisions = Decisions();
      return std::ranges::any_of(decisions, [&](const json& decision) {
        return decision["action"] == action && decision["cause"] == cause;
      });
    };
    const bool there = WaitUntil(said, seconds(60), milliseconds(100));
    if (!there) ADD_FAILURE() << "no " << action << "/" << cause << ": " << Rollout().dump();
    return there;
  }

  // Of requests that are sent from now on.
  std::map<std::string, std::int64_t> VersionsOf(Load& load, std::int64_t requests) {
    const auto before = load.Counts().by_version;
    EXPECT_TRUE(load.WaitForMore(requests, seconds(20)));
    auto versions = load.Counts().by_version;
    for (auto& [version, count] : versions) {
      const auto found = before.find(version);
      if (found != before.end()) count -= found->second;
    }
    std::erase_if(versions, [](const auto& item) { return item.second == 0; });
    return versions;
  }

  std::unique_ptr<Load> matched_;
};

json OwnersRouter() {
  return {{"Kind", "service-router"},
          {"Name", "api"},
          {"Meta", {{"owner", "team-a"}}},
          {"Routes",
           {{{"Match", {{"HTTP", {{"PathPrefix", "/admin"}}}}},
             {"Destination", {{"NumRetries", 2}, {"RetryOnStatusCodes", {503}}}}},
            {{"Match", {{"HTTP", {{"PathPrefix", "/"}}}}},
             {"Destination", {{"RequestTimeout", "10s"}, {"RetryOnConnectFailure", true}}}}}}};
}

TEST_F(MatchTest, BlueGreenIsJudgedOnThoseWhoAskForItAndThenPromotedAtOnce) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_TRUE(mesh_->consul().WriteEntry(OwnersRouter().dump()));
  const json before = Routes();
  ASSERT_EQ(before.size(), 2U);
  ASSERT_NO_FATAL_FAILURE(ApplySpec(std::string(kBlueGreen) + kLenient));
  BeginMatched("X-Canary: always");
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForPhase("paused"));
  const json during = Routes();
  ASSERT_EQ(during.size(), 4U) << during.dump();
  EXPECT_EQ(during[2], before[0]);
  EXPECT_EQ(during[3], before[1]);
  EXPECT_EQ(during[0]["Destination"]["RequestTimeout"], "10s") << "as the owner's last route";
  EXPECT_EQ(CanaryWeight(), 0);
  using Versions = std::map<std::string, std::int64_t>;
  const Versions asked = VersionsOf(*matched_, 100);
  EXPECT_TRUE(asked.contains("v2") && !asked.contains("v1"));
  const Versions others = VersionsOf(*load_, 200);
  EXPECT_TRUE(others.contains("v1") && !others.contains("v2"));
  const auto dump = mesh_->consul().http().Get(mesh_->caller_admin() +
                                               "/config_dump?resource=dynamic_route_configs");
  ASSERT_TRUE(dump);
  ASSERT_NE(dump->find("x-canary"), std::string::npos) << *dump;
  const auto applied = envoy::ReadAppliedWeights(*dump);
  ASSERT_TRUE(applied);
  EXPECT_EQ(applied->at("api"), (std::map<std::string, double>{{"primary", 1}, {"canary", 0}}))
      << "the routes of the match are no weight: " << *dump;
  EXPECT_EQ(Ctl({"promote", "api"}).code, 0);
  ASSERT_TRUE(WaitForPhase("succeeded"));
  EXPECT_EQ(Routes(), before);
  EXPECT_EQ(Router()["Meta"]["owner"], "team-a");
  EXPECT_EQ(load_->Counts().failed, 0);
  EXPECT_EQ(matched_->Counts().failed, 0);
}

TEST_F(MatchTest, AnotherCanaryThatFailsThoseWhoAskForItIsRolledBackAndNobodyElseMetIt) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_NO_FATAL_FAILURE(ApplySpec(kBlueGreen));
  BeginMatched("Cookie: theme=dark; canary=1");
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForRoutes(2));
  ASSERT_TRUE(WaitUntil([&] { return matched_->Counts().by_version.contains("v2"); }, seconds(10)));
  ASSERT_TRUE(mesh_->Control("v2", "failure_ratio=0.3"));
  ASSERT_TRUE(WaitForPhase("rolled-back"));
  EXPECT_EQ(Decisions().back()["action"], "rolled-back");
  EXPECT_TRUE(Router().is_null()) << "there was none before: " << Router().dump();
  EXPECT_FALSE(load_->Counts().by_version.contains("v2"));
  EXPECT_EQ(load_->Counts().failed, 0);
}

TEST_F(MatchTest, AnAnalyzerThatGoesOnAfterAKillTakesTheRoutesOut) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_NO_FATAL_FAILURE(ApplySpec(std::string(kBlueGreen) + kLenient));
  BeginMatched("X-Canary: always");
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForRoutes(2));
  analyzer_->Kill();
  ASSERT_TRUE(analyzer_->Restart());
  EXPECT_EQ(Routes().size(), 2U) << "what is wanted is stored";
  ASSERT_TRUE(WaitForPhase("paused"));
  ASSERT_TRUE(mesh_->AddInstance("v3"));
  ASSERT_TRUE(WaitForDecision("start", "superseded"));
  ASSERT_TRUE(WaitForRoutes(2)) << "those of the newer version";
  EXPECT_EQ(Ctl({"abort", "api"}).code, 0);
  ASSERT_TRUE(WaitForPhase("rolled-back"));
  EXPECT_TRUE(Router().is_null());
  EXPECT_EQ(load_->Counts().failed, 0);
  EXPECT_EQ(matched_->Counts().failed, 0);
}

TEST_F(MatchTest, RoutesThatSomebodyTakesAwayAreMissedAndWrittenAgainByOrder) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_NO_FATAL_FAILURE(ApplySpec(std::string(kBlueGreen) + kLenient));
  BeginMatched("X-Canary: always");
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForPhase("paused"));
  ASSERT_TRUE(mesh_->consul().WriteEntry(OwnersRouter().dump()));
  ASSERT_TRUE(WaitForDecision("hold", "foreign-edit"));
  EXPECT_NE(Ctl({"promote", "api"}).output.find("changed by someone else"), std::string::npos);
  EXPECT_EQ(Routes().size(), 2U) << "nothing is written over a person's edit";
  EXPECT_EQ(Ctl({"resume", "api"}).code, 0);
  ASSERT_TRUE(WaitForRoutes(4));
  EXPECT_EQ(Ctl({"abort", "api"}).code, 0);
  ASSERT_TRUE(WaitForPhase("rolled-back"));
  EXPECT_EQ(Routes().size(), 2U) << "the router is somebody's by now";
  EXPECT_EQ(load_->Counts().failed, 0);
}

}  // namespace
}  // namespace consul_canary::testing
