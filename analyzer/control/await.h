// Blocking use of the asynchronous Consul client by server workers: posts the call to the loop and
// waits for its answer. Who may wait, so that some workers are always free: waiting_room.h.
#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <utility>

#include "exporter/base/clock.h"
#include "exporter/consul/client.h"

namespace consul_canary::control {

template <class T>
using Answer = std::future<base::Result<T>>;

// Does not wait: several may be under way at once.
template <class T>
[[nodiscard]] Answer<T> Begin(base::IoLoop& loop, std::function<void(consul::Reply<T>)> start) {
  auto promise = std::make_shared<std::promise<base::Result<T>>>();
  auto answer = promise->get_future();
  loop.Post([promise, start = std::move(start)] {
    start([promise](base::Result<T> result) { promise->set_value(std::move(result)); });
  });
  return answer;
}

// Never call this on the loop's own thread. kUnavailable when no answer has come by then.
template <class T>
[[nodiscard]] base::Result<T> Take(Answer<T>& answer, base::MonotonicTime deadline) {
  if (answer.wait_until(deadline) != std::future_status::ready) {
    return base::Fail(base::ErrorCode::kUnavailable, "Consul: no answer in time");
  }
  return answer.get();
}

template <class T>
[[nodiscard]] base::Result<T> Await(base::IoLoop& loop,
                                    std::function<void(consul::Reply<T>)> start) {
  constexpr base::seconds kLongest{10};
  Answer<T> answer = Begin<T>(loop, std::move(start));
  return Take<T>(answer, std::chrono::steady_clock::now() + kLongest);
}

}  // namespace consul_canary::control
