#include "exporter/metrics/totals.h"

#include <gtest/gtest.h>

#include "tests/unit/metrics/example.h"

namespace consul_canary::metrics {
namespace {

using envoy::Histogram;

SubsetTotals Canary(const Totals& totals) {
  const auto service = totals.by_service().find("api");
  if (service == totals.by_service().end()) return {};
  const auto subset = service->second.find("canary");
  return subset == service->second.end() ? SubsetTotals() : subset->second;
}

collect::MeshSnapshot With(envoy::SubsetCounters canary, int seconds = 100) {
  return Mesh(Api({Caller("a", Counters(0), std::move(canary))}), seconds);
}

TEST(Totals, CountFromTheFirstReadingOn) {
  Totals totals;
  totals.Observe(With(Counters(1000, 400)));
  EXPECT_EQ(Canary(totals).outcomes.completed, 0U);
  totals.Observe(With(Counters(1010, 403)));
  EXPECT_EQ(Canary(totals).outcomes.completed, 10U);
  EXPECT_EQ(ResponsesOf(Canary(totals)), (std::map<int, std::uint64_t>{{200, 7}, {500, 3}}));
}

TEST(Totals, AddUpOverSidecars) {
  Totals totals;
  totals.Observe(
      Mesh(Api({Caller("a", Counters(1), Counters(5)), Caller("b", Counters(1), Counters(50))})));
  totals.Observe(
      Mesh(Api({Caller("a", Counters(1), Counters(7)), Caller("b", Counters(1), Counters(53))})));
  EXPECT_EQ(Canary(totals).outcomes.completed, 5U);
}

TEST(Totals, AddNothingTwice) {
  Totals totals;
  totals.Observe(With(Counters(10)));
  totals.Observe(With(Counters(12)));
  totals.Observe(With(Counters(12)));
  EXPECT_EQ(Canary(totals).outcomes.completed, 2U);
}

TEST(Totals, AddNothingWhereTheSameReadingIsPublishedAgain) {
  Totals totals;
  totals.Observe(With(Counters(10)));
  const collect::MeshSnapshot snapshot = With(Counters(12));
  totals.Observe(snapshot);
  totals.Observe(snapshot);
  EXPECT_EQ(Canary(totals).outcomes.completed, 2U);
}

TEST(Totals, GoOnFromWhereASubsetWasBeforeItWasMissing) {
  const auto without_canary = [] {
    collect::CallerReading caller = Caller("a", Counters(0), Counters(0));
    caller.subsets = {{"primary", Counters(0)}};
    return Mesh(Api({caller}));
  };
  Totals totals;
  totals.Observe(With(Counters(10)));
  totals.Observe(without_canary());
  totals.Observe(With(Counters(13)));
  EXPECT_EQ(Canary(totals).outcomes.completed, 3U);
}

TEST(Totals, CountASubsetFromZeroThatAKnownSidecarShowsForTheFirstTime) {
  collect::CallerReading caller = Caller("a", Counters(0), Counters(0));
  caller.subsets = {{"primary", Counters(0)}};
  Totals totals;
  totals.Observe(Mesh(Api({caller})));
  totals.Observe(With(Counters(4)));
  EXPECT_EQ(Canary(totals).outcomes.completed, 4U);
}

TEST(Totals, DropWhatARestartedSidecarSaysOfAllItsSubsets) {
  const auto mesh = [](std::uint64_t primary, std::uint64_t canary) {
    return Mesh(Api({Caller("a", Counters(primary), Counters(canary))}));
  };
  Totals totals;
  totals.Observe(mesh(1000, 10));
  totals.Observe(mesh(20, 12));  // the canary's count passed what it was before the restart
  EXPECT_EQ(Canary(totals).outcomes.completed, 0U);
  totals.Observe(mesh(21, 15));
  EXPECT_EQ(Canary(totals).outcomes.completed, 3U);
}

TEST(Totals, NeverGoDownWhenASidecarRestarts) {
  Totals totals;
  totals.Observe(With(Counters(10)));
  totals.Observe(With(Counters(30)));
  totals.Observe(With(Counters(3)));
  EXPECT_EQ(Canary(totals).outcomes.completed, 20U);
  totals.Observe(With(Counters(4)));
  EXPECT_EQ(Canary(totals).outcomes.completed, 21U);
}

TEST(Totals, CarryOnWhenASidecarComesBackWithinTenMinutes) {
  Totals totals;
  totals.Observe(With(Counters(10), 0));
  totals.Observe(Mesh(Api({}), 599));
  totals.Observe(With(Counters(15), 600));
  EXPECT_EQ(Canary(totals).outcomes.completed, 5U);
}

TEST(Totals, ForgetASidecarAfterTenMinutes) {
  Totals totals;
  totals.Observe(With(Counters(10), 0));
  totals.Observe(Mesh(Api({}), 601));
  totals.Observe(With(Counters(15), 602));
  EXPECT_EQ(Canary(totals).outcomes.completed, 0U);
}

TEST(Totals, VanishWithTheService) {
  Totals totals;
  totals.Observe(With(Counters(10)));
  totals.Observe(With(Counters(12)));
  totals.Observe(collect::MeshSnapshot());
  EXPECT_TRUE(totals.by_service().empty());
}

TEST(Totals, IgnoreASidecarThatWasNeverRead) {
  collect::CallerReading caller = Caller("a", Counters(1), Counters(1));
  caller.scraped_at.reset();
  Totals totals;
  totals.Observe(Mesh(Api({caller})));
  caller.scraped_at = At(100);
  totals.Observe(Mesh(Api({caller})));
  EXPECT_EQ(Canary(totals).outcomes.completed, 0U);
}

TEST(Totals, AddUpTheTimesOfRequests) {
  Totals totals;
  totals.Observe(With(Counters(10, 0, 1)));
  totals.Observe(With(Counters(30, 0, 5)));
  EXPECT_EQ(Canary(totals).request_time, (Histogram{{{25, 16}, {kInfinity, 20}}, 200, 20}));
}

// On a real Envoy a rebuilt cluster's histogram starts anew while its counters go on.
TEST(Totals, GoOnCountingTimesWhenOnlyTheHistogramRestarts) {
  Totals totals;
  totals.Observe(With(Counters(100)));
  envoy::SubsetCounters rebuilt = Counters(104);
  rebuilt.request_time = Histogram{{{25, 1}, {kInfinity, 3}}, 120, 3};
  totals.Observe(With(rebuilt));
  EXPECT_EQ(Canary(totals).outcomes.completed, 4U);
  EXPECT_EQ(Canary(totals).request_time, rebuilt.request_time);
}

// With failover the caller's canary counters hold the primary's answers too.
class TotalsWithFailover : public ::testing::Test {
 protected:
  static collect::MeshSnapshot With(std::uint64_t at_callers, std::uint64_t at_instance,
                                    std::vector<std::string> subsets) {
    collect::ServiceSnapshot api = Api({Caller("a", Counters(0), Counters(at_callers))});
    api.resolver->has_failover = true;
    collect::ServerReading server;
    server.id = "n1/api-2-proxy";
    server.subsets = std::move(subsets);
    server.scraped_at = At(100);
    server.local_app = Counters(at_instance);
    api.servers = {server};
    return Mesh(api);
  }
};

TEST_F(TotalsWithFailover, CountAtTheInstancesOwnSidecars) {
  Totals totals;
  totals.Observe(With(0, 10, {"canary"}));
  totals.Observe(With(100, 13, {"canary"}));
  EXPECT_EQ(Canary(totals).outcomes.completed, 3U);
  EXPECT_EQ(Canary(totals).request_time.count, 3U);
}

TEST_F(TotalsWithFailover, LeaveAnInstancesPastInTheSubsetThatItHadThen) {
  Totals totals;
  totals.Observe(With(0, 10, {"primary"}));
  totals.Observe(With(0, 50, {"primary"}));
  totals.Observe(With(0, 60, {"canary"}));
  EXPECT_EQ(Canary(totals).outcomes.completed, 0U);
  totals.Observe(With(0, 64, {"canary"}));
  EXPECT_EQ(Canary(totals).outcomes.completed, 4U);
}

TEST_F(TotalsWithFailover, LeaveOutWhatAnInstanceCountedElsewhereWhenItComesBackToASubset) {
  Totals totals;
  totals.Observe(With(0, 10, {"canary"}));
  totals.Observe(With(0, 20, {"canary"}));
  totals.Observe(With(0, 20, {"primary"}));
  totals.Observe(With(0, 120, {"primary"}));
  totals.Observe(With(0, 120, {"canary"}));
  totals.Observe(With(0, 121, {"canary"}));
  EXPECT_EQ(Canary(totals).outcomes.completed, 11U);
}

TEST_F(TotalsWithFailover, CountRetriesAndTroublesAtTheCallersStill) {
  const auto with = [](std::uint64_t retries, std::uint64_t ejections) {
    collect::ServiceSnapshot api = Api({});
    api.resolver->has_failover = true;
    envoy::SubsetCounters canary = Counters(100 + retries);
    canary.has_failover = true;
    canary.retries = retries;
    canary.retry_success = retries;
    canary.ejections_enforced = ejections;
    api.callers = {Caller("a", Counters(0), std::move(canary))};
    return Mesh(api);
  };
  Totals totals;
  totals.Observe(with(1, 1));
  totals.Observe(with(4, 3));
  EXPECT_EQ(Canary(totals).retries, 3U);
  EXPECT_EQ(Canary(totals).saved, 3U);
  EXPECT_EQ(Canary(totals).troubles.ejections, 2U);
  EXPECT_EQ(Canary(totals).outcomes, envoy::OutcomeCounters());
  EXPECT_TRUE(Canary(totals).request_time.buckets.empty());
}

TEST_F(TotalsWithFailover, TellWhatCallersSawOfTheServiceAsAWhole) {
  const auto with = [](std::uint64_t primary, std::uint64_t canary, std::uint64_t failed) {
    collect::ServiceSnapshot api = Api({Caller("a", Counters(primary), Counters(canary, failed))});
    api.resolver->has_failover = true;
    return Mesh(api);
  };
  Totals totals;
  totals.Observe(with(1000, 1000, 0));
  totals.Observe(with(1010, 1020, 3));
  const envoy::OutcomeCounters& seen = totals.seen_by_callers().at("api");
  EXPECT_EQ(seen.completed, 30U);
  EXPECT_EQ(seen.responses.at(500), 3U);
}

TEST_F(TotalsWithFailover, TellWhatEachInstanceCountedInItsSubset) {
  Totals totals;
  totals.Observe(With(0, 10, {"canary"}));
  totals.Observe(With(0, 14, {"canary"}));
  const SubsetTotals* counted = totals.OfInstance("api", "n1/api-2-proxy", "canary");
  ASSERT_NE(counted, nullptr);
  EXPECT_EQ(counted->outcomes.completed, 4U);
  EXPECT_EQ(totals.OfInstance("api", "n1/api-2-proxy", "primary"), nullptr);
  EXPECT_EQ(totals.OfInstance("api", "n1/api-1-proxy", "canary"), nullptr);
  EXPECT_EQ(totals.OfInstance("web", "n1/api-2-proxy", "canary"), nullptr);
  totals.Observe(With(0, 2, {"canary"}));  // its sidecar restarted: what it lost is not known
  totals.Observe(With(0, 3, {"canary"}));
  EXPECT_EQ(totals.OfInstance("api", "n1/api-2-proxy", "canary")->outcomes.completed, 5U);
  totals.Observe(With(0, 4, {"primary"}));
  EXPECT_EQ(totals.OfInstance("api", "n1/api-2-proxy", "canary"), nullptr);
}

// What was counted at the instances must not come again from the callers, nor the other way round.
TEST_F(TotalsWithFailover, CountNothingTwiceWhenItComesAndGoes) {
  const auto with = [](bool failover, std::uint64_t counted) {
    collect::MeshSnapshot mesh = With(counted, counted, {"canary"});
    collect::ServiceSnapshot api = *mesh.services.at("api");
    api.resolver->has_failover = failover;
    return Mesh(api);
  };
  Totals totals;
  totals.Observe(with(false, 0));
  totals.Observe(with(false, 10));
  totals.Observe(with(true, 20));  // the first reading of the instances
  totals.Observe(with(true, 30));
  EXPECT_EQ(Canary(totals).outcomes.completed, 20U);
  totals.Observe(with(false, 40));
  EXPECT_EQ(Canary(totals).outcomes.completed, 30U);
  totals.Observe(with(true, 50));
  EXPECT_EQ(Canary(totals).outcomes.completed, 30U);
  EXPECT_EQ(totals.seen_by_callers().at("api").completed, 50U);
}

// A sidecar takes its failover clusters away a moment after the resolver has none any more.
TEST(Totals, TakeNothingFromACallerThatStillHasFailover) {
  const auto with = [](std::uint64_t primary, std::uint64_t canary, bool has_failover) {
    envoy::SubsetCounters counters = Counters(canary);
    counters.has_failover = has_failover;
    return Mesh(Api({Caller("a", Counters(primary), std::move(counters))}));
  };
  Totals totals;
  totals.Observe(with(0, 0, true));
  totals.Observe(with(5, 100, true));
  totals.Observe(with(10, 200, false));  // in part from before
  EXPECT_EQ(Canary(totals).outcomes.completed, 0U);
  EXPECT_EQ(totals.by_service().at("api").at("primary").outcomes.completed, 10U);
  totals.Observe(with(10, 207, false));
  EXPECT_EQ(Canary(totals).outcomes.completed, 7U);
}

// Of ids that begin alike each forgets its own past alone.
TEST_F(TotalsWithFailover, KeepInstancesApartWhoseIdsBeginAlike) {
  const auto with = [](std::uint64_t counted, const std::string& moved_to) {
    collect::ServiceSnapshot api = Api({});
    api.resolver->has_failover = true;
    for (const char* id : {"n1/a", "n1/a b", "n1/a2"}) {
      collect::ServerReading server;
      server.id = id;
      server.subsets = {server.id == "n1/a" ? moved_to : "canary"};
      server.scraped_at = At(100);
      server.local_app = Counters(counted);
      api.servers.push_back(server);
    }
    return Mesh(api);
  };
  Totals totals;
  totals.Observe(with(10, "canary"));
  totals.Observe(with(20, "canary"));
  EXPECT_EQ(Canary(totals).outcomes.completed, 30U);
  totals.Observe(with(25, "primary"));
  EXPECT_EQ(Canary(totals).outcomes.completed, 40U);
  totals.Observe(with(125, "canary"));
  EXPECT_EQ(Canary(totals).outcomes.completed, 240U);
}

TEST(ResponsesOf, HasTheCodesOfCallsThatAreCountedByStatus) {
  Totals totals;
  totals.Observe(Mesh(Api({Caller("a", {}, {}), Caller("b", {}, {})})));
  envoy::SubsetCounters calls = Counters(7);
  calls.grpc_statuses = {{0, 4}, {13, 3}};
  totals.Observe(Mesh(Api({Caller("a", {}, calls), Caller("b", {}, Counters(10, 2))})));
  EXPECT_EQ(ResponsesOf(Canary(totals)), (std::map<int, std::uint64_t>{{200, 15}, {500, 2}}));
  EXPECT_EQ(Canary(totals).outcomes.completed, 17U);
  EXPECT_EQ(Canary(totals).outcomes.responses, (std::map<int, std::uint64_t>{{200, 8}, {500, 2}}));
}

TEST(NewSince, SubtractsBucketByBucket) {
  EXPECT_EQ(NewSince({{{1, 5}, {2, 9}}, 30, 9}, {{{1, 2}, {2, 4}}, 10, 4}),
            (Histogram{{{1, 3}, {2, 5}}, 20, 5}));
}

TEST(NewSince, TakesAHistogramWithOtherBoundsAsRestarted) {
  const Histogram later{{{3, 5}}, 30, 5};
  EXPECT_EQ(NewSince(later, {{{1, 2}}, 10, 2}), later);
}

TEST(AddHistogram, KeepsCountsCumulativeWhereBoundsDiffer) {
  Histogram sum{{{10, 4}, {kInfinity, 6}}, 60, 6};
  AddHistogram({{{5, 1}, {20, 2}, {kInfinity, 3}}, 30, 3}, sum);
  EXPECT_EQ(sum, (Histogram{{{5, 1}, {10, 5}, {20, 6}, {kInfinity, 9}}, 90, 9}));
}

}  // namespace
}  // namespace consul_canary::metrics
