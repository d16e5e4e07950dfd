// How many of the server's workers may wait for Consul at the same time. Where Consul is slow, they
// would all wait, and nobody would answer the health check to which this analyzer's session is
// bound: it would lose its rollouts although nothing is wrong with it.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>

#include "exporter/base/result.h"

namespace consul_canary::api {

enum class Visitor {
  kReader,
  kOrderer,  // orders, alerts, specifications: finds a seat when readers have taken all of theirs
};

// Any thread.
class WaitingRoom {
 public:
  // Of `workers` in all, which are 4 at least: a quarter never waits, another quarter does not for
  // readers.
  explicit WaitingRoom(std::size_t workers);

  // Taken until it is destroyed. The room must outlive it.
  class Seat {
   public:
    explicit Seat(WaitingRoom& room) : room_(&room) {}
    ~Seat();
    Seat(Seat&& other) noexcept : room_(other.room_) { other.room_ = nullptr; }
    Seat(const Seat&) = delete;
    Seat& operator=(const Seat&) = delete;
    Seat& operator=(Seat&&) = delete;

   private:
    WaitingRoom* room_;
  };

  // kUnavailable where all seats are taken. Never blocks.
  [[nodiscard]] base::Result<Seat> Enter(Visitor visitor);

 private:
  const std::size_t seats_;
  const std::size_t for_readers_;
  std::mutex mutex_;       // guards taken_
  std::size_t taken_ = 0;  // by readers or others
};

}  // namespace consul_canary::api
