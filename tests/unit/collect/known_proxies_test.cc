#include "exporter/collect/known_proxies.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace consul_canary::collect {
namespace {

using consul::Client;
using consul::Instance;
using Calls = std::map<std::string, std::set<std::string>>;

Instance Transparent(const std::string& of) {
  Instance proxy;
  proxy.node = "n1";
  proxy.id = of + "-proxy";
  proxy.address = "10.0.0.5";
  proxy.destination_service = of;
  proxy.transparent = true;
  proxy.prometheus_bind_addr = "0.0.0.0:9102";
  return proxy;
}

MeshState With(const std::vector<Instance>& proxies) {
  MeshState state;
  state.followed = {"api", "db"};
  state.proxy_services.value.emplace();
  for (const Instance& proxy : proxies) {
    const std::string name = proxy.destination_service + "-sidecar-proxy";
    state.proxy_services.value->push_back(name);
    state.health[Client::HealthPath(name)].value = {proxy};
  }
  state.intentions.value.emplace();
  state.allowed_by_default.value = false;
  return state;
}

// By proxy id, what it calls when its page has clusters for all of these.
Calls CallsIn(const MeshState& state, const std::set<std::string>& clusters) {
  std::map<std::string, SidecarReading> readings;
  Calls calls;
  ForEachProxy(state, state.followed, [&](const KnownProxy& proxy) {
    const std::string id = ProxyId(proxy.instance);
    calls[proxy.instance.id];
    for (const std::string& service : clusters) readings[id].services[service];
  });
  for (const auto& [name, service] : Assemble(Outline(state), readings)) {
    for (const CallerReading& caller : service->callers) {
      const std::string id = caller.id.substr(caller.id.find('/') + 1);
      EXPECT_TRUE(calls[id].insert(name).second) << id << " calls " << name << " twice";
    }
  }
  return calls;
}

TEST(ForEachProxy, LetsATransparentProxyCallWhatAnIntentionNames) {
  MeshState state = With({Transparent("web"), Transparent("cron")});
  state.intentions.value = {{"web", "api", true}, {"web", "hidden", true}, {"cron", "db", false}};
  EXPECT_EQ(CallsIn(state, {}), (Calls{{"web-proxy", {"api"}}, {"cron-proxy", {}}}));
}

TEST(ForEachProxy, AsksThePageWhereAWildcardPermitsTheCall) {
  MeshState state = With({Transparent("web"), Transparent("api")});
  EXPECT_EQ(CallsIn(state, {"api"}), (Calls{{"web-proxy", {}}, {"api-proxy", {}}}));
  for (const consul::Intention& wildcard :
       {consul::Intention{"*", "api", true}, consul::Intention{"web", "*", true},
        consul::Intention{"*", "*", true}}) {
    state.intentions.value = {wildcard};
    EXPECT_EQ(CallsIn(state, {}), (Calls{{"web-proxy", {}}, {"api-proxy", {}}}));
    // Its own service is no destination of a sidecar that has a cluster for everybody.
    EXPECT_EQ(CallsIn(state, {"api", "hidden"}),
              (Calls{{"web-proxy", {"api"}}, {"api-proxy", {}}}));
  }
}

TEST(ForEachProxy, AsksThePageWhereCallsAreAllowedByDefaultUnlessAnIntentionDeniesAll) {
  MeshState state = With({Transparent("web")});
  state.allowed_by_default.value = true;
  EXPECT_EQ(CallsIn(state, {"db"}), (Calls{{"web-proxy", {"db"}}}));
  state.intentions.value = {{"*", "*", false}};
  EXPECT_EQ(CallsIn(state, {"db"}), (Calls{{"web-proxy", {}}}));
}

TEST(ForEachProxy, AsksThePageWhereConsulDoesNotTell) {
  MeshState state = With({Transparent("web")});
  state.intentions = {};
  state.allowed_by_default = {};
  EXPECT_EQ(CallsIn(state, {"db"}), (Calls{{"web-proxy", {}}}));
  state.intentions.error = base::Error{base::ErrorCode::kForbidden, "GET: 403"};
  EXPECT_EQ(CallsIn(state, {"db"}), (Calls{{"web-proxy", {"db"}}}));
}

TEST(ForEachProxy, HeedsIntentionsOfTransparentProxiesOnly) {
  Instance plain = Transparent("web");
  plain.transparent = false;
  MeshState state = With({plain});
  state.intentions.value = {{"web", "api", true}, {"*", "*", true}};
  EXPECT_EQ(CallsIn(state, {"api"}), (Calls{{"web-proxy", {}}}));
}

TEST(ForEachProxy, JoinsWhatTheFileSaysOfAnAddressToWhatConsulKnows) {
  MeshState state = With({Transparent("web")});
  state.static_targets = {
      {"10.0.0.5:9102",
       {.address = "10.0.0.5:9102", .admin = true, .service = "x", .calls = {"api"}}},
      {"10.0.0.6:9102", {.address = "10.0.0.6:9102", .service = "y", .calls = {"db"}}}};
  EXPECT_EQ(CallsIn(state, {}), (Calls{{"web-proxy", {"api"}}, {"10.0.0.6:9102", {"db"}}}));
  const std::map<std::string, ScrapeTarget> targets = WantedTargets(state);
  EXPECT_EQ(targets, (std::map<std::string, ScrapeTarget>{
                         {"n1/web-proxy", {"10.0.0.5:9102", true}},
                         {"static/10.0.0.6:9102", {"10.0.0.6:9102", false}}}));
}

TEST(IsComplete, NeedsNoCatalogWithStaticTargetsWhereThatIsForbidden) {
  MeshState state;
  state.splitters.value.emplace();
  state.resolvers.value.emplace();
  state.routers.value.emplace();
  const base::Error forbidden{base::ErrorCode::kForbidden, "GET: 403"};
  state.proxy_services.error = forbidden;
  state.gateways.error = forbidden;
  EXPECT_FALSE(IsComplete(state));
  EXPECT_TRUE(FirstError(state));
  state.static_targets = {{"a:1", {.address = "a:1", .service = "web"}}};
  EXPECT_TRUE(IsComplete(state));
  EXPECT_FALSE(FirstError(state));
  EXPECT_EQ(Failures(state).at("proxies"), forbidden);
}

TEST(IsComplete, WaitsForIntentionsWhereThereAreTransparentProxies) {
  MeshState state = With({Transparent("web")});
  state.followed.clear();
  state.splitters.value.emplace();
  state.resolvers.value.emplace();
  state.routers.value.emplace();
  state.gateways.value.emplace();
  EXPECT_TRUE(IsComplete(state));
  state.allowed_by_default = {};
  EXPECT_FALSE(IsComplete(state));
  state.intentions = {};
  EXPECT_FALSE(IsComplete(state));
  state.intentions.error = base::Error{base::ErrorCode::kForbidden, "GET: 403"};
  EXPECT_TRUE(IsComplete(state));
}

TEST(PathsOf, AreThoseWithAnInstanceThatTheCheckConcerns) {
  MeshState state;
  Instance web = Transparent("web");
  Instance far = Transparent("far");
  far.node = "n2";
  state.health["/web"].value = {web};
  state.health["/far"].value = {far};
  state.health["/unread"];
  using Paths = std::set<std::string>;
  EXPECT_EQ(PathsOf(state, {{"n1", "web-proxy", "c"}}), Paths{"/web"});
  EXPECT_EQ(PathsOf(state, {{"n1", "other", "c"}}), Paths{});
  EXPECT_EQ(PathsOf(state, {{"n2", "", "serfHealth"}}), Paths{"/far"});
}

TEST(PathsOf, AreThoseThatWouldHoldANewInstance) {
  MeshState state = With({Transparent("api")});
  consul::Resolver resolver;
  resolver.subset_filters = {{"canary", "f"}};
  state.resolvers.value = {{"api", resolver}};
  EXPECT_EQ(PathsOf(state, {{"n7", "api-2-proxy", "c", "api-sidecar-proxy"}}),
            (std::set<std::string>{Client::HealthPath("api-sidecar-proxy"),
                                   Client::ConnectPath("api", "f")}));
}

}  // namespace
}  // namespace consul_canary::collect
