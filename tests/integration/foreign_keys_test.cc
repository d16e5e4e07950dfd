// What others leave in our keys of a real Consul, or keep from us there: specifications, states and
// pauses that nobody can read. One rollout's trouble ends neither the analyzer nor a rollback.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "analyzer/control/keys.h"
#include "analyzer/control/stored_json.h"
#include "tests/support/consul_front.h"
#include "tests/support/daemons.h"
#include "tests/support/wait.h"

namespace consul_canary::testing {
namespace {

using control::RolloutKey;
using control::SpecKey;
using nlohmann::json;

constexpr const char* kOldFilter = "Service.Meta.version == v1";
constexpr const char* kNewFilter = "Service.Meta.version == v2";

class ForeignKeysTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto consul = ConsulAgent::Start();
    ASSERT_TRUE(consul) << consul.error().message;
    consul_ = std::move(*consul);
  }

  void TearDown() override {
    if (HasFailure() && analyzer_) std::cout << ReadFile(analyzer_->process().output()) << "\n";
  }

  void PutSpec(const std::string& service) {
    ASSERT_TRUE(
        consul_->KvPut(SpecKey(service), control::StoredSpec(json{{"service", service}}.dump())));
  }

  // As some leader has left it: 25% at the second version.
  void PutRolloutAt25() {
    for (const json& entry :
         {json{{"Kind", "service-defaults"}, {"Name", "api"}, {"Protocol", "http"}},
          json{{"Kind", "service-resolver"},
               {"Name", "api"},
               {"Subsets",
                {{"primary", {{"Filter", kOldFilter}}}, {"canary", {{"Filter", kNewFilter}}}}}},
          json{{"Kind", "service-splitter"},
               {"Name", "api"},
               {"Splits",
                {{{"Weight", 75}, {"ServiceSubset", "primary"}},
                 {{"Weight", 25}, {"ServiceSubset", "canary"}}}}}}) {
      const auto written = consul_->WriteEntry(entry.dump());
      ASSERT_TRUE(written) << written.error().message;
    }
    rollout::State state;
    state.phase = rollout::Phase::kProgressing;
    state.stage = rollout::Stage::kStepping;
    state.canary_version = "v2";
    state.primary_version = "v1";
    state.spec = rollout::Spec{.service = "api", .steps = {{.weight_percent = 25}}};
    state.wanted = {.canary_percent = 25, .canary_filter = kNewFilter};
    state.settled_percent = 25;
    ASSERT_TRUE(consul_->KvPut(RolloutKey("api", "state"), control::StateToJson(state)));
  }

  void Start(const std::map<std::string, std::string>& env = {}) {
    auto analyzer = StartAnalyzer(*consul_, {}, "analyzer", env);
    ASSERT_TRUE(analyzer) << analyzer.error().message;
    analyzer_ = std::move(*analyzer);
  }

  json Get(const std::string& path) {
    const auto body = consul_->http().Get(analyzer_->address() + "/api/v1/" + path);
    return body ? json::parse(*body, nullptr, false) : json(body.error().message);
  }

  bool Says(const std::string& key, const std::string& words) {
    const auto says = [&] {
      const json rollout = Get("rollouts/api");
      return rollout.is_object() && rollout.value(key, "").find(words) != std::string::npos;
    };
    return WaitUntil(says, seconds(20)) || (ADD_FAILURE() << Get("rollouts/api").dump(2), false);
  }

  double CanaryWeight() {
    const auto entry = consul_->ReadEntry("service-splitter", "api");
    const json splitter = entry && *entry ? json::parse(**entry) : json();
    return splitter.is_object() ? splitter["Splits"][1].value("Weight", 0.0) : -1;
  }

  std::string Phase() {
    const auto text = consul_->KvGet(RolloutKey("api", "state"));
    return text && *text ? json::parse(**text)["phase"].get<std::string>() : "";
  }

  bool EndsWithoutTraffic() {
    const auto ended = [&] { return CanaryWeight() == 0 && Phase() == "rolled-back"; };
    return WaitUntil(ended, seconds(20)) ||
           (ADD_FAILURE() << CanaryWeight() << "%, " << Phase() << Get("rollouts/api").dump(2),
            false);
  }

  std::unique_ptr<ConsulAgent> consul_;
  std::unique_ptr<Daemon> analyzer_;
};

TEST_F(ForeignKeysTest, ASpecificationOfANewerReleaseHoldsTheRolloutAndAnAbortStillWorks) {
  ASSERT_NO_FATAL_FAILURE(PutRolloutAt25());
  ASSERT_TRUE(consul_->KvPut(SpecKey("api"), R"({"version": 2, "spec": {"service": "api"}})"));
  ASSERT_NO_FATAL_FAILURE(Start());
  EXPECT_TRUE(Says("unknown", "the specification cannot be read, so the one before it rules"));
  EXPECT_TRUE(Get("rollouts/api")["leader"].get<bool>());
  EXPECT_EQ(CanaryWeight(), 25);
  const auto ordered =
      consul_->http().Call("POST", analyzer_->address() + "/api/v1/rollouts/api/abort", "{}");
  ASSERT_TRUE(ordered && ordered->status == 202) << (ordered ? ordered->body : "no answer");
  EXPECT_TRUE(EndsWithoutTraffic());
}

TEST_F(ForeignKeysTest, DeletingWhatCannotBeReadTakesTheTrafficBack) {
  ASSERT_NO_FATAL_FAILURE(PutRolloutAt25());
  ASSERT_NO_FATAL_FAILURE(PutSpec("api"));
  ASSERT_NO_FATAL_FAILURE(Start());
  ASSERT_TRUE(WaitUntil([&] { return Get("rollouts/api").value("leader", false); }, seconds(20)));
  ASSERT_TRUE(consul_->KvPut(SpecKey("api"), "garbage"));
  EXPECT_TRUE(Says("unknown", "the specification cannot be read, so the one before it rules"));
  ASSERT_TRUE(consul_->Delete("/v1/kv/" + SpecKey("api")));
  EXPECT_TRUE(EndsWithoutTraffic());
}

TEST_F(ForeignKeysTest, APauseAtNoTimeIsAPauseAndEndsNoAnalyzer) {
  ASSERT_NO_FATAL_FAILURE(PutSpec("api"));
  ASSERT_TRUE(
      consul_->KvPut(control::kFleetPauseKey,
                     R"({"version": 1, "by": "kim", "reason": "", "wall_seconds": 1e300})"));
  ASSERT_NO_FATAL_FAILURE(Start());
  EXPECT_TRUE(Says("waits",
                   "every rollout is paused, by what consul-canary/paused holds: stored "
                   "pause: wall_seconds must be from"));
}

TEST_F(ForeignKeysTest, AStateThatCannotBeReadConcernsItsOwnRolloutAlone) {
  for (const char* service : {"api", "web"}) ASSERT_NO_FATAL_FAILURE(PutSpec(service));
  json state = json::parse(control::StateToJson({}));
  state["phase"] = "progressing";
  state["started_wall_seconds"] = 1e300;
  state["step"] = -1;
  ASSERT_TRUE(consul_->KvPut(RolloutKey("api", "state"), state.dump()));
  ASSERT_NO_FATAL_FAILURE(Start());
  EXPECT_TRUE(Says("problem", "stored state: "));
  ASSERT_TRUE(WaitUntil([&] { return Get("rollouts/web").value("leader", false); }, seconds(20)));
  EXPECT_EQ(Get("rollouts")["rollouts"].size(), 2U) << Get("rollouts").dump();
}

TEST_F(ForeignKeysTest, WithoutWordOfAFleetsPauseNothingStarts) {
  ASSERT_NO_FATAL_FAILURE(PutSpec("api"));
  std::atomic<bool> refuses{true};
  auto front = ConsulFront::Start(consul_->address(), [&](const base::ServerRequest& request) {
    return refuses && request.path == "/v1/kv/" + std::string(control::kFleetPauseKey);
  });
  ASSERT_TRUE(front) << front.error().message;
  ASSERT_NO_FATAL_FAILURE(Start({{"CONSUL_HTTP_ADDR", (*front)->address()}}));
  EXPECT_TRUE(Says("waits", "whether the fleet is paused is not known yet"));
  EXPECT_GT((*front)->refused(), 0);
  refuses = false;
  EXPECT_TRUE(Says("waits", "no service-splitter"));
  analyzer_->Stop();
}

}  // namespace
}  // namespace consul_canary::testing
