// Blocking use of the asynchronous Consul client by server workers: posts the call to the loop and
// waits for its answer.
#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <utility>

#include "exporter/consul/client.h"

namespace consul_canary::control {

// Never call this on the loop's own thread. kUnavailable when no answer comes in time.
template <class T>
[[nodiscard]] base::Result<T> Await(base::IoLoop& loop,
                                    std::function<void(consul::Reply<T>)> start) {
  constexpr base::seconds kLongest{10};
  auto promise = std::make_shared<std::promise<base::Result<T>>>();
  auto answer = promise->get_future();
  loop.Post([promise, start = std::move(start)] {
    start([promise](base::Result<T> result) { promise->set_value(std::move(result)); });
  });
  if (answer.wait_for(kLongest) != std::future_status::ready) {
    return base::Fail(base::ErrorCode::kUnavailable, "Consul: no answer in time");
  }
  return answer.get();
}

}  // namespace consul_canary::control
