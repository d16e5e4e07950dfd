#include "analyzer/api/waiting_room.h"

namespace consul_canary::api {

WaitingRoom::WaitingRoom(std::size_t workers)
    : seats_(workers - workers / 4), for_readers_(workers / 2) {}

WaitingRoom::Seat::~Seat() {
  if (room_ == nullptr) return;
  const std::scoped_lock lock(room_->mutex_);
  --room_->taken_;
}

base::Result<WaitingRoom::Seat> WaitingRoom::Enter(Visitor visitor) {
  const std::scoped_lock lock(mutex_);
  if (taken_ >= (visitor == Visitor::kReader ? for_readers_ : seats_)) {
    return base::Fail(base::ErrorCode::kUnavailable,
                      "too many requests wait for Consul's answers; try again");
  }
  ++taken_;
  return Seat(*this);
}

}  // namespace consul_canary::api
