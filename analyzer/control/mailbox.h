// News for one thread that waits, from any other.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <stop_token>
#include <utility>

#include "exporter/base/clock.h"

namespace consul_canary::control {

template <class News>
class Mailbox {
 public:
  void Put(News news) {
    {
      const std::scoped_lock lock(mutex_);
      news_.push_back(std::move(news));
    }
    wake_.notify_one();
  }

  // All that has come, oldest first; waits for it until `until` or a stop.
  [[nodiscard]] std::deque<News> Take(const std::stop_token& stop, base::MonotonicTime until) {
    std::unique_lock lock(mutex_);
    wake_.wait_until(lock, stop, until, [this] { return !news_.empty(); });
    return std::exchange(news_, {});
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::deque<News> news_;
};

}  // namespace consul_canary::control
