// The exporter against a real mesh: what it shows is what callers, applications and Consul know.
#include <gtest/gtest.h>

#include <csignal>
#include <functional>
#include <string>
#include <utility>

#include "tests/e2e/exporter_mesh.h"
#include "tests/support/load.h"

namespace consul_canary::testing {
namespace {

TEST_F(ExporterTest, CountsWhatCallersAndApplicationsSawInEveryView) {
  Begin({.versions = {"v1", "v2"},
         .canary_version = "v2",
         .canary_weight = 50,
         .retry_codes = {500, 503},
         .retries = 1});
  const AppCounts before = mesh_->CountsOf("v2");
  ASSERT_TRUE(mesh_->Control("v2", "failure_ratio=0.4"));
  Load load({.url = mesh_->url(), .rate = 200});
  ASSERT_TRUE(load.WaitForMore(800, seconds(20)));
  load.Stop();
  const LoadCounts seen = load.Counts();
  const AppCounts after = mesh_->CountsOf("v2");
  const auto sum = [](const Page& page, std::string_view name, std::string_view subset,
                      std::string_view view) {
    return page.Sum(name, {{"service_name", "api"}, {"subset", subset}, {"view", view}})
        .value_or(0);
  };
  constexpr std::string_view kRequests = "consul_canary_requests_total";
  constexpr std::string_view kFailures = "consul_canary_request_failures_total";
  ASSERT_TRUE(WaitFor([&](const Page& page) {
    return sum(page, kRequests, "primary", "requests") +
               sum(page, kRequests, "canary", "requests") ==
           static_cast<double>(seen.completed);
  }));
  const Page page = Metrics();
  const double canary_requests = sum(page, kRequests, "canary", "requests");
  const auto final_canary = seen.by_version.at("v2");
  EXPECT_EQ(canary_requests, static_cast<double>(final_canary));
  EXPECT_EQ(sum(page, kRequests, "canary", "first-try"), canary_requests);
  EXPECT_EQ(sum(page, kFailures, "canary", "requests"), static_cast<double>(seen.failed));
  EXPECT_EQ(sum(page, kRequests, "canary", "attempts"),
            static_cast<double>(after.served - before.served));
  EXPECT_EQ(sum(page, kFailures, "canary", "attempts"),
            static_cast<double>(after.failed - before.failed));
  // One retry each: it saved the request, or the request failed in the end. (A failed first try may
  // also stay without a retry: Envoy lets three run at once.)
  const auto failed = static_cast<double>(seen.failed);
  const double saved = sum(page, kFailures, "canary", "first-try") - failed;
  const double retries = static_cast<double>(after.served - before.served) - canary_requests;
  EXPECT_LE(saved, retries);
  EXPECT_GE(saved, retries - failed);
  EXPECT_EQ(sum(page, kFailures, "primary", "first-try"), 0);
}

TEST_F(ExporterTest, FollowsASplitterWriteUpToTheSidecars) {
  Begin({.versions = {"v1", "v2"}, .canary_version = "v2"});
  const auto shows = [](double ratio) {
    return [ratio](const Page& page) {
      return page.Sum("consul_canary_split_weight_ratio", {{"role", "canary"}}) == ratio &&
             page.Sum("consul_canary_applied_weight_ratio", {{"subset", "canary"}}) == ratio &&
             page.Sum("consul_canary_sidecars_applied_ratio", {{"service_name", "api"}}) == 1;
    };
  };
  ASSERT_TRUE(WaitFor(shows(0)));
  ASSERT_TRUE(mesh_->WriteSplitter(25));
  ASSERT_TRUE(WaitFor(shows(0.25)));
  ASSERT_TRUE(mesh_->WriteSplitter(0));
  ASSERT_TRUE(WaitFor(shows(0)));
}

TEST_F(ExporterTest, ServesMetricsThatPromtoolHasNothingToSayAbout) {
  Begin({});
  ExpectNothingToSayForPromtool(Metrics(), mesh_->consul().folder());
}

TEST_F(ExporterTest, ShowsACanaryThatIsGone) {
  Begin({.versions = {"v1", "v2"}, .canary_version = "v2"});
  const auto canaries = [](double count) {
    return [count](const Page& page) {
      return page.Sum("consul_canary_instances", {{"subset", "canary"}, {"health", "passing"}}) ==
             count;
    };
  };
  ASSERT_TRUE(WaitFor(canaries(1)));
  ASSERT_TRUE(mesh_->RemoveInstance(mesh_->InstancesOf("v2").front()));
  ASSERT_TRUE(WaitFor(canaries(0)));
}

TEST_F(ExporterTest, StaysUpWithoutConsulAndSaysSo) {
  Begin({});
  mesh_->consul().Kill();
  ASSERT_TRUE(WaitFor([](const Page& page) {
    return page.Sum("consul_canary_consul_requests_total", {{"result", "unavailable"}}) > 0;
  }));
  const Http& http = mesh_->consul().http();
  EXPECT_TRUE(http.Answers(exporter_->address() + "/-/healthy"));
  EXPECT_EQ(Metrics().Sum("consul_canary_split_weight_ratio", {{"role", "primary"}}), 1);
}

TEST_F(ExporterTest, EndsWithZeroOnSigterm) {
  Begin({});
  exporter_->process().Signal(SIGHUP);  // reloads, and must not end it
  EXPECT_TRUE(mesh_->consul().http().Answers(exporter_->address() + "/-/healthy"));
  EXPECT_EQ(exporter_->Stop(), 0);
}

}  // namespace
}  // namespace consul_canary::testing
