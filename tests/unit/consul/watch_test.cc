#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "exporter/consul/client.h"
#include "tests/unit/consul/await.h"
#include "tests/unit/consul/scripted_consul.h"

namespace consul_canary::consul {
namespace {

using base::HttpResponse;
using base::milliseconds;
using base::Result;
using ::testing::ElementsAre;
using ::testing::SizeIs;
using Parameters = std::map<std::string, std::string>;

// Of a question that has no index: not what a server knows that is still starting.
const Parameters kWhole{{"consistent", ""}};

base::ServerResponse Indexed(std::string index, std::string body) {
  return {.body = std::move(body), .headers = {{"X-Consul-Index", std::move(index)}}};
}

class WatchTest : public ::testing::Test {
 protected:
  WatchTest() {
    Settings settings;
    settings.address = consul_.Address();
    client_ = std::make_unique<Client>(io_.loop(), settings);
  }
  ~WatchTest() override {
    io_.Stop();
    watch_.reset();
  }

  void Watch(std::string path, milliseconds min_interval = milliseconds{0}) {
    io_.loop().Post([this, path, min_interval] {
      watch_ = client_->WatchPath("config", path, min_interval,
                                  [this](const Result<HttpResponse>& answer) { Deliver(answer); });
    });
  }

  void Deliver(const Result<HttpResponse>& answer) {
    const std::lock_guard lock(mutex_);
    deliveries_.push_back(answer ? std::to_string(answer->status) + " " + answer->body
                                 : "error " + answer.error().message);
    changed_.notify_all();
  }

  std::vector<std::string> Deliveries() {
    const std::lock_guard lock(mutex_);
    return deliveries_;
  }

  std::vector<std::string> WaitForDeliveries(std::size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds{20},
                                  [&] { return deliveries_.size() >= count; }));
    return deliveries_;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> deliveries_;
  ScriptedConsul consul_;
  base::IoThread io_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<consul::Watch> watch_;
};

TEST_F(WatchTest, DeliversEachAnswerWhoseIndexHasMoved) {
  consul_.Answer(Indexed("5", "a"));
  consul_.Answer(Indexed("6", "b"));
  Watch("/v1/config/service-splitter");
  const auto requests = consul_.WaitForRequests(3);
  EXPECT_THAT(Deliveries(), ElementsAre("200 a", "200 b"));
  EXPECT_EQ(requests[0].query, kWhole);
  EXPECT_EQ(requests[1].query, (Parameters{{"index", "5"}, {"wait", "60s"}}));
  EXPECT_EQ(requests[2].query, (Parameters{{"index", "6"}, {"wait", "60s"}}));
}

TEST_F(WatchTest, KeepsThePathsOwnQuery) {
  consul_.Answer(Indexed("5", "a"));
  Watch("/v1/health/service/api?merge-central-config");
  EXPECT_EQ(consul_.WaitForRequests(2)[1].query,
            (Parameters{{"merge-central-config", ""}, {"index", "5"}, {"wait", "60s"}}));
}

TEST_F(WatchTest, DeliversNothingWhileTheIndexStays) {
  consul_.Answer(Indexed("5", "a"));
  consul_.Answer(Indexed("5", "a"));
  consul_.Answer(Indexed("5", "a"));
  Watch("/v1/config/service-splitter");
  (void)consul_.WaitForRequests(4);
  EXPECT_THAT(Deliveries(), ElementsAre("200 a"));
}

TEST_F(WatchTest, BeginsAnewWhenTheIndexGoesBackwards) {
  consul_.Answer(Indexed("9", "a"));
  consul_.Answer(Indexed("3", "restored"));
  consul_.Answer(Indexed("3", "restored"));
  Watch("/v1/config/service-splitter");
  const auto requests = consul_.WaitForRequests(4);
  EXPECT_THAT(Deliveries(), ElementsAre("200 a", "200 restored"));
  EXPECT_EQ(requests[2].query, kWhole);
  EXPECT_EQ(requests[3].query.at("index"), "3");
}

TEST_F(WatchTest, NeverAsksWithAnIndexBelowOne) {
  consul_.Answer(Indexed("0", "a"));
  Watch("/v1/config/service-splitter");
  EXPECT_EQ(consul_.WaitForRequests(2)[1].query.at("index"), "1");
}

TEST_F(WatchTest, DeliversAnErrorOnceAndThenTheRecovery) {
  consul_.Answer(Indexed("5", "a"));
  consul_.Answer({.status = 500, .body = "No cluster leader"});
  consul_.Answer({.status = 500, .body = "No cluster leader"});
  consul_.Answer(Indexed("5", "a"));
  Watch("/v1/config/service-splitter");
  const auto requests = consul_.WaitForRequests(5);
  EXPECT_THAT(Deliveries(),
              ElementsAre("200 a", "error GET /v1/config/service-splitter: 500 No cluster leader",
                          "200 a"));
  EXPECT_EQ(requests[2].query, kWhole) << "the index of before an error means nothing";
  EXPECT_EQ(requests[4].query.at("index"), "5");
}

TEST_F(WatchTest, DeliversAnAbsentThingAsAnAnswer) {
  base::ServerResponse absent = Indexed("5", "not found");
  absent.status = 404;
  consul_.Answer(absent);
  Watch("/v1/kv/x");
  EXPECT_THAT(WaitForDeliveries(1), ElementsAre("404 not found"));
  EXPECT_EQ(consul_.WaitForRequests(2)[1].query.at("index"), "5");
}

TEST_F(WatchTest, AsksLaterAfterEachFailure) {
  for (const int status : {500, 429, 403, 500}) {
    consul_.Answer({.status = status, .body = "no"});
  }
  const auto begin = std::chrono::steady_clock::now();
  Watch("/v1/config/service-splitter");
  (void)consul_.WaitForRequests(3);
  // 500 ms and twice as long; a busy machine only makes it longer.
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds{1500});
}

TEST_F(WatchTest, TellsAnErrorOfAnotherCode) {
  consul_.Answer({.status = 500, .body = "down"});
  consul_.Answer({.status = 503, .body = "down still"});
  consul_.Answer({.status = 403, .body = "not you"});
  Watch("/v1/config/service-splitter");
  EXPECT_THAT(WaitForDeliveries(2),
              ElementsAre("error GET /v1/config/service-splitter: 500 down",
                          "error GET /v1/config/service-splitter: 403 not you"));
}

// An answer without an index must not be asked for in a tight loop.
TEST_F(WatchTest, AsksOnceASecondWhereAnIndexIsMissingOrNoNumber) {
  consul_.Answer({.body = "a"});
  consul_.Answer(Indexed("9x", "b"));
  const auto begin = std::chrono::steady_clock::now();
  Watch("/v1/config/service-splitter");
  const auto requests = consul_.WaitForRequests(3);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds{2000});
  EXPECT_EQ(requests[2].query, kWhole);
  EXPECT_THAT(Deliveries(), ElementsAre("200 a", "200 b"));
}

// Numbers; anything else is refused.
class WatchValueTest : public WatchTest {
 protected:
  void WatchNumbers() {
    const auto read = [](std::string_view body) -> Result<int> {
      if (body.empty() || body.find_first_not_of("0123456789") != std::string_view::npos) {
        return base::Fail(base::ErrorCode::kInvalid, "no number");
      }
      return std::stoi(std::string(body));
    };
    io_.loop().Post([this, read] {
      client_ = std::make_unique<Client>(
          io_.loop(), client_->settings(),
          [this](std::string_view operation, std::string_view result) {
            const std::lock_guard lock(mutex_);
            observed_.push_back(std::string(operation) + " " + std::string(result));
          });
      watch_ = client_->WatchValue<int>(
          "config", "/v1/config/service-splitter", milliseconds{0}, read,
          [this](const Result<int>& number) {
            const std::lock_guard lock(mutex_);
            deliveries_.push_back(number ? std::to_string(*number) : number.error().message);
            changed_.notify_all();
          });
    });
  }

  std::vector<std::string> observed_;
};

TEST_F(WatchValueTest, TakesABodyThatIsRefusedForAFailure) {
  consul_.Answer(Indexed("5", "1"));
  consul_.Answer(Indexed("6", "<html>"));
  consul_.Answer(Indexed("6", "<html>"));
  consul_.Answer(Indexed("6", "2"));
  WatchNumbers();
  EXPECT_THAT(WaitForDeliveries(3),
              ElementsAre("1", "GET /v1/config/service-splitter: no number", "2"));
  // What was refused is asked for anew, without its index.
  EXPECT_EQ(consul_.WaitForRequests(5)[2].query, kWhole);
  const std::lock_guard lock(mutex_);
  EXPECT_THAT(observed_, ElementsAre("config ok", "config invalid", "config invalid", "config ok"));
}

TEST_F(WatchValueTest, TakesAbsenceForAFailure) {
  consul_.Answer({.status = 404, .body = "nothing here"});
  WatchNumbers();
  EXPECT_THAT(WaitForDeliveries(1),
              ElementsAre("GET /v1/config/service-splitter: 404 nothing here"));
}

TEST_F(WatchTest, AsksAtMostOnceInEachInterval) {
  for (int i = 1; i <= 4; ++i) consul_.Answer(Indexed(std::to_string(i), "a"));
  const auto begin = std::chrono::steady_clock::now();
  Watch("/v1/config/service-splitter", milliseconds{40});
  EXPECT_THAT(WaitForDeliveries(4), SizeIs(4));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds{120});
}

TEST_F(WatchTest, MayBeDestroyedInItsOwnCallback) {
  consul_.Answer(Indexed("5", "a"));
  consul_.Answer(Indexed("6", "b"));
  io_.loop().Post([this] {
    watch_ = client_->WatchPath("config", "/v1/config/service-splitter", milliseconds{0},
                                [this](const Result<HttpResponse>& answer) {
                                  watch_.reset();
                                  Deliver(answer);
                                });
  });
  EXPECT_THAT(WaitForDeliveries(1), SizeIs(1));
  (void)Await<std::vector<KvPair>>(io_.loop(), [this](auto reply) { client_->KvList("x", reply); });
  EXPECT_THAT(Deliveries(), SizeIs(1));
  EXPECT_EQ(consul_.WaitForRequests(2)[1].path, "/v1/kv/x");
}

TEST_F(WatchTest, EndsItsQueryWhenItIsDestroyed) {
  Watch("/v1/config/service-splitter");
  (void)consul_.WaitForRequests(1);
  (void)Await<bool>(io_.loop(), [this](const auto& reply) {
    watch_.reset();
    reply(true);
  });
  consul_.Release();  // only now: an answer might be read before what was posted
  (void)Await<std::vector<KvPair>>(io_.loop(), [this](auto reply) { client_->KvList("x", reply); });
  EXPECT_THAT(Deliveries(), SizeIs(0));
}

TEST_F(WatchTest, OutlivesItsClientWithoutHarm) {
  consul_.Answer(Indexed("5", "a"));
  Watch("/v1/config/service-splitter");
  (void)consul_.WaitForRequests(2);
  io_.loop().Post([this] { client_.reset(); });
  consul_.Release();
  io_.Stop();
  // The request that was under way may still have been answered.
  EXPECT_EQ(Deliveries().front(), "200 a");
}

}  // namespace
}  // namespace consul_canary::consul
