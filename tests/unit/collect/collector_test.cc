#include "exporter/collect/collector.h"

#include <gtest/gtest.h>

#include "tests/unit/collect/collector_fixture.h"

namespace consul_canary::collect {
namespace {

TEST_F(CollectorTest, ShowsEntriesInstancesAndWhatCallersCounted) {
  Start();
  const auto mesh = WaitFor(IsRead);
  ASSERT_TRUE(mesh);
  EXPECT_FALSE(mesh->consul_error);
  const ServiceSnapshot& api = *Api(*mesh);
  EXPECT_EQ(api.splitter->WeightOf("canary"), 10);
  EXPECT_EQ(api.resolver->subset_filters.size(), 2U);
  EXPECT_TRUE(api.instances_known);
  EXPECT_EQ(api.instances.size(), 1U);
  EXPECT_EQ(api.subset_instances.at("primary").size(), 1U);
  EXPECT_TRUE(api.subset_instances.at("canary").empty());
  const CallerReading& caller = *Caller(*mesh);
  EXPECT_EQ(caller.subsets.at("primary").completed, 90U);
  EXPECT_EQ(caller.subsets.at("canary").completed, 10U);
  EXPECT_EQ(caller.route_reloads, 3U);
  EXPECT_TRUE(caller.applied_shares.empty());
  EXPECT_EQ(sidecar_.paths(), std::set<std::string>{"/metrics"});
}

TEST_F(CollectorTest, ReadsOfItsOwnNamespaceAndPartitionAlone) {
  settings_.namespace_name = "team";
  settings_.partition = "west";
  const auto in_place = [](const std::string& body) {
    nlohmann::json entries = nlohmann::json::parse(body);
    entries.at(0)["Namespace"] = "team";
    entries.at(0)["Partition"] = "west";
    return entries;
  };
  nlohmann::json splitters = in_place(SplitterJson("api", 25));
  splitters.push_back(nlohmann::json::parse(SplitterJson("api", 10)).at(0));
  consul_.Set(kSplitters, splitters.dump());
  consul_.Set(kResolvers, in_place(ResolverJson("api", "Service.Meta.version == v2")).dump());
  const std::string begin =
      "envoy_cluster_upstream_rq_completed{consul_destination_service=\"api\","
      "consul_destination_service_subset=\"canary\"";
  sidecar_.SetPage(begin + ",consul_destination_namespace=\"default\"} 10\n" + begin +
                   ",consul_destination_namespace=\"team\",consul_destination_partition=\"west\"} "
                   "30\n");
  Start();
  const auto mesh = WaitFor(IsRead);
  ASSERT_TRUE(mesh);
  EXPECT_EQ(Api(*mesh)->splitter->WeightOf("canary"), 25);
  EXPECT_EQ(Caller(*mesh)->subsets.at("canary").completed, 30U);
}

TEST_F(CollectorTest, HasAnEmptySnapshotBeforeItStarts) {
  io_.Stop();
  consul::Client client(io_.loop(), {});
  const Collector collector(client, {});
  ASSERT_TRUE(collector.Latest());
  EXPECT_FALSE(collector.Latest()->ready);
}

TEST_F(CollectorTest, ReadsEverySidecarAgainEachInterval) {
  Start();
  ASSERT_TRUE(WaitFor(IsRead));
  sidecar_.SetPage(CallerPage(95, 12));
  EXPECT_TRUE(WaitFor([](const MeshSnapshot& mesh) {
    return Caller(mesh) != nullptr && Caller(mesh)->subsets.at("canary").completed == 12;
  }));
}

TEST_F(CollectorTest, FollowsAServiceThatHasNoSplitter) {
  consul_.Set(kSplitters, "[]");
  Start({"api"});
  const auto mesh = WaitFor(IsRead);
  ASSERT_TRUE(mesh);
  EXPECT_FALSE(Api(*mesh)->splitter);
}

TEST_F(CollectorTest, ShowsNothingOfServicesThatNobodyFollows) {
  consul_.Set(kSplitters, "[]");
  Start();
  const auto mesh = WaitFor([](const MeshSnapshot& seen) { return seen.ready; });
  ASSERT_TRUE(mesh);
  EXPECT_TRUE(mesh->services.empty());
  EXPECT_TRUE(sidecar_.paths().empty());
}

TEST_F(CollectorTest, AsksConsulWithTheNewFilterAsSoonAsTheResolverHasIt) {
  consul_.Set(kNext, HealthJson({{.id = "api-3-proxy", .service = "api-sidecar-proxy"}}));
  Start();
  ASSERT_TRUE(WaitFor(IsRead));
  consul_.Set(kResolvers, ResolverJson("api", "Service.Meta.version == v3"));
  const auto mesh = WaitFor([](const MeshSnapshot& seen) {
    const auto canary = Api(seen)->subset_instances.find("canary");
    return canary != Api(seen)->subset_instances.end() && canary->second.size() == 1;
  });
  ASSERT_TRUE(mesh);
  EXPECT_TRUE(Api(*mesh)->instances_known);
}

TEST_F(CollectorTest, TellsAtOnceWhatConsulSays) {
  Start();
  ASSERT_TRUE(WaitFor(IsRead));
  int before = 0;
  {
    const std::lock_guard lock(mutex_);
    before = consul_changes_;
  }
  consul_.Set(kApi, HealthJson({{.id = "api-1", .service = "api", .passing = false}}));
  ASSERT_TRUE(WaitFor([](const MeshSnapshot& mesh) {
    return !Api(mesh)->instances.empty() && !Api(mesh)->instances[0].passing;
  }));
  std::unique_lock lock(mutex_);
  EXPECT_TRUE(
      changed_.wait_for(lock, std::chrono::seconds(10), [&] { return consul_changes_ > before; }));
}

TEST_F(CollectorTest, KeepsWhatItKnowsWhileConsulFails) {
  Start();
  ASSERT_TRUE(WaitFor(IsRead));
  consul_.Fail(500);
  const auto failing = WaitFor([](const MeshSnapshot& mesh) {
    return mesh.consul_error && Api(mesh) != nullptr && !Api(mesh)->instances_known;
  });
  ASSERT_TRUE(failing);
  EXPECT_EQ(failing->consul_error->code, base::ErrorCode::kUnavailable);
  EXPECT_EQ(Api(*failing)->instances.size(), 1U);
  EXPECT_EQ(Api(*failing)->splitter->WeightOf("canary"), 10);
  EXPECT_TRUE(failing->ready);
  sidecar_.SetPage(CallerPage(100, 20));
  EXPECT_TRUE(WaitFor(
      [](const MeshSnapshot& mesh) { return Caller(mesh)->subsets.at("canary").completed == 20; }));
  consul_.Fail(200);
  EXPECT_TRUE(WaitFor(
      [](const MeshSnapshot& mesh) { return !mesh.consul_error && Api(mesh)->instances_known; }));
}

TEST_F(CollectorTest, TakesAConsulWithoutLeaderForOneThatFails) {
  consul_.Set("/v1/status/leader", "\"\"");
  Start();
  const auto mesh = WaitFor([](const MeshSnapshot& seen) { return seen.consul_error.has_value(); });
  ASSERT_TRUE(mesh);
  EXPECT_EQ(mesh->consul_error->message, "GET /v1/status/leader: Consul has no leader");
}

TEST_F(CollectorTest, LetsAHangingSidecarDelayNobody) {
  FakeSidecar hanging;
  hanging.Hang(true);
  consul_.Set(kWebProxy, HealthJson({Web("web-1", sidecar_), Web("web-2", hanging)}));
  Start();
  ASSERT_TRUE(WaitFor([](const MeshSnapshot& mesh) {
    const CallerReading* stuck = Caller(mesh, "n1/web-2");
    return stuck != nullptr && stuck->error.find("timed out") != std::string::npos;
  }));
  sidecar_.SetPage(CallerPage(100, 33));
  const auto mesh = WaitFor([](const MeshSnapshot& seen) {
    return Caller(seen)->scraped_at && Caller(seen)->subsets.at("canary").completed == 33;
  });
  ASSERT_TRUE(mesh);
  EXPECT_TRUE(Caller(*mesh)->error.empty());
  EXPECT_FALSE(Caller(*mesh, "n1/web-2")->scraped_at);
}

TEST_F(CollectorTest, KeepsTheLastReadingOfASidecarThatFails) {
  Start();
  ASSERT_TRUE(WaitFor(IsRead));
  sidecar_.SetPage("overloaded", 503);
  EXPECT_NE(WaitForError("status 503"), "");
  const auto mesh = collector_->Latest();
  EXPECT_EQ(Caller(*mesh)->subsets.at("canary").completed, 10U);
  EXPECT_GE(collector_->scrape_stats().errors_by_reason.at("status"), 1U);
}

TEST_F(CollectorTest, RefusesAPageThatIsNotEnvoys) {
  sidecar_.SetPage("<html>hello</html>");
  Start();
  EXPECT_NE(WaitForError("not a page of Envoy's, content type application/json"), "");
}

TEST_F(CollectorTest, RefusesAPageThatIsTooLarge) {
  sidecar_.SetPage(std::string(5000, '#'));
  Start();
  EXPECT_NE(WaitForError("larger than 4000 bytes"), "");
}

TEST_F(CollectorTest, NamesASidecarThatCannotBeReached) {
  consul_.Set(kWebProxy, HealthJson({{.id = "web-1",
                                      .service = "web-sidecar-proxy",
                                      .kind = "connect-proxy",
                                      .destination_service = "web",
                                      .upstreams = {"api"},
                                      .prometheus_bind_addr = "127.0.0.1:1"}}));
  Start();
  EXPECT_NE(WaitForError("127.0.0.1:1"), "");
}

// After five failures in a row it would be left alone for ten seconds.
TEST_F(CollectorTest, AsksASidecarAnewWheneverConsulSaysSomethingNewOfIt) {
  FakeInstance web = Web("web-1", sidecar_);
  web.prometheus_bind_addr = "127.0.0.1:1";
  consul_.Set(kWebProxy, HealthJson({web}));
  Start();
  ASSERT_NE(WaitForError("127.0.0.1:1"), "");
  const auto tries = [this] { return collector_->scrape_stats().errors_by_reason["connect"]; };
  for (int change = 0; change < 5; ++change) {
    const std::uint64_t before = tries();
    web.passing = !web.passing;
    consul_.Set(kWebProxy, HealthJson({web}));
    ASSERT_TRUE(WaitFor([&](const MeshSnapshot&) { return tries() > before; })) << change;
  }
}

TEST_F(CollectorTest, ShowsACallerWithoutAddressWithoutReadingIt) {
  consul_.Set(kWebProxy, HealthJson({{.id = "web-1",
                                      .service = "web-sidecar-proxy",
                                      .kind = "connect-proxy",
                                      .destination_service = "web",
                                      .upstreams = {"api"}}}));
  Start();
  const auto mesh =
      WaitFor([](const MeshSnapshot& seen) { return seen.ready && Caller(seen) != nullptr; });
  ASSERT_TRUE(mesh);
  EXPECT_EQ(Caller(*mesh)->address, "");
  EXPECT_FALSE(Caller(*mesh)->scraped_at);
}

class AdminPortTest : public CollectorTest {
 protected:
  AdminPortTest() {
    FakeInstance web = Web("web-1", sidecar_);
    web.prometheus_bind_addr = "127.0.0.1:1";
    web.meta["canary-admin"] = sidecar_.address();
    consul_.Set(kWebProxy, HealthJson({web}));
    sidecar_.SetRoutes(
        R"({"configs":[{"route_config":{"name":"api","virtual_hosts":[{"routes":[{"match":{"prefix":"/"},)"
        R"("route":{"weighted_clusters":{"clusters":[)"
        R"({"name":"primary.api.default.dc1.internal.x.consul","weight":9000},)"
        R"({"name":"canary.api.default.dc1.internal.x.consul","weight":1000}]}}}]}]}}]})");
  }
};

TEST_F(AdminPortTest, WinsAndTellsTheAppliedWeights) {
  Start();
  const auto mesh = WaitFor([](const MeshSnapshot& seen) {
    return IsRead(seen) && Caller(seen)->applied_at.has_value();
  });
  ASSERT_TRUE(mesh);
  EXPECT_EQ(Caller(*mesh)->applied_shares,
            (std::map<std::string, double>{{"canary", 0.1}, {"primary", 0.9}}));
  EXPECT_EQ(sidecar_.paths(), (std::set<std::string>{"/config_dump", "/stats/prometheus"}));
}

TEST_F(AdminPortTest, NeverShowsOldWeightsAsAppliedNow) {
  Start();
  ASSERT_TRUE(WaitFor([](const MeshSnapshot& seen) {
    return IsRead(seen) && !Caller(seen)->applied_shares.empty();
  }));
  sidecar_.SetRoutes("", 500);
  const auto mesh = WaitFor([](const MeshSnapshot& seen) {
    return Caller(seen)->applied_shares.empty() && !Caller(seen)->error.empty();
  });
  ASSERT_TRUE(mesh);
  EXPECT_NE(Caller(*mesh)->error.find("/config_dump: status 500"), std::string::npos);
  EXPECT_EQ(Caller(*mesh)->subsets.at("canary").completed, 10U);
}

}  // namespace
}  // namespace consul_canary::collect
