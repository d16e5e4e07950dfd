#include "analyzer/control/managed.h"

#include <gtest/gtest.h>

namespace consul_canary::control {
namespace {

TEST(Managed, StoresDecisionsTakenOrdersAndWhatIsWantedBeforeAnythingIsWritten) {
  const rollout::State before;
  EXPECT_FALSE(MustStore(before, {.state = before}));
  rollout::State longer = before;
  longer.stage_seconds = 1;
  EXPECT_FALSE(MustStore(before, {.state = longer}));

  EXPECT_TRUE(MustStore(before, {.state = before, .decisions = {{.action = "hold"}}}));
  rollout::State ordered = before;
  ordered.last_order = 1;
  EXPECT_TRUE(MustStore(before, {.state = ordered}));
  // The canary's filter is set without a decision.
  rollout::State wants = before;
  wants.wanted.canary_filter = "is v2";
  EXPECT_TRUE(MustStore(before, {.state = wants}));
}

}  // namespace
}  // namespace consul_canary::control
