#include "exporter/metrics/troubles.h"

#include <gtest/gtest.h>

#include "exporter/metrics/totals.h"
#include "tests/unit/metrics/example.h"

namespace consul_canary::metrics {
namespace {

envoy::SubsetCounters WithTroubles(std::uint64_t timeouts, std::uint64_t connect_failures,
                                   std::uint64_t ejections) {
  envoy::SubsetCounters counters;
  counters.timeouts = timeouts;
  counters.connect_failures = connect_failures;
  counters.ejections_enforced = ejections;
  return counters;
}

collect::CallerReading CallerWith(const std::string& id, const envoy::SubsetCounters& canary) {
  return Caller(id, envoy::SubsetCounters(), canary);
}

Troubles OfCanary(const Totals& totals) {
  return totals.by_service().at("api").at("canary").troubles;
}

TEST(Troubles, AreWhatIsNewAtEachSidecar) {
  Totals totals;
  totals.Observe(Mesh(Api({CallerWith("a", WithTroubles(100, 200, 300))})));
  totals.Observe(Mesh(Api(
      {CallerWith("a", WithTroubles(101, 202, 303)), CallerWith("b", WithTroubles(50, 50, 50))})));
  totals.Observe(Mesh(Api(
      {CallerWith("a", WithTroubles(101, 202, 304)), CallerWith("b", WithTroubles(51, 50, 50))})));
  EXPECT_EQ(OfCanary(totals), (Troubles{2, 2, 4}));
}

TEST(Troubles, NeverGoDownWhenASidecarRestarts) {
  Totals totals;
  totals.Observe(Mesh(Api({CallerWith("a", WithTroubles(10, 10, 10))})));
  totals.Observe(Mesh(Api({CallerWith("a", WithTroubles(12, 10, 10))})));
  totals.Observe(Mesh(Api({CallerWith("a", WithTroubles(1, 0, 0))})));
  totals.Observe(Mesh(Api({CallerWith("a", WithTroubles(4, 0, 0))})));
  EXPECT_EQ(OfCanary(totals), (Troubles{5, 0, 0}));
}

}  // namespace
}  // namespace consul_canary::metrics
