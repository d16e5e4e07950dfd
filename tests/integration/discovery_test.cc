// The collector against a real Consul agent: who is found, in how many connections, and what a
// permission that is missing or taken away costs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <fstream>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>

#include "exporter/collect/collector.h"
#include "tests/support/consul_agent.h"
#include "tests/support/wait.h"
#include "tests/unit/collect/fake_mesh.h"

namespace consul_canary::collect {
namespace {

using nlohmann::json;
using ::testing::IsEmpty;

constexpr const char* kManagementToken = "8a4f2f8e-0000-4000-8000-000000000006";
constexpr const char* kOtherToken = "8a4f2f8e-0000-4000-8000-000000000007";

struct ProxyOf {
  std::string service{};
  std::vector<std::string> upstreams{};
  std::string mode{};       // transparent, or empty
  std::string bind_addr{};  // empty: as proxy-defaults say
  std::string status = "passing";
};

// Connections of this machine that lead to the port.
std::size_t ConnectionsTo(int port) {
  std::ifstream table("/proc/net/tcp");
  std::string line;
  std::size_t count = 0;
  char wanted[8];
  (void)std::snprintf(wanted, sizeof wanted, ":%04X ", static_cast<unsigned>(port));
  while (std::getline(table, line)) {
    // sl local_address rem_address st: 01 is established.
    const std::size_t remote = line.find(':', line.find(':', line.find(':') + 1) + 1);
    if (remote != std::string::npos && line.compare(remote, 6, wanted) == 0 &&
        line.compare(remote + 6, 2, "01") == 0) {
      ++count;
    }
  }
  return count;
}

class DiscoveryTest : public ::testing::Test {
 protected:
  void StartAgent(const std::string& token = "") {
    auto agent = testing::ConsulAgent::Start({.token = token});
    ASSERT_TRUE(agent) << agent.error().message;
    agent_ = *std::move(agent);
    Write(R"({"Kind":"proxy-defaults","Name":"global","Config":{"protocol":"http",
              "envoy_prometheus_bind_addr":"127.0.0.1:1"}})");
    Write(R"({"Kind":"service-resolver","Name":"api","Subsets":{
              "primary":{"Filter":"Service.Meta.version == v1"},
              "canary":{"Filter":"Service.Meta.version == v2"}}})");
    WriteSplitter(10);
  }

  void Begin(const std::string& token = "", StaticTargets targets = {}) {
    consul::Settings settings;
    settings.address = agent_->address();
    settings.token = token;
    std::promise<void> started;
    io_.loop().Post([&] {
      client_ = std::make_unique<consul::Client>(
          io_.loop(), settings, [this](std::string_view operation, std::string_view result) {
            const std::lock_guard lock(mutex_);
            ++requests_[{std::string(operation), std::string(result)}];
          });
      collector_ = std::make_unique<Collector>(
          *client_, CollectorOptions{.interval = base::milliseconds(200),
                                     .scrape_timeout = base::milliseconds(150)});
      collector_->OnPublish([this](const MeshSnapshot& snapshot) {
        const std::lock_guard lock(mutex_);
        newest_ = std::make_shared<MeshSnapshot>(snapshot);
        changed_.notify_all();
      });
      collector_->SetStaticTargets(std::move(targets));
      collector_->Start();
      started.set_value();
    });
    started.get_future().wait();
  }

  void TearDown() override {
    io_.Stop();
    collector_.reset();
    client_.reset();
  }

  void Write(const std::string& entry) {
    const auto written = agent_->WriteEntry(entry);
    ASSERT_TRUE(written) << written.error().message;
  }

  void WriteSplitter(int canary) {
    const json entry = {{"Kind", "service-splitter"},
                        {"Name", "api"},
                        {"Splits",
                         {{{"Weight", 100 - canary}, {"ServiceSubset", "primary"}},
                          {{"Weight", canary}, {"ServiceSubset", "canary"}}}}};
    Write(entry.dump());
  }

  // On a node of its own choice, without an agent: so Consul's anti-entropy lets it be.
  void Register(const ProxyOf& proxy) {
    json upstreams = json::array();
    for (const std::string& upstream : proxy.upstreams) {
      upstreams.push_back(
          {{"DestinationName", upstream}, {"LocalBindPort", 9000 + upstreams.size()}});
    }
    const std::string id = proxy.service + "-proxy";
    json body = {{"Node", "far"},
                 {"Address", "127.0.0.1"},
                 {"SkipNodeUpdate", true},
                 {"Service",
                  {{"Kind", "connect-proxy"},
                   {"ID", id},
                   {"Service", proxy.service + "-sidecar-proxy"},
                   {"Port", 21000},
                   {"Proxy",
                    {{"DestinationServiceName", proxy.service},
                     {"Upstreams", upstreams},
                     {"Mode", proxy.mode}}}}},
                 {"Check", {{"CheckID", id}, {"Status", proxy.status}, {"ServiceID", id}}}};
    if (!proxy.bind_addr.empty()) {
      body["Service"]["Proxy"]["Config"] = {{"envoy_prometheus_bind_addr", proxy.bind_addr}};
    }
    const auto done = agent_->Put("/v1/catalog/register", body.dump());
    ASSERT_TRUE(done) << done.error().message;
  }

  // The first published snapshot that satisfies `condition`; null when none does in time.
  std::shared_ptr<const MeshSnapshot> WaitFor(
      const std::function<bool(const MeshSnapshot&)>& condition) {
    std::unique_lock lock(mutex_);
    const bool met = changed_.wait_for(lock, std::chrono::seconds(60),
                                       [&] { return newest_ && condition(*newest_); });
    return met ? newest_ : nullptr;
  }

  // Services whose sidecars call api, as the snapshot shows; nothing while it does not show api.
  static std::set<std::string> Callers(const MeshSnapshot& mesh, bool passing_only = false) {
    std::set<std::string> callers;
    const auto api = mesh.services.find("api");
    if (api == mesh.services.end()) return callers;
    for (const CallerReading& caller : api->second->callers) {
      if (caller.passing || !passing_only) callers.insert(caller.service);
    }
    return callers;
  }

  // Whether the callers of api became just these.
  bool BecomeCallers(const std::set<std::string>& callers) {
    return WaitFor([&](const MeshSnapshot& mesh) {
             return mesh.ready && Callers(mesh) == callers;
           }) != nullptr;
  }

  int Requests(const std::string& operation, const std::string& result) {
    const std::lock_guard lock(mutex_);
    return requests_[{operation, result}];
  }

  std::unique_ptr<testing::ConsulAgent> agent_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<const MeshSnapshot> newest_;
  std::map<std::pair<std::string, std::string>, int> requests_;
  base::IoThread io_;
  std::unique_ptr<consul::Client> client_;
  std::unique_ptr<Collector> collector_;
};

TEST_F(DiscoveryTest, KnowsAThousandProxyServicesOnFiftyConnections) {
  StartAgent();
  constexpr int kProxies = 1000;
  constexpr int kCallers = 60;  // more than are watched one by one
  std::set<std::string> expected;
  for (int i = 0; i < kProxies; ++i) {
    const std::string service = "s" + std::to_string(i);
    const bool calls =
        i % (kProxies / kCallers) == 0 && static_cast<int>(expected.size()) < kCallers;
    if (calls) expected.insert(service);
    Register({.service = service, .upstreams = {calls ? "api" : "db"}});
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto seconds_since = [](std::chrono::steady_clock::time_point then) {
    return std::to_string(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - then).count());
  };
  Begin();
  ASSERT_TRUE(BecomeCallers(expected));
  RecordProperty("seconds_until_all_are_known", seconds_since(begin));
  EXPECT_EQ(Callers(*newest_, true), expected);
  const int port = std::stoi(agent_->address().substr(agent_->address().rfind(':') + 1));
  // One more is this test's own.
  EXPECT_LE(ConnectionsTo(port), 51U);
  EXPECT_GT(ConnectionsTo(port), 30U);

  auto then = std::chrono::steady_clock::now();
  const std::string last = *expected.rbegin();
  Register({.service = last, .upstreams = {"api"}, .status = "critical"});
  ASSERT_TRUE(
      WaitFor([&](const MeshSnapshot& mesh) { return !Callers(mesh, true).contains(last); }));
  RecordProperty("seconds_until_a_failing_check_shows", seconds_since(then));

  then = std::chrono::steady_clock::now();
  Register({.service = "s999", .upstreams = {"db", "api"}});
  expected.insert("s999");
  ASSERT_TRUE(BecomeCallers(expected));
  RecordProperty("seconds_until_a_new_upstream_shows", seconds_since(then));
  EXPECT_LE(ConnectionsTo(port), 51U);
}

TEST_F(DiscoveryTest, FindsTransparentCallersByIntentionsAndByTheirPages) {
  StartAgent();
  FakeSidecar page;
  page.SetPage(CallerPage(90, 10));
  Register({.service = "web", .mode = "transparent"});
  Register({.service = "shop", .mode = "transparent", .bind_addr = page.address()});
  Register({.service = "cron", .mode = "transparent"});
  Register({.service = "plain", .bind_addr = page.address()});
  Begin();
  // By default all may call: only the page tells who has a cluster for it.
  EXPECT_TRUE(BecomeCallers({"shop"}));
  Write(
      R"({"Kind":"service-intentions","Name":"api","Sources":[{"Name":"web","Action":"allow"}]})");
  EXPECT_TRUE(BecomeCallers({"shop", "web"}));
  Write(R"({"Kind":"service-intentions","Name":"*","Sources":[{"Name":"*","Action":"deny"}]})");
  EXPECT_TRUE(BecomeCallers({"web"}));
  ASSERT_TRUE(agent_->Delete("/v1/config/service-intentions/api"));
  EXPECT_TRUE(BecomeCallers({}));
  // A mode that no registration names: Consul merges it from the service's defaults.
  Write(
      R"({"Kind":"service-intentions","Name":"api","Sources":[{"Name":"plain","Action":"allow"}]})");
  Write(R"({"Kind":"service-defaults","Name":"plain","Protocol":"http","Mode":"transparent"})");
  EXPECT_TRUE(BecomeCallers({"plain"}));
}

TEST_F(DiscoveryTest, AServiceThatGoesAwayLeavesTheSnapshot) {
  StartAgent();
  Register({.service = "web", .upstreams = {"api"}});
  Begin();
  ASSERT_TRUE(BecomeCallers({"web"}));
  ASSERT_TRUE(agent_->Put("/v1/catalog/deregister", R"({"Node":"far","ServiceID":"web-proxy"})"));
  ASSERT_TRUE(BecomeCallers({}));
  ASSERT_TRUE(agent_->Delete("/v1/config/service-splitter/api"));
  EXPECT_TRUE(WaitFor([](const MeshSnapshot& mesh) { return mesh.services.empty(); }));
}

class ForbiddenTest : public DiscoveryTest {
 protected:
  // A token of this secret that has these rules.
  void WriteToken(const std::string& rules) {
    const json policy = {{"Name", "test"}, {"Rules", rules}};
    // It stays when the token goes.
    (void)agent_->Put("/v1/acl/policy", policy.dump());
    const json token = {{"SecretID", kOtherToken}, {"Policies", {{{"Name", "test"}}}}};
    const auto answer = agent_->Put("/v1/acl/token", token.dump());
    ASSERT_TRUE(answer) << answer.error().message;
    accessor_ = json::parse(*answer).at("AccessorID").get<std::string>();
  }

  void RevokeToken() { ASSERT_TRUE(agent_->Delete("/v1/acl/token/" + accessor_)); }

  std::string accessor_;
};

constexpr const char* kReader =
    R"(service_prefix "" {policy="read"} node_prefix "" {policy="read"})";

TEST_F(ForbiddenTest, TakesDefaultDenyForNobodyMayCall) {
  StartAgent(kManagementToken);
  WriteToken(kReader);  // it may read intentions, and what holds by default, too
  FakeSidecar page;
  page.SetPage(CallerPage(90, 10));
  Register({.service = "shop", .mode = "transparent", .bind_addr = page.address()});
  Register({.service = "web", .mode = "transparent"});
  Write(
      R"({"Kind":"service-intentions","Name":"api","Sources":[{"Name":"web","Action":"allow"}]})");
  Begin(kOtherToken);
  EXPECT_TRUE(BecomeCallers({"web"}));
  EXPECT_THAT(page.paths(), IsEmpty());
}

TEST_F(ForbiddenTest, KeepsWhatItKnowsWhileItsTokenIsRevokedAndGoesOnWithItAgain) {
  StartAgent(kManagementToken);
  WriteToken(kReader);
  Register({.service = "web", .upstreams = {"api"}});
  Begin(kOtherToken);
  ASSERT_TRUE(BecomeCallers({"web"}));
  RevokeToken();
  // Blocking queries that run go on until something changes.
  WriteSplitter(20);
  const auto marked = WaitFor([](const MeshSnapshot& mesh) {
    return mesh.consul_error && mesh.consul_failures.contains("service-splitter");
  });
  ASSERT_TRUE(marked);
  EXPECT_EQ(marked->consul_failures.at("service-splitter").code, base::ErrorCode::kForbidden);
  EXPECT_EQ(Callers(*marked), std::set<std::string>{"web"});
  // The query that ran may still have been answered.
  EXPECT_LE(marked->services.at("api")->splitter->WeightOf("canary"), 20);
  EXPECT_GT(Requests("config", "forbidden"), 0);
  WriteSplitter(30);
  WriteToken(kReader);
  const auto well = WaitFor([](const MeshSnapshot& mesh) {
    return mesh.consul_failures.empty() &&
           mesh.services.at("api")->splitter->WeightOf("canary") == 30;
  });
  ASSERT_TRUE(well);
  EXPECT_FALSE(well->consul_error);
}

TEST_F(ForbiddenTest, StaticTargetsNeedNoMoreThanTheServiceItself) {
  StartAgent(kManagementToken);
  WriteToken(R"(service "api" {policy="read"})");
  Register({.service = "hidden", .upstreams = {"api"}});
  FakeSidecar caller;
  caller.SetPage(CallerPage(90, 10));
  StaticTargets targets;
  targets[caller.address()] = {.address = caller.address(), .service = "web", .calls = {"api"}};
  targets["127.0.0.1:2"] = {.address = "127.0.0.1:2", .service = "api", .subsets = {"canary"}};
  Begin(kOtherToken, targets);
  const auto mesh = WaitFor([](const MeshSnapshot& seen) {
    return seen.ready && seen.services.contains("api") &&
           seen.services.at("api")->callers.size() == 1 &&
           seen.services.at("api")->callers[0].scraped_at;
  });
  ASSERT_TRUE(mesh);
  const ServiceSnapshot& api = *mesh->services.at("api");
  EXPECT_EQ(api.callers[0].subsets.at("canary").completed, 10U);
  EXPECT_TRUE(api.callers[0].passing);
  ASSERT_EQ(api.servers.size(), 1U);
  EXPECT_EQ(api.servers[0].subsets, std::vector<std::string>{"canary"});
  EXPECT_FALSE(mesh->consul_error);
}

}  // namespace
}  // namespace consul_canary::collect
