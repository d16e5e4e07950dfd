// A server that answers as the test says.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "exporter/base/http_server.h"

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

}  // namespace consul_canary::consul
