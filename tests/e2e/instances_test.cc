// With a shield, the instances' own sidecars are the source: what the exporter shows of them is
// what the applications counted, and what it shows of the callers is what these saw.
#include <gtest/gtest.h>

#include <csignal>
#include <string>
#include <string_view>

#include "tests/e2e/exporter_mesh.h"
#include "tests/e2e/shield_entries.h"
#include "tests/support/load.h"

namespace consul_canary::testing {
namespace {

class InstancesTest : public ExporterTest {
 protected:
  [[nodiscard]] bool WaitForShield(std::string_view state) const {
    return WaitFor([state](const Page& page) {
      return page.Sum("consul_canary_shield_callers", {{"subset", "canary"}, {"state", state}}) ==
             1;
    });
  }

  // The caller's sidecar has no failover any more, and its page was read since: what it counts from
  // there on does not fall into the tick in which its counters start anew.
  [[nodiscard]] bool WaitUntilRebuilt() const {
    const auto scrapes = [](const Page& page) {
      return page.Sum("consul_canary_sidecar_scrape_duration_seconds_count", {}).value_or(0);
    };
    const bool rebuilt = WaitUntil(
        [&] {
          const auto page = mesh_->consul().http().Get(mesh_->caller_metrics() + "?usedonly");
          return page && page->find("failover-target~") == std::string::npos;
        },
        seconds(15));
    const double before = scrapes(Metrics());
    const auto sidecars = Metrics().Sum("consul_canary_sidecars", {}).value_or(0);
    return rebuilt &&
           WaitFor([&](const Page& page) { return scrapes(page) >= before + 2 * sidecars; });
  }
};

double Of(const Page& page, std::string_view name, std::string_view subset) {
  return page.Sum(name, {{"service_name", "api"}, {"subset", subset}}).value_or(-1);
}

constexpr std::string_view kAttempts = "consul_canary_instance_attempts_total";
constexpr std::string_view kFailures = "consul_canary_instance_attempt_failures_total";

TEST_F(InstancesTest, CountExactlyWhatTheirApplicationsServed) {
  Begin({.versions = {"v1", "v2", "v2"},
         .canary_version = "v2",
         .canary_weight = 50,
         .retry_codes = {500, 502, 503, 504}});
  ASSERT_TRUE(WriteEjection(mesh_->consul()));
  ASSERT_TRUE(WriteFailover(mesh_->consul(), true));
  ASSERT_TRUE(WaitForShield("shielded"));
  const AppCounts primary_before = mesh_->CountsOf("v1");
  const AppCounts canary_before = mesh_->CountsOf("v2");
  ASSERT_TRUE(mesh_->Control("v1", "failure_ratio=0.02"));
  ASSERT_TRUE(mesh_->Control("v2", "failure_ratio=0.3"));
  const Page before = Metrics();
  Load load({.url = mesh_->url(), .rate = 200});
  ASSERT_TRUE(load.WaitForMore(1000, seconds(20)));
  load.Stop();
  const LoadCounts seen = load.Counts();
  const AppCounts primary = mesh_->CountsOf("v1");
  const AppCounts canary = mesh_->CountsOf("v2");
  ASSERT_GT(canary.failed, canary_before.failed);
  ASSERT_TRUE(WaitFor([&](const Page& page) {
    return Of(page, kAttempts, "primary") + Of(page, kAttempts, "canary") ==
           static_cast<double>(primary.served - primary_before.served + canary.served -
                               canary_before.served);
  }));
  ASSERT_TRUE(WaitFor([&](const Page& page) {
    return page.Sum("consul_canary_caller_requests_total", {}).value_or(0) -
               before.Sum("consul_canary_caller_requests_total", {}).value_or(0) ==
           static_cast<double>(seen.completed);
  }));
  const Page page = Metrics();
  EXPECT_EQ(Of(page, kAttempts, "canary"),
            static_cast<double>(canary.served - canary_before.served));
  EXPECT_EQ(Of(page, kFailures, "canary"),
            static_cast<double>(canary.failed - canary_before.failed));
  EXPECT_EQ(Of(page, kFailures, "primary"),
            static_cast<double>(primary.failed - primary_before.failed));
  EXPECT_EQ(page.Sum(kAttempts, {{"subset", "canary"}, {"code_class", "5xx"}}),
            Of(page, kFailures, "canary"));
  for (const std::string& id : mesh_->InstancesOf("v2")) {
    EXPECT_GT(page.Sum(kAttempts, {{"instance_id", "node-1/" + id}}).value_or(0), 0) << id;
  }
  // The same as outcomes of the subsets: attempts alone.
  const auto outcomes = [&](std::string_view subset, std::string_view view) {
    return page.Sum("consul_canary_requests_total", {{"subset", subset}, {"view", view}});
  };
  EXPECT_EQ(outcomes("canary", "attempts"), Of(page, kAttempts, "canary"));
  EXPECT_FALSE(outcomes("canary", "first-try"));
  EXPECT_FALSE(outcomes("primary", "requests"));
  // And what the callers saw of it all.
  EXPECT_EQ(page.Sum("consul_canary_caller_request_failures_total", {}).value_or(0) -
                before.Sum("consul_canary_caller_request_failures_total", {}).value_or(0),
            static_cast<double>(seen.failed));
  EXPECT_GT(Of(page, "consul_canary_ejections_total", "canary"), 0);
  EXPECT_GT(Of(page, "consul_canary_saved_requests_total", "canary"), 0);
  EXPECT_GE(Of(page, "consul_canary_retries_total", "canary"),
            Of(page, "consul_canary_saved_requests_total", "canary"));
  ExpectNothingToSayForPromtool(page, mesh_->consul().folder());
}

TEST_F(InstancesTest, ShowTheShieldAsFarAsItIsUp) {
  Begin({.versions = {"v1", "v2"}, .canary_version = "v2", .canary_weight = 50});
  const auto fails_over = [](double value) {
    return [value](const Page& page) {
      return Of(page, "consul_canary_shield_failover", "canary") == value;
    };
  };
  ASSERT_TRUE(WaitFor(fails_over(0)));
  EXPECT_FALSE(Metrics().Sum("consul_canary_shield_callers", {}));
  ASSERT_TRUE(WriteFailover(mesh_->consul(), true));
  ASSERT_TRUE(WaitFor(fails_over(1)));
  EXPECT_EQ(Of(Metrics(), "consul_canary_shield_failover", "primary"), 0);
  ASSERT_TRUE(WaitForShield("without-ejection"));
  ASSERT_TRUE(WriteEjection(mesh_->consul()));
  ASSERT_TRUE(WaitForShield("shielded"));
  mesh_->SignalSidecar("web", SIGSTOP);  // its connections are still taken, so its check passes
  ASSERT_TRUE(WaitForShield("unknown"));
  mesh_->SignalSidecar("web", SIGCONT);
  ASSERT_TRUE(WaitForShield("shielded"));
  ASSERT_TRUE(WriteFailover(mesh_->consul(), false));
  ASSERT_TRUE(WaitFor(fails_over(0)));
  EXPECT_FALSE(Metrics().Sum("consul_canary_shield_callers", {}));
}

// Callers' counters of the canary hold the primary's answers while there is failover.
TEST_F(InstancesTest, LeaveTheCallersCountersToWhoHasNoFailover) {
  Begin({.versions = {"v1", "v2"}, .canary_version = "v2", .canary_weight = 50});
  const auto requests = [](const Page& page) {
    return page.Sum("consul_canary_requests_total", {{"view", "requests"}}).value_or(-1);
  };
  const auto seen = [](const Page& page) {
    return page.Sum("consul_canary_caller_requests_total", {}).value_or(-1);
  };
  const auto send = [&] {
    const double before = seen(Metrics());
    Load load({.url = mesh_->url(), .rate = 200});
    EXPECT_TRUE(load.WaitForMore(200, seconds(20)));
    load.Stop();
    const auto sent = static_cast<double>(load.Counts().completed);
    EXPECT_TRUE(WaitFor([&](const Page& page) { return seen(page) - before == sent; }));
    return sent;
  };
  ASSERT_EQ(requests(Metrics()), 0);
  const double first = send();
  EXPECT_EQ(requests(Metrics()), first);
  ASSERT_TRUE(WriteFailover(mesh_->consul(), true));
  ASSERT_TRUE(WaitForShield("without-ejection"));
  const double shielded = send();
  EXPECT_EQ(requests(Metrics()), -1);
  ASSERT_TRUE(WriteFailover(mesh_->consul(), false));
  ASSERT_TRUE(WaitFor([&](const Page& page) { return requests(page) >= 0; }));
  ASSERT_TRUE(WaitUntilRebuilt());
  const double last = send();
  // Attempts at the instances are what stands for the time in between.
  EXPECT_EQ(requests(Metrics()), first + shielded + last);
}

}  // namespace
}  // namespace consul_canary::testing
