// Calls of the client, for tests that wait for their replies.
#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <utility>

#include "exporter/base/io_loop.h"
#include "exporter/base/result.h"
#include "exporter/consul/client.h"

namespace consul_canary::consul {

// Starts a call on the loop's thread and waits for its reply.
template <class T>
base::Result<T> Await(base::IoLoop& loop, std::function<void(Reply<T>)> start) {
  auto promise = std::make_shared<std::promise<base::Result<T>>>();
  auto future = promise->get_future();
  loop.Post([start = std::move(start), promise] {
    start([promise](base::Result<T> result) { promise->set_value(std::move(result)); });
  });
  if (future.wait_for(std::chrono::seconds{20}) != std::future_status::ready) {
    return base::Fail(base::ErrorCode::kInvalid, "no reply");
  }
  return future.get();
}

}  // namespace consul_canary::consul
