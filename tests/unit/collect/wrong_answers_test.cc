// Consul refuses, or answers nonsense: what is known stays, and the rest goes on.
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/collect/collector_fixture.h"

namespace consul_canary::collect {
namespace {

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

}  // namespace
}  // namespace consul_canary::collect
