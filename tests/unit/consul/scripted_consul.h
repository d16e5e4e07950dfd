// A server that answers as the test says, and the client that asks it.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "exporter/base/http_server.h"
#include "exporter/base/io_loop.h"
#include "exporter/consul/client.h"

namespace consul_canary::consul {

class ScriptedConsul {
 public:
  ScriptedConsul() {
    auto server = base::HttpServer::Start(
        {.listen_addresses = {"127.0.0.1:0"}, .threads = 4},
        [this](const base::ServerRequest& request) { return Serve(request); });
    EXPECT_TRUE(server.has_value());
    server_ = *std::move(server);
  }
  ~ScriptedConsul() { Release(); }
  ScriptedConsul(const ScriptedConsul&) = delete;
  ScriptedConsul& operator=(const ScriptedConsul&) = delete;

  [[nodiscard]] std::string Address() const {
    return "127.0.0.1:" + std::to_string(server_->ports()[0]);
  }

  void Answer(base::ServerResponse response) {
    const std::lock_guard lock(mutex_);
    script_.push_back(std::move(response));
  }

  // What has been asked, once there are `count`; fewer only when that took too long.
  std::vector<base::ServerRequest> WaitForRequests(std::size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds{20},
                                  [&] { return requests_.size() >= count; }));
    return requests_;
  }

  // Ends the requests that the script has no answer for; until then they block.
  void Release() {
    const std::lock_guard lock(mutex_);
    released_ = true;
    changed_.notify_all();
  }

 private:
  base::ServerResponse Serve(const base::ServerRequest& request) {
    std::unique_lock lock(mutex_);
    requests_.push_back(request);
    changed_.notify_all();
    if (script_.empty()) {
      changed_.wait(lock, [&] { return released_; });
      return {.status = 503};
    }
    base::ServerResponse response = std::move(script_.front());
    script_.pop_front();
    return response;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<base::ServerResponse> script_;
  std::vector<base::ServerRequest> requests_;
  bool released_ = false;
  std::unique_ptr<base::HttpServer> server_;  // last: its handlers use what is above
};

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
