#include "exporter/collect/collector.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <functional>
#include <future>
#include <mutex>

#include "exporter/base/io_loop.h"
#include "tests/unit/collect/fake_mesh.h"

namespace consul_canary::collect {
namespace {

using base::milliseconds;

constexpr const char* kSplitters = "/v1/config/service-splitter";
constexpr const char* kResolvers = "/v1/config/service-resolver";
constexpr const char* kProxies = "/v1/catalog/services?filter ServiceKind == \"connect-proxy\"";
constexpr const char* kApi = "/v1/health/service/api";
constexpr const char* kWebProxy = "/v1/health/service/web-sidecar-proxy";
constexpr const char* kPrimary = "/v1/health/connect/api?filter Service.Meta.version == v1";
constexpr const char* kCanary = "/v1/health/connect/api?filter Service.Meta.version == v2";
constexpr const char* kNext = "/v1/health/connect/api?filter Service.Meta.version == v3";

FakeInstance Web(const std::string& id, const FakeSidecar& sidecar) {
  return {.id = id,
          .service = "web-sidecar-proxy",
          .kind = "connect-proxy",
          .destination_service = "web",
          .upstreams = {"api"},
          .prometheus_bind_addr = sidecar.address()};
}

class CollectorTest : public ::testing::Test {
 protected:
  CollectorTest() {
    consul_.Set(kSplitters, SplitterJson("api", 10));
    consul_.Set(kResolvers, ResolverJson("api", "Service.Meta.version == v2"));
    consul_.Set(kProxies, R"({"web-sidecar-proxy":[]})");
    consul_.Set(kApi, HealthJson({{.id = "api-1", .service = "api"}}));
    consul_.Set(kPrimary, HealthJson({{.id = "api-1-proxy", .service = "api-sidecar-proxy"}}));
    consul_.Set(kWebProxy, HealthJson({Web("web-1", sidecar_)}));
    sidecar_.SetPage(CallerPage(90, 10));
  }

  void Start(std::set<std::string> follow = {}) {
    consul::Settings settings;
    settings.address = consul_.address();
    std::promise<void> started;
    io_.loop().Post([&] {
      client_ = std::make_unique<consul::Client>(
          io_.loop(), settings, [this](std::string_view operation, std::string_view result) {
            const std::lock_guard lock(mutex_);
            ++requests_[{std::string(operation), std::string(result)}];
          });
      collector_ = std::make_unique<Collector>(*client_,
                                               CollectorOptions{.interval = milliseconds(40),
                                                                .scrape_timeout = milliseconds(200),
                                                                .max_page_bytes = 4000});
      collector_->OnPublish([this](const MeshSnapshot& snapshot) {
        const std::lock_guard lock(mutex_);
        newest_ = std::make_shared<MeshSnapshot>(snapshot);
        changed_.notify_all();
      });
      collector_->OnConsulChange([this] {
        const std::lock_guard lock(mutex_);
        ++consul_changes_;
        changed_.notify_all();
      });
      collector_->Follow(std::move(follow));
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

  // The first published snapshot that satisfies `condition`; null when none does in time.
  std::shared_ptr<const MeshSnapshot> WaitFor(
      const std::function<bool(const MeshSnapshot&)>& condition) {
    std::unique_lock lock(mutex_);
    const bool met = changed_.wait_for(lock, std::chrono::seconds(10),
                                       [&] { return newest_ && condition(*newest_); });
    return met ? newest_ : nullptr;
  }

  static const ServiceSnapshot* Api(const MeshSnapshot& mesh) {
    const auto it = mesh.services.find("api");
    return it == mesh.services.end() ? nullptr : it->second.get();
  }

  static const CallerReading* Caller(const MeshSnapshot& mesh, const std::string& id = "n1/web-1") {
    if (const ServiceSnapshot* api = Api(mesh)) {
      for (const CallerReading& caller : api->callers) {
        if (caller.id == id) return &caller;
      }
    }
    return nullptr;
  }

  static bool IsRead(const MeshSnapshot& mesh) {
    const CallerReading* caller = Caller(mesh);
    return mesh.ready && caller != nullptr && caller->scraped_at;
  }

  // Waits for a caller's error that contains `text`.
  std::string WaitForError(const std::string& text) {
    const auto mesh = WaitFor([&](const MeshSnapshot& seen) {
      const CallerReading* caller = Caller(seen);
      return caller != nullptr && caller->error.find(text) != std::string::npos;
    });
    return mesh ? Caller(*mesh)->error : "";
  }

  FakeConsul consul_;
  FakeSidecar sidecar_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<const MeshSnapshot> newest_;
  int consul_changes_ = 0;
  std::map<std::pair<std::string, std::string>, int> requests_;  // by operation and result
  base::IoThread io_;
  std::unique_ptr<consul::Client> client_;
  std::unique_ptr<Collector> collector_;
};

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

struct Nonsense {
  const char* name;
  std::string body;
};

class NonsenseTest : public CollectorTest, public ::testing::WithParamInterface<Nonsense> {};

TEST_P(NonsenseTest, CostsNothingThatIsKnownAndNoOtherQuestion) {
  Start();
  ASSERT_TRUE(WaitFor(IsRead));
  consul_.Set(kSplitters, GetParam().body);
  const auto marked = WaitFor(
      [](const MeshSnapshot& mesh) { return mesh.consul_failures.contains("service-splitter"); });
  ASSERT_TRUE(marked);
  EXPECT_EQ(marked->consul_failures.size(), 1U);
  const base::Error& error = marked->consul_failures.at("service-splitter");
  EXPECT_EQ(error.code, base::ErrorCode::kInvalid);
  EXPECT_NE(error.message.find("/v1/config/service-splitter: "), std::string::npos);
  EXPECT_EQ(marked->consul_error, error);
  EXPECT_EQ(Api(*marked)->splitter->WeightOf("canary"), 10);
  {
    const std::lock_guard lock(mutex_);
    EXPECT_GE((requests_[{"config", "invalid"}]), 1);
  }
  consul_.Set(kApi,
              HealthJson({{.id = "api-1", .service = "api"}, {.id = "api-2", .service = "api"}}));
  EXPECT_TRUE(WaitFor([](const MeshSnapshot& mesh) { return Api(mesh)->instances.size() == 2; }));
  consul_.Set(kSplitters, SplitterJson("api", 20));
  EXPECT_TRUE(WaitFor([](const MeshSnapshot& mesh) {
    return mesh.consul_failures.empty() && Api(mesh)->splitter->WeightOf("canary") == 20;
  }));
}

INSTANTIATE_TEST_SUITE_P(
    Table, NonsenseTest,
    ::testing::Values(Nonsense{"html", "<html>502 Bad Gateway</html>"}, Nonsense{"empty", ""},
                      Nonsense{"truncated", SplitterJson("api", 30).substr(0, 60)},
                      Nonsense{"object", R"({"Kind":"service-splitter","Name":"api"})"},
                      Nonsense{"number", "[3]"},
                      Nonsense{"splits",
                               R"([{"Kind":"service-splitter","Name":"api","Splits":"x"}])"},
                      Nonsense{"weight", R"([{"Kind":"service-splitter","Name":"api","Splits":)"
                                         R"([{"Weight":"all"}]}])"},
                      Nonsense{"binary", std::string("\0\xff\xfe[]", 5)},
                      Nonsense{"deep", std::string(100'000, '[')},
                      Nonsense{"huge", std::string((16U << 20U) + 1, ' ')}),
    [](const auto& row) { return row.param.name; });

TEST_F(CollectorTest, TakesNonsenseAboutOneServiceForDoubtAboutItsInstances) {
  Start();
  ASSERT_TRUE(WaitFor(IsRead));
  consul_.Set(kApi, "[{}]");
  const auto marked = WaitFor([](const MeshSnapshot& mesh) { return !Api(mesh)->instances_known; });
  ASSERT_TRUE(marked);
  EXPECT_EQ(Api(*marked)->instances.size(), 1U);
  EXPECT_FALSE(marked->consul_error);
  EXPECT_EQ(marked->consul_failures.at("health").message,
            "GET /v1/health/service/api: instance 0 has no ID or no service");
}

struct Refusal {
  int status;
  base::ErrorCode code;
  const char* result;
};

class RefusingConsulTest : public CollectorTest, public ::testing::WithParamInterface<Refusal> {};

TEST_P(RefusingConsulTest, IsCountedByReasonAndKeepsWhatIsKnown) {
  Start();
  ASSERT_TRUE(WaitFor(IsRead));
  consul_.Fail(GetParam().status);
  const auto marked = WaitFor([](const MeshSnapshot& mesh) {
    return mesh.consul_failures.contains("service-splitter") &&
           mesh.consul_failures.contains("health");
  });
  ASSERT_TRUE(marked);
  EXPECT_EQ(marked->consul_failures.at("service-splitter").code, GetParam().code);
  EXPECT_EQ(Api(*marked)->splitter->WeightOf("canary"), 10);
  EXPECT_EQ(Api(*marked)->callers.size(), 1U);
  {
    const std::lock_guard lock(mutex_);
    EXPECT_GE((requests_[{"config", GetParam().result}]), 1);
    EXPECT_GE((requests_[{"health", GetParam().result}]), 1);
  }
  consul_.Fail(200);
  EXPECT_TRUE(WaitFor([](const MeshSnapshot& mesh) { return mesh.consul_failures.empty(); }));
}

INSTANTIATE_TEST_SUITE_P(
    Table, RefusingConsulTest,
    ::testing::Values(Refusal{403, base::ErrorCode::kForbidden, "forbidden"},
                      Refusal{429, base::ErrorCode::kUnavailable, "unavailable"},
                      Refusal{500, base::ErrorCode::kUnavailable, "unavailable"},
                      Refusal{404, base::ErrorCode::kNotFound, "not-found"}),
    [](const auto& row) { return std::to_string(row.param.status); });

TEST_F(CollectorTest, LeavesOutEntriesOfOtherNamespacesAndPartitions) {
  consul_.Set(kSplitters,
              R"([{"Kind":"service-splitter","Name":"api","Namespace":"default","Splits":[]},)"
              R"({"Kind":"service-splitter","Name":"api","Namespace":"team","Splits":[]},)"
              R"({"Kind":"service-splitter","Name":"far","Partition":"west","Splits":[]}])");
  Start();
  const auto mesh = WaitFor([](const MeshSnapshot& seen) { return seen.ready; });
  ASSERT_TRUE(mesh);
  ASSERT_EQ(mesh->services.size(), 1U);
  EXPECT_EQ(Api(*mesh)->splitter->place, consul::Place());
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
  EXPECT_NE(WaitForError("not a page of Envoy's, line 1: no metric name"), "");
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
