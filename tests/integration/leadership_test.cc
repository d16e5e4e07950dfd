// Several analyzers, as processes, at a real Consul: who leads after one was killed, ended or
// stopped, how soon, how the rollouts are spread, and what that costs the agent.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "analyzer/control/keys.h"
#include "analyzer/control/rendezvous.h"
#include "analyzer/control/stored_json.h"
#include "tests/support/daemons.h"
#include "tests/support/wait.h"

namespace consul_canary::testing {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr const char* kManagementToken = "8a4f2f8e-0000-4000-8000-000000000007";

std::string ServiceNumber(int number) { return fmt::format("service-{}", number); }

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

class LeadershipTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto consul = ConsulAgent::Start();
    ASSERT_TRUE(consul) << consul.error().message;
    consul_ = std::move(*consul);
  }

  void TearDown() override {
    if (!HasFailure()) return;
    for (const auto& [name, analyzer] : analyzers_) {
      std::cout << name << ":\n" << ReadFile(analyzer->process().output()) << std::endl;
    }
  }

  void StartAnalyzerCalled(const std::string& name, std::vector<std::string> flags = {}) {
    flags.insert(flags.end(), {"--analyzer.id", name});
    auto analyzer = StartAnalyzer(*consul_, std::move(flags), name);
    ASSERT_TRUE(analyzer) << analyzer.error().message;
    analyzers_[name] = std::move(*analyzer);
  }

  void AddRollout(const std::string& service) {
    const json spec = {{"service", service}};
    ASSERT_TRUE(consul_->KvPut(control::SpecKey(service), control::StoredSpec(spec.dump())));
  }

  // The rollouts that it says it leads.
  std::set<std::string> LedBy(const std::string& name) {
    const auto body = consul_->http().Get(analyzers_.at(name)->address() + "/api/v1/rollouts");
    const json answer = body ? json::parse(*body, nullptr, false) : json();
    std::set<std::string> led;
    if (!answer.is_object()) return led;
    for (const json& rollout : answer["rollouts"]) {
      if (rollout["leader"] == true) led.insert(rollout["service"]);
    }
    return led;
  }

  bool WaitUntilLeads(const std::string& name, const std::string& service,
                      milliseconds limit = seconds(40)) {
    const bool leads =
        WaitUntil([&] { return LedBy(name).contains(service); }, limit, milliseconds(10));
    if (!leads) {
      const auto body = consul_->http().Get(analyzers_.at(name)->address() + "/api/v1/rollouts");
      ADD_FAILURE() << name << " does not lead: " << (body ? *body : body.error().message) << "\n"
                    << consul_->Get("/v1/kv/consul-canary/?recurse").value_or("");
    }
    return leads;
  }

  bool IsAlive(const std::string& name) {
    const auto body = consul_->Get("/v1/kv/" + control::AnalyzerKey(name));
    return body && json::parse(*body).at(0).contains("Session");
  }

  bool Logs(const std::string& name, const std::string& words) {
    return ReadFile(analyzers_.at(name)->process().output()).find(words) != std::string::npos;
  }

  // Both are alive and the preferred one leads: (it, the other one).
  std::pair<std::string, std::string> Settle(const std::string& service) {
    const std::string first = control::Preferred(service, {"a", "b"});
    const std::string other = first == "a" ? "b" : "a";
    EXPECT_TRUE(WaitUntil([&] { return IsAlive("a") && IsAlive("b"); }, seconds(30)));
    EXPECT_TRUE(WaitUntilLeads(first, service));
    EXPECT_FALSE(LedBy(other).contains(service));
    return {first, other};
  }

  // The agent's own count of blocking queries that are waiting.
  int BlockingQueries() {
    const auto body = consul_->Get("/v1/agent/metrics");
    const json metrics = body ? json::parse(*body) : json();
    for (const json& gauge : metrics["Gauges"]) {
      if (gauge["Name"].get<std::string>().ends_with("rpc.queries_blocking")) {
        return gauge["Value"].get<int>();
      }
    }
    return 0;
  }

  std::unique_ptr<ConsulAgent> consul_;
  std::map<std::string, std::unique_ptr<Daemon>> analyzers_;
};

TEST_F(LeadershipTest, IsTakenOverSoonAfterAKill) {
  ASSERT_NO_FATAL_FAILURE(AddRollout("api"));
  ASSERT_NO_FATAL_FAILURE(StartAnalyzerCalled("a"));
  ASSERT_NO_FATAL_FAILURE(StartAnalyzerCalled("b"));
  constexpr int kTimes = 10;
  std::vector<double> took;
  for (int i = 0; i < kTimes; ++i) {
    const auto [leader, other] = Settle("api");
    if (HasFailure()) return;
    const auto begin = Clock::now();
    analyzers_.at(leader)->Kill();
    ASSERT_TRUE(WaitUntilLeads(other, "api"));
    took.push_back(SecondsSince(begin));
    const auto restarted = analyzers_.at(leader)->Restart();
    ASSERT_TRUE(restarted) << restarted.error().message;
  }
  std::string list;
  for (const double seconds : took) list += fmt::format(" {:.2f}", seconds);
  std::cout << fmt::format("taken over after kill -9: median {:.2f} s of{}\n", Median(took), list);
  EXPECT_LT(Median(took), 3);
}

TEST_F(LeadershipTest, IsHandedOverWithinASecondAtTheEnd) {
  ASSERT_NO_FATAL_FAILURE(AddRollout("api"));
  ASSERT_NO_FATAL_FAILURE(StartAnalyzerCalled("a"));
  ASSERT_NO_FATAL_FAILURE(StartAnalyzerCalled("b"));
  constexpr int kTimes = 5;
  std::vector<double> took;
  for (int i = 0; i < kTimes; ++i) {
    const auto [leader, other] = Settle("api");
    if (HasFailure()) return;
    const auto begin = Clock::now();
    analyzers_.at(leader)->process().Signal(SIGTERM);
    ASSERT_TRUE(WaitUntilLeads(other, "api"));
    took.push_back(SecondsSince(begin));
    ASSERT_EQ(analyzers_.at(leader)->process().Wait(seconds(20)), 0);
    EXPECT_FALSE(IsAlive(leader));
    EXPECT_EQ(json::parse(*consul_->Get("/v1/health/service/consul-canary-analyzer")).size(), 1U);
    const auto restarted = analyzers_.at(leader)->Restart();
    ASSERT_TRUE(restarted) << restarted.error().message;
  }
  std::string list;
  for (const double seconds : took) list += fmt::format(" {:.2f}", seconds);
  std::cout << fmt::format("taken over after SIGTERM: median {:.2f} s of{}\n", Median(took), list);
  EXPECT_LT(Median(took), 1);
}

TEST_F(LeadershipTest, IsLostByAStoppedProcessWhichFindsThatOutWhenItGoesOn) {
  ASSERT_NO_FATAL_FAILURE(AddRollout("api"));
  ASSERT_NO_FATAL_FAILURE(StartAnalyzerCalled("a"));
  ASSERT_NO_FATAL_FAILURE(StartAnalyzerCalled("b"));
  const auto [leader, other] = Settle("api");
  if (HasFailure()) return;
  const auto begin = Clock::now();
  analyzers_.at(leader)->process().Signal(SIGSTOP);
  EXPECT_TRUE(WaitUntilLeads(other, "api"));
  std::cout << fmt::format("taken over after SIGSTOP: {:.2f} s\n", SecondsSince(begin));
  analyzers_.at(leader)->process().Signal(SIGCONT);
  EXPECT_TRUE(
      WaitUntil([&, name = leader] { return Logs(name, "not leading any more"); }, seconds(20)));
  // And it gets an idle rollout back, with a session of its own again.
  EXPECT_EQ(Settle("api").first, leader);
}

TEST_F(LeadershipTest, ComesBackWhenTheAgentHasForgottenEverything) {
  ASSERT_NO_FATAL_FAILURE(AddRollout("api"));
  ASSERT_NO_FATAL_FAILURE(StartAnalyzerCalled("a"));
  ASSERT_TRUE(WaitUntilLeads("a", "api"));
  ASSERT_TRUE(consul_->Restart());  // in memory alone
  ASSERT_TRUE(WaitUntil([&] { return LedBy("a").empty(); }, seconds(30)));
  ASSERT_NO_FATAL_FAILURE(AddRollout("api"));
  EXPECT_TRUE(WaitUntilLeads("a", "api"));
  const json checks = json::parse(*consul_->Get("/v1/health/service/consul-canary-analyzer"));
  EXPECT_EQ(checks.size(), 1U);
  EXPECT_FALSE(Logs("a", "ends by its TTL alone"));
}

TEST_F(LeadershipTest, HasATtlAloneWhereItMayNotRegisterAndNamesTheMissingRule) {
  auto consul = ConsulAgent::Start({.token = kManagementToken});
  ASSERT_TRUE(consul) << consul.error().message;
  consul_ = std::move(*consul);
  ASSERT_NO_FATAL_FAILURE(AddRollout("api"));
  const json policy = {{"Name", "unregistered"}, {"Rules", R"(service_prefix "" { policy = "read" }
                                    node_prefix "" { policy = "read" }
                                    key_prefix "consul-canary/" { policy = "write" }
                                    session_prefix "" { policy = "write" })"}};
  ASSERT_TRUE(consul_->Put("/v1/acl/policy", policy.dump()));
  const auto created =
      consul_->Put("/v1/acl/token", json{{"Policies", {{{"Name", "unregistered"}}}}}.dump());
  ASSERT_TRUE(created) << created.error().message;
  const std::string token = json::parse(*created).at("SecretID");
  ::setenv("CONSUL_HTTP_TOKEN_FILE", consul_->folder().Write("token", token).c_str(), 1);
  StartAnalyzerCalled("a");
  ::unsetenv("CONSUL_HTTP_TOKEN_FILE");
  if (HasFatalFailure()) return;
  EXPECT_TRUE(WaitUntilLeads("a", "api"));
  EXPECT_TRUE(Logs("a", "ends by its TTL alone"));
  EXPECT_TRUE(Logs("a", "lacks permission 'service:write' on \\\"consul-canary-analyzer\\\""));
}

TEST_F(LeadershipTest, HasATtlAloneWhereItShallNotRegister) {
  ASSERT_NO_FATAL_FAILURE(AddRollout("api"));
  ASSERT_NO_FATAL_FAILURE(StartAnalyzerCalled("a", {"--consul.register=false"}));
  EXPECT_TRUE(WaitUntilLeads("a", "api"));
  EXPECT_TRUE(Logs("a", "ends by its TTL alone"));
  EXPECT_TRUE(Logs("a", "--consul.register=false"));
  EXPECT_EQ(json::parse(*consul_->Get("/v1/health/service/consul-canary-analyzer")).size(), 0U);
}

TEST_F(LeadershipTest, IsSpreadOverTheAnalyzersAndMovedWhenOneComesOrGoes) {
  constexpr int kRollouts = 40;
  std::set<std::string> all;
  for (int i = 0; i < kRollouts; ++i) {
    ASSERT_NO_FATAL_FAILURE(AddRollout(ServiceNumber(i)));
    all.insert(ServiceNumber(i));
  }
  const auto share = [&all](const std::string& name, const std::set<std::string>& names) {
    std::set<std::string> led;
    for (const std::string& service : all) {
      if (control::Preferred(service, names) == name) led.insert(service);
    }
    return led;
  };
  const auto settles = [&](const std::set<std::string>& names) {
    return WaitUntil(
        [&] {
          return std::all_of(names.begin(), names.end(), [&](const std::string& name) {
            return LedBy(name) == share(name, names);
          });
        },
        seconds(40));
  };
  ASSERT_NO_FATAL_FAILURE(StartAnalyzerCalled("a"));
  EXPECT_TRUE(settles({"a"}));
  ASSERT_NO_FATAL_FAILURE(StartAnalyzerCalled("b"));
  ASSERT_NO_FATAL_FAILURE(StartAnalyzerCalled("c"));
  EXPECT_TRUE(settles({"a", "b", "c"}));
  analyzers_.at("b")->Kill();
  EXPECT_TRUE(settles({"a", "c"}));
  // What the dead one has left behind is taken away.
  EXPECT_TRUE(
      WaitUntil([&] { return !consul_->Get("/v1/kv/" + control::AnalyzerKey("b")).has_value(); },
                seconds(10)));
}

TEST_F(LeadershipTest, IsNoMatterForAListWhichReadsWhatOthersLeadAndWaitsForAllOfItAtOnce) {
  constexpr int kRollouts = 70;
  rollout::State state;
  state.phase = rollout::Phase::kRolledBack;
  for (int i = 0; i < kRollouts; ++i) {
    AddRollout(ServiceNumber(i));
    state.reason = "of " + ServiceNumber(i);
    ASSERT_TRUE(consul_->KvPut(control::RolloutKey(ServiceNumber(i), "state"),
                               control::StateToJson(state)));
  }
  for (const char* name : {"a", "b"}) ASSERT_NO_FATAL_FAILURE(StartAnalyzerCalled(name));
  ASSERT_TRUE(WaitUntil(
      [this] {
        const std::size_t a = LedBy("a").size();
        return a > 0 && a < kRollouts && a + LedBy("b").size() == kRollouts;
      },
      seconds(40)));
  const auto list = [this] {
    const auto answer = consul_->http().Call(
        "GET", analyzers_.at("a")->address() + "/api/v1/rollouts", "", {}, seconds(40));
    const json body = answer ? json::parse(answer->body, nullptr, false) : json();
    return body.value("rollouts", json::array());
  };
  const json shown = list();
  ASSERT_EQ(shown.size(), kRollouts);
  for (const json& rollout : shown) {
    EXPECT_EQ(rollout["phase"], "rolled-back") << rollout;
    EXPECT_EQ(rollout["reason"], "of " + rollout.value("service", "")) << rollout;
  }
  consul_->Pause();
  const json meanwhile = list();
  consul_->Continue();
  ASSERT_EQ(meanwhile.size(), kRollouts);
  for (const json& rollout : meanwhile) {
    if (rollout["leader"] == true) continue;
    EXPECT_EQ(rollout["problem"], "Consul: no answer in time") << rollout;
  }
}

TEST_F(LeadershipTest, RemovesOrdersThatNobodyCanUnderstandAndSaysWhy) {
  ASSERT_NO_FATAL_FAILURE(AddRollout("api"));
  ASSERT_NO_FATAL_FAILURE(StartAnalyzerCalled("a"));
  ASSERT_TRUE(WaitUntilLeads("a", "api"));
  const std::string bad_text = control::OrderKey("api", 7);
  const std::string bad_name = control::OrdersKey("api") + "please";
  const std::string order = control::OrderToJson({.kind = rollout::OrderKind::kAbort, .by = "kim"});
  ASSERT_TRUE(consul_->KvPut(bad_text, "abort at once!"));
  ASSERT_TRUE(consul_->KvPut(bad_name, order));
  for (const std::string& key : {bad_text, bad_name}) {
    EXPECT_TRUE(
        WaitUntil([&] { return consul_->KvGet(key).value_or("") == std::nullopt; }, seconds(10)))
        << key;
    EXPECT_TRUE(Logs("a", "key=" + key)) << key;
  }
  EXPECT_TRUE(Logs("a", "order not understood; whoever leads removes it"));
}

TEST_F(LeadershipTest, LetsNothingStartWhileTheFleetIsPaused) {
  ASSERT_NO_FATAL_FAILURE(AddRollout("api"));
  ASSERT_NO_FATAL_FAILURE(StartAnalyzerCalled("a"));
  ASSERT_TRUE(WaitUntilLeads("a", "api"));
  const auto waits_for = [this](const std::string& words) {
    return WaitUntil(
        [&] {
          const auto body =
              consul_->http().Get(analyzers_.at("a")->address() + "/api/v1/rollouts/api");
          return body &&
                 json::parse(*body)["waits"].get<std::string>().find(words) != std::string::npos;
        },
        seconds(10));
  };
  const std::string key(control::kFleetPauseKey);
  ASSERT_TRUE(consul_->KvPut(key, control::FleetPauseToJson({.by = "kim", .reason = "incident"})));
  EXPECT_TRUE(waits_for("every rollout is paused by kim since 1970-01-01T00:00:00Z: incident"));
  // Unknown means hold.
  ASSERT_TRUE(consul_->KvPut(key, "please stop"));
  EXPECT_TRUE(waits_for("every rollout is paused, by what consul-canary/paused holds"));
  ASSERT_TRUE(consul_->KvPut(key, ""));
  EXPECT_TRUE(waits_for("no service-splitter"));
}

TEST_F(LeadershipTest, CostsAnAgentAHandfulOfBlockingQueriesHoweverManyRolloutsThereAre) {
  const auto settled = [&](int more_than) {
    // The gauge is renewed each ten seconds.
    int count = 0;
    EXPECT_TRUE(WaitUntil([&] { return (count = BlockingQueries()) > more_than; }, seconds(30),
                          milliseconds(500)));
    return count;
  };
  constexpr int kRollouts = 200;
  for (int i = 0; i < kRollouts; ++i) ASSERT_NO_FATAL_FAILURE(AddRollout(ServiceNumber(i)));
  const int before = settled(-1);
  ASSERT_NO_FATAL_FAILURE(StartAnalyzerCalled("a"));
  ASSERT_TRUE(WaitUntil([&] { return LedBy("a").size() == kRollouts; }, seconds(40)));
  const int with = settled(before);
  std::cout << fmt::format("blocking queries of an analyzer with {} rollouts: {}\n", kRollouts,
                           with - before);
  EXPECT_LE(with - before, 50);
}

}  // namespace
}  // namespace consul_canary::testing
