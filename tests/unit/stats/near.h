// What a process gave after each tick, against literals.
#pragma once

#include <gtest/gtest.h>

#include <vector>

namespace consul_canary::stats {

inline void ExpectNear(const std::vector<double>& actual, const std::vector<double>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    EXPECT_NEAR(actual[i], expected[i], 1e-11) << "tick " << i;
  }
}

}  // namespace consul_canary::stats
