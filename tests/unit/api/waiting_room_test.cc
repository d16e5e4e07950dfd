// Who may wait for Consul, and who is turned away.
#include "analyzer/api/waiting_room.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace consul_canary::api {
namespace {

TEST(WaitingRoom, LeavesAQuarterOfTheWorkersToThoseWhoNeverWaitAndOneToOrders) {
  WaitingRoom room(16);
  std::vector<WaitingRoom::Seat> seats;
  const auto enter = [&room, &seats](Visitor visitor) {
    auto seat = room.Enter(visitor);
    if (seat) seats.push_back(std::move(*seat));
    return seat.has_value();
  };
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(enter(Visitor::kReader)) << i;
  EXPECT_FALSE(enter(Visitor::kReader));
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(enter(Visitor::kOrderer)) << i;
  EXPECT_FALSE(enter(Visitor::kOrderer));
  EXPECT_EQ(room.Enter(Visitor::kOrderer).error().code, base::ErrorCode::kUnavailable);
}

TEST(WaitingRoom, ASeatIsFreeOnceItsHolderHasGone) {
  WaitingRoom room(4);
  for (int i = 0; i < 10; ++i) {
    const auto seat = room.Enter(Visitor::kReader);
    EXPECT_TRUE(seat) << i;
    const auto other = room.Enter(Visitor::kReader);
    EXPECT_TRUE(other) << i;
    EXPECT_FALSE(room.Enter(Visitor::kReader)) << i;
  }
}

}  // namespace
}  // namespace consul_canary::api
