// A real Consul agent and our client for it, one pair for each test.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "exporter/base/io_loop.h"
#include "exporter/consul/client.h"
#include "exporter/consul/config_entries.h"
#include "tests/support/consul_agent.h"
#include "tests/unit/consul/await.h"

namespace consul_canary::consul {

class ConsulTest : public ::testing::Test {
 protected:
  ~ConsulTest() override {
    if (io_) io_->Stop();
  }

  void StartAgent(testing::ConsulOptions options = {}) {
    auto agent = testing::ConsulAgent::Start(std::move(options));
    ASSERT_TRUE(agent.has_value()) << agent.error().message;
    agent_ = *std::move(agent);
    Connect(agent_->token());
  }

  void Connect(const std::string& token) {
    if (io_) io_->Stop();
    client_.reset();
    io_ = std::make_unique<base::IoThread>();
    Settings settings;
    settings.address = agent_->address();
    settings.token = token;
    client_ = std::make_unique<Client>(io_->loop(), settings);
  }

  // Defaults (http), subsets v1 and v2, and a splitter 90/10 for the service `api`.
  void WriteApi() {
    for (const char* entry :
         {R"({"Kind":"service-defaults","Name":"api","Protocol":"http"})",
          R"({"Kind":"service-resolver","Name":"api","RequestTimeout":"7s","Subsets":{
              "v1":{"Filter":"Service.Meta.version == v1"},
              "v2":{"Filter":"Service.Meta.version == v2"}}})",
          R"({"Kind":"service-splitter","Name":"api","Meta":{"owner":"team"},"Splits":[
              {"Weight":90,"ServiceSubset":"v1","RequestHeaders":{"Add":{"x":"y"}}},
              {"Weight":10,"ServiceSubset":"v2"}]})"}) {
      const auto written = agent_->WriteEntry(entry);
      ASSERT_TRUE(written.has_value()) << written.error().message;
    }
  }

  template <class T>
  base::Result<T> Call(std::function<void(Reply<T>)> start) {
    return Await<T>(io_->loop(), std::move(start));
  }

  base::Result<bool> Write(std::string entry, std::uint64_t index) {
    return Call<bool>(
        [this, entry, index](auto reply) { client_->WriteEntry(entry, index, reply); });
  }

  Splitter ReadSplitter() {
    const auto entry = Call<std::optional<std::string>>(
        [this](auto reply) { client_->ReadEntry("service-splitter", "api", true, reply); });
    if (!entry || !*entry) return {};
    return ParseSplitter(**entry).value_or(Splitter{});
  }

  base::Result<std::vector<Instance>> Instances(const std::string& path) {
    const auto response =
        Call<base::HttpResponse>([this, path](auto reply) { client_->Get("health", path, reply); });
    if (!response) return tl::unexpected(response.error());
    return ParseInstances(response->body);
  }

  std::string CreateSession() {
    return Call<std::string>([this](auto reply) {
             client_->SessionCreate("canary", base::seconds{10}, "", reply);
           })
        .value_or("");
  }

  base::Result<bool> Acquire(const std::string& session) {
    return Call<bool>(
        [this, session](auto reply) { client_->KvAcquire("lock", "me", session, reply); });
  }

  base::Result<bool> MayAccess(const std::string& resource, const std::string& segment) {
    return Call<bool>([this, resource, segment](auto reply) {
      client_->MayAccess(resource, segment, "write", reply);
    });
  }

  base::Result<std::vector<KvPair>> Txn(const std::vector<TxnOp>& operations) {
    return Call<std::vector<KvPair>>(
        [this, operations](auto reply) { client_->Txn(operations, reply); });
  }

  std::unique_ptr<testing::ConsulAgent> agent_;
  std::unique_ptr<base::IoThread> io_;
  std::unique_ptr<Client> client_;
};

}  // namespace consul_canary::consul
