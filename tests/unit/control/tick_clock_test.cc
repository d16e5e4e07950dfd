// When a tick is due, and how late it is said to be.
#include "analyzer/control/tick_clock.h"

#include <gtest/gtest.h>

namespace consul_canary::control {
namespace {

using base::milliseconds;
using base::MonotonicTime;

constexpr MonotonicTime kStart{base::seconds(100)};

class TickClockTest : public testing::Test {
 protected:
  // By how many milliseconds the tick that begins so long after the start is late; -1: it does not.
  long Begin(int after_ms, bool round_over) {
    const auto late = clock_.Begin(kStart + milliseconds(after_ms), round_over);
    return late ? std::chrono::duration_cast<milliseconds>(*late).count() : -1;
  }

  TickClock clock_{milliseconds(1000), kStart};
};

TEST_F(TickClockTest, BeginsWithTheEndOfARoundAndIsLateByWhatIsBeyondAnInterval) {
  EXPECT_EQ(Begin(1000, true), 0);
  EXPECT_EQ(Begin(2030, true), 30);
  EXPECT_EQ(Begin(2990, true), 0);  // the next one is due an interval after this one
  EXPECT_EQ(Begin(4000, true), 10);
}

TEST_F(TickClockTest, DoesNotBeginWithNewsNorWithARoundOfOneSidecar) {
  EXPECT_EQ(Begin(900, false), -1);
  EXPECT_EQ(Begin(1499, false), -1);
  EXPECT_EQ(Begin(1499, true), 499);
  EXPECT_EQ(Begin(1998, true), -1);
  EXPECT_EQ(Begin(1999, true), 0);
}

TEST_F(TickClockTest, BeginsWithoutARoundWhenItIsOverdue) {
  EXPECT_EQ(clock_.overdue_at(), kStart + milliseconds(1500));
  EXPECT_EQ(Begin(1500, false), 500);
  EXPECT_EQ(clock_.overdue_at(), kStart + milliseconds(3000));
}

}  // namespace
}  // namespace consul_canary::control
