// The mesh that tests and demo rest on behaves as a mesh does: weights move traffic, a failing
// version is felt by its callers, and two meshes do not touch each other.
#include "tests/support/mesh.h"

#include <gtest/gtest.h>

#include "tests/support/load.h"

namespace consul_canary::testing {
namespace {

using Weights = std::map<std::string, double>;

TEST(Mesh, GivesEachSubsetItsShare) {
  const auto mesh =
      Mesh::Start({.versions = {"v1", "v2"}, .canary_version = "v2", .canary_weight = 10});
  ASSERT_TRUE(mesh) << mesh.error().message;
  EXPECT_EQ((*mesh)->Weights(), (Weights{{"primary", 90}, {"canary", 10}}));
  EXPECT_EQ((*mesh)->AppliedWeights(), (Weights{{"primary", 90}, {"canary", 10}}));
  const std::int64_t before = (*mesh)->CountsOf("v2").served;  // while the mesh was waited for
  Load load({.url = (*mesh)->url(), .rate = 200});
  ASSERT_TRUE(load.WaitForMore(1000, seconds(20)));
  load.Stop();
  LoadCounts counts = load.Counts();
  EXPECT_EQ(counts.failed, 0) << ::testing::PrintToString(counts.by_status);
  // Binomial with p = 0.1: five standard deviations of 1000 are 47.
  EXPECT_NEAR(static_cast<double>(counts.by_version["v2"]) / static_cast<double>(counts.completed),
              0.1, 0.05);
  EXPECT_EQ((*mesh)->CountsOf("v2").served - before, counts.by_version["v2"]);
}

TEST(Mesh, CallersFeelAFailingCanary) {
  const auto mesh =
      Mesh::Start({.versions = {"v1", "v2"}, .canary_version = "v2", .canary_weight = 50});
  ASSERT_TRUE(mesh) << mesh.error().message;
  ASSERT_TRUE((*mesh)->Control("v2", "failure_ratio=1&status=503"));
  Load load({.url = (*mesh)->url(), .rate = 200});
  ASSERT_TRUE(load.WaitForMore(400, seconds(20)));
  LoadCounts counts = load.Counts();
  EXPECT_EQ(counts.failed, counts.by_status[503]);
  EXPECT_NEAR(static_cast<double>(counts.failed) / static_cast<double>(counts.completed), 0.5,
              0.15);

  ASSERT_TRUE((*mesh)->WriteSplitter(0));
  ASSERT_TRUE(WaitUntil([&] { return (*mesh)->AppliedWeights()["canary"] == 0; }, seconds(5)));
  ASSERT_TRUE(load.WaitForMore(20, seconds(5)));  // what was on its way
  const auto after = std::chrono::steady_clock::now();
  ASSERT_TRUE(load.WaitForMore(200, seconds(10)));
  EXPECT_EQ(load.Since(after).failed, 0);
}

TEST(Mesh, RetriesHideAFailingCanaryFromItsCallers) {
  const auto mesh = Mesh::Start({.versions = {"v1", "v2"},
                                 .canary_version = "v2",
                                 .canary_weight = 50,
                                 .retry_codes = {500, 503}});
  ASSERT_TRUE(mesh) << mesh.error().message;
  ASSERT_TRUE((*mesh)->Control("v2", "failure_ratio=0.2"));
  Load load({.url = (*mesh)->url(), .rate = 200});
  ASSERT_TRUE(load.WaitForMore(600, seconds(20)));
  // 0.2^4 of 300 fail four times; but Envoy retries only 3 requests of a cluster at a time, and a
  // load that caught up after a pause of the machine exceeds that. Without retries the callers
  // would see every failure of v2.
  const std::int64_t of_canary = (*mesh)->CountsOf("v2").failed;
  EXPECT_GT(of_canary, 20);
  const LoadCounts counts = load.Counts();
  EXPECT_LT(counts.failed, of_canary / 2) << ::testing::PrintToString(counts.by_status);
}

TEST(Mesh, InstancesComeAndGoWithoutAFailedRequest) {
  const auto mesh = Mesh::Start();
  ASSERT_TRUE(mesh) << mesh.error().message;
  Load load({.url = (*mesh)->url(), .rate = 100});
  const auto second = (*mesh)->AddInstance("v1");
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_EQ((*mesh)->InstancesOf("v1"), (std::vector<std::string>{"api-1", "api-2"}));
  ASSERT_TRUE(load.WaitForMore(200, seconds(10)));
  const auto removed = (*mesh)->RemoveInstance("api-1");
  ASSERT_TRUE(removed) << removed.error().message;
  ASSERT_TRUE(load.WaitForMore(100, seconds(10)));
  load.Stop();
  EXPECT_EQ(load.Counts().failed, 0);
}

TEST(Mesh, TwoOfThemStandSideBySide) {
  const auto one = Mesh::Start({.versions = {"v1"}});
  const auto other = Mesh::Start({.versions = {"v2"}});
  ASSERT_TRUE(one) << one.error().message;
  ASSERT_TRUE(other) << other.error().message;
  Load load_one({.url = (*one)->url(), .rate = 50});
  Load load_other({.url = (*other)->url(), .rate = 50});
  ASSERT_TRUE(load_one.WaitForMore(100, seconds(10)));
  ASSERT_TRUE(load_other.WaitForMore(100, seconds(10)));
  EXPECT_EQ(load_one.Counts().by_version.count("v2"), 0U);
  EXPECT_EQ(load_other.Counts().by_version.count("v1"), 0U);
}

TEST(Mesh, KeepsServingWhileConsulStandsStillAndTakesWritesAfterwards) {
  const auto mesh =
      Mesh::Start({.versions = {"v1", "v2"}, .canary_version = "v2", .canary_weight = 50});
  ASSERT_TRUE(mesh) << mesh.error().message;
  Load load({.url = (*mesh)->url(), .rate = 100});
  ASSERT_TRUE(load.WaitForMore(50, seconds(10)));
  (*mesh)->consul().Pause();
  ASSERT_TRUE(load.WaitForMore(300, seconds(10)));
  EXPECT_FALSE((*mesh)->consul().Get("/v1/status/leader"));
  EXPECT_EQ(load.Counts().failed, 0);
  // Checks that were running when it stood still count as timed out: it may call instances critical
  // for a moment.
  (*mesh)->consul().Continue();
  ASSERT_TRUE(WaitUntil([&] { return (*mesh)->WriteSplitter(0).has_value(); }, seconds(20)));
  EXPECT_TRUE(WaitUntil([&] { return (*mesh)->AppliedWeights()["canary"] == 0; }, seconds(20)));
}

TEST(Mesh, GoesOnAfterConsulWasKilled) {
  const auto mesh = Mesh::Start({.consul = {.persistent = true}});
  ASSERT_TRUE(mesh) << mesh.error().message;
  (*mesh)->consul().Kill();
  EXPECT_TRUE((*mesh)->consul().http().Answers((*mesh)->url()));
  const auto restarted = (*mesh)->consul().Restart();
  ASSERT_TRUE(restarted) << restarted.error().message;
  EXPECT_TRUE(
      WaitUntil([&] { return (*mesh)->consul().PassingSidecars("api") == 1; }, seconds(10)));
  EXPECT_TRUE(
      WaitUntil([&] { return (*mesh)->consul().http().Answers((*mesh)->url()); }, seconds(10)));
  EXPECT_EQ((*mesh)->Weights(), (Weights{{"primary", 100}, {"canary", 0}}));
}

TEST(Mesh, WorksWithDenyByDefault) {
  const auto mesh = Mesh::Start({.consul = {.token = "8a4f2f8e-0000-4000-8000-000000000001"}});
  ASSERT_TRUE(mesh) << mesh.error().message;
  EXPECT_TRUE((*mesh)->consul().http().Answers((*mesh)->url()));
}

}  // namespace
}  // namespace consul_canary::testing
