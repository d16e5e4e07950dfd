#include "exporter/collect/instance_readings.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace consul_canary::collect {
namespace {

base::MonotonicTime At(int seconds) { return base::MonotonicTime(base::seconds(seconds)); }

consul::Instance Member(const std::string& id, bool passing = true) {
  consul::Instance proxy;
  proxy.node = "n1";
  proxy.id = id + "-proxy";
  proxy.destination_id = id;
  proxy.passing = passing;
  return proxy;
}

ServerReading Server(const std::string& id, std::vector<std::string> subsets) {
  ServerReading server;
  server.id = "n1/" + id + "-proxy";
  server.instance_id = id;
  server.subsets = std::move(subsets);
  server.passing = true;
  server.address = "10.0.0.5:9102";
  server.scraped_at = At(100);
  server.local_app = envoy::SubsetCounters();
  return server;
}

// api-1 is the primary's, api-2 the canary's.
ServiceSnapshot Api() {
  ServiceSnapshot api;
  api.service = "api";
  api.instances_known = true;
  api.subset_instances["primary"] = {Member("api-1")};
  api.subset_instances["canary"] = {Member("api-2")};
  api.servers = {Server("api-1", {"primary"}), Server("api-2", {"canary"})};
  return api;
}

std::vector<UnreadInstance> Unread(const ServiceSnapshot& api, int now_seconds = 101) {
  return UnreadInstances(api, "canary", At(now_seconds), base::milliseconds(3500));
}

// Having served nothing yet is known too.
TEST(UnreadInstances, AreNoneWhereEachHasJustBeenRead) { EXPECT_TRUE(Unread(Api()).empty()); }

TEST(UnreadInstances, TellWhatIsMissing) {
  struct Case {
    void (*change)(ServiceSnapshot& api);
    std::string reason;
  };
  const std::vector<Case> cases = {
      {[](ServiceSnapshot& api) { api.servers.pop_back(); }, "it has no sidecar that is known"},
      {[](ServiceSnapshot& api) { api.servers[1].address.clear(); },
       "its sidecar has no address that can be read"},
      {[](ServiceSnapshot& api) { api.servers[1].scraped_at.reset(); },
       "its sidecar was not read yet"},
      {[](ServiceSnapshot& api) {
         api.servers[1].scraped_at.reset();
         api.servers[1].error = "connect: refused";
       },
       "its sidecar was not read yet: connect: refused"},
      {[](ServiceSnapshot& api) {
         api.servers[1].scraped_at = At(96);
         api.servers[1].error = "timeout";
       },
       "its sidecar was not read for 5 s: timeout"},
      {[](ServiceSnapshot& api) { api.servers[1].local_app.reset(); },
       "its sidecar says nothing of its instance"},
  };
  for (const Case& each : cases) {
    ServiceSnapshot api = Api();
    each.change(api);
    EXPECT_EQ(Unread(api), (std::vector<UnreadInstance>{{"api-2", each.reason}}));
  }
}

TEST(UnreadInstances, AreNotThoseWhoseLastReadingIsFreshThoughTheLastTryFailed) {
  ServiceSnapshot api = Api();
  api.servers[1].error = "timeout";
  EXPECT_TRUE(Unread(api, 103).empty());
  EXPECT_EQ(Unread(api, 104).size(), 1U);
}

TEST(UnreadInstances, AreNotThoseThatGetNoRequests) {
  ServiceSnapshot api = Api();
  api.subset_instances["canary"] = {Member("api-2", false)};
  api.servers[1].scraped_at.reset();
  EXPECT_TRUE(Unread(api).empty());
}

TEST(UnreadInstances, AreNotThoseOfOtherSubsets) {
  ServiceSnapshot api = Api();
  api.subset_instances["all"] = {Member("api-1"), Member("api-2"), Member("api-3")};
  EXPECT_TRUE(Unread(api).empty());
}

}  // namespace
}  // namespace consul_canary::collect
