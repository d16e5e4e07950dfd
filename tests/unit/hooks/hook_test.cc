// Which rollout an alert means: the hook against a server in Consul's place that has none.
#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "analyzer/hooks/alertmanager.h"
#include "exporter/base/http_server.h"

namespace consul_canary::hooks {
namespace {

// Notes what it is asked for, and has nothing of it.
class EmptyConsul {
 public:
  EmptyConsul() {
    base::ServerOptions options;
    options.listen_addresses = {"127.0.0.1:0"};
    auto server = base::HttpServer::Start(options, [this](const base::ServerRequest& request) {
      const std::scoped_lock lock(mutex_);
      asked_.push_back(request.path);
      return base::ServerResponse{.status = 404};
    });
    EXPECT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }

  [[nodiscard]] std::string address() const {
    return "http://127.0.0.1:" + std::to_string(server_->ports().front());
  }
  std::vector<std::string> asked() {
    const std::scoped_lock lock(mutex_);
    return asked_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> asked_;
  std::unique_ptr<base::HttpServer> server_;  // last: its workers use the others
};

base::ServerRequest AlertOf(const std::string& service_name) {
  return {
      .method = "POST",
      .path = "/hooks/alertmanager",
      .body = R"({"version": "4", "alerts": [{"status": "firing", "labels": {"service_name": ")" +
              service_name +
              R"(", "canary_action": "rollback"}, "startsAt": "2026-11-24T17:00:00Z"}]})",
      .from_loopback = true};
}

struct Hook {
  explicit Hook(api::WaitingRoom& waiting_room) : room(waiting_room) {}
  ~Hook() { io.Stop(); }
  Hook(const Hook&) = delete;
  Hook& operator=(const Hook&) = delete;

  EmptyConsul consul;
  base::IoThread io;
  consul::Client client{io.loop(),
                        {.address = consul.address(), .namespace_name = "team", .partition = "n"}};
  api::Auth auth{{.none_on_loopback = true}};
  api::WaitingRoom& room;
  AlertmanagerHook hook{io.loop(), client, auth, room};
};

TEST(AlertmanagerHook, TakesConsulsNameAndTheRolloutsOwnForOneRollout) {
  for (const std::string service_name : {"api", "n.team.api"}) {
    api::WaitingRoom room(16);
    Hook hook(room);
    const base::ServerResponse answer = hook.hook.Handle(AlertOf(service_name));
    EXPECT_EQ(answer.status, 200) << answer.body;
    EXPECT_NE(answer.body.find(R"(no rollout of \"n.team.api\")"), std::string::npos)
        << answer.body;
    EXPECT_EQ(hook.consul.asked(),
              std::vector<std::string>{"/v1/kv/consul-canary/rollouts/n.team.api/state"});
  }
}

TEST(AlertmanagerHook, IsToBeAskedAgainWhereEveryWorkerThatMayWaitDoes) {
  api::WaitingRoom room(4);
  std::vector<api::WaitingRoom::Seat> seats;
  seats.reserve(3);
  for (int i = 0; i < 3; ++i) seats.push_back(*room.Enter(api::Visitor::kOrderer));
  Hook hook(room);
  EXPECT_EQ(hook.hook.Handle(AlertOf("api")).status, 503);
  EXPECT_EQ(hook.hook.results()["unavailable"], 1U);
  EXPECT_TRUE(hook.consul.asked().empty());
}

}  // namespace
}  // namespace consul_canary::hooks
