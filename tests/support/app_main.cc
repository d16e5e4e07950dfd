// consul-canary-test-app: a service whose health is set from outside while it runs. It answers
// every path with its name and version and counts what it served. The control port answers even
// while all else hangs: `GET /health` is always 200, `POST
// /?failure_ratio=0.2&delay_ms=50&hang=1&status=500` changes what is named and leaves the rest, any
// other GET tells all. Which requests fail is drawn from a seeded generator, so that the same
// requests fail in each run.
//
//   consul-canary-test-app --port PORT --control-port PORT --name NAME --version VERSION [--seed N]
#include <fmt/format.h>
#include <signal.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "exporter/base/http_server.h"

namespace consul_canary::testing {
namespace {

using base::ServerRequest;
using base::ServerResponse;

ServerResponse Answer(int status, std::string body) {
  ServerResponse response;
  response.status = status;
  response.body = std::move(body);
  return response;
}

struct Behaviour {
  double failure_ratio = 0;  // of the requests that are answered
  int delay_ms = 0;
  int hang = 0;  // 1: accepts and does not answer until this is 0 again
  int status = 500;
};

template <class T>
bool SetFrom(const ServerRequest& request, const char* name, T& value) {
  const auto given = request.query.find(name);
  if (given == request.query.end()) return true;
  const std::string& text = given->second;
  return std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc();
}

class App {
 public:
  App(std::string name, std::string version, std::uint64_t seed)
      : name_(std::move(name)), version_(std::move(version)), random_(seed) {}

  ServerResponse Control(const ServerRequest& request) {
    if (request.path == "/health") return Answer(200, "{}");
    return request.method == "POST" ? Change(request) : Describe();
  }

  ServerResponse Serve() {
    std::unique_lock lock(mutex_);
    if (behaviour_.hang != 0) {
      ++hanging_;
      changed_.wait(lock, [this] { return stopping_ || behaviour_.hang == 0; });
      --hanging_;
    }
    if (behaviour_.delay_ms > 0) {
      changed_.wait_for(lock, std::chrono::milliseconds(behaviour_.delay_ms),
                        [this] { return stopping_; });
    }
    ++served_;
    ServerResponse response =
        Answer(200, fmt::format(R"({{"name": "{}", "version": "{}"}})", name_, version_));
    if (std::uniform_real_distribution<double>(0, 1)(random_) < behaviour_.failure_ratio) {
      ++failed_;
      response.status = behaviour_.status;
    }
    response.headers["X-App-Version"] = version_;
    return response;
  }

  void Stop() {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }

 private:
  ServerResponse Change(const ServerRequest& request) {
    {
      const std::lock_guard lock(mutex_);
      Behaviour next = behaviour_;
      if (!SetFrom(request, "failure_ratio", next.failure_ratio) ||
          !SetFrom(request, "delay_ms", next.delay_ms) || !SetFrom(request, "hang", next.hang) ||
          !SetFrom(request, "status", next.status)) {
        return Answer(400, R"({"error": "not a number"})");
      }
      behaviour_ = next;
      changed_.notify_all();
    }
    return Describe();
  }

  ServerResponse Describe() {
    const std::lock_guard lock(mutex_);
    const nlohmann::json all = {{"name", name_},
                                {"version", version_},
                                {"failure_ratio", behaviour_.failure_ratio},
                                {"delay_ms", behaviour_.delay_ms},
                                {"hang", behaviour_.hang},
                                {"status", behaviour_.status},
                                {"served", served_},
                                {"failed", failed_},
                                {"hanging", hanging_}};
    return Answer(200, all.dump());
  }

  const std::string name_;
  const std::string version_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Behaviour behaviour_;
  std::mt19937_64 random_;
  bool stopping_ = false;
  long served_ = 0;
  long failed_ = 0;
  long hanging_ = 0;
};

int Run(int argc, char** argv) {
  std::string port = "0";
  std::string control_port = "0";
  std::string name = "app";
  std::string version = "v1";
  std::string seed = "1";
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view option = argv[i];
    if (option == "--port") port = argv[i + 1];
    if (option == "--control-port") control_port = argv[i + 1];
    if (option == "--name") name = argv[i + 1];
    if (option == "--version") version = argv[i + 1];
    if (option == "--seed") seed = argv[i + 1];
  }
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  sigaddset(&ending, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ending, nullptr);  // before the server's threads, which inherit it
  App app(name, version, std::strtoull(seed.c_str(), nullptr, 10));
  // A hanging request holds a thread, so control has a server of its own, which always answers.
  const auto server =
      base::HttpServer::Start({.listen_addresses = {"127.0.0.1:" + port}, .threads = 512},
                              [&app](const ServerRequest& /*request*/) { return app.Serve(); });
  const auto control = base::HttpServer::Start(
      {.listen_addresses = {"127.0.0.1:" + control_port}, .threads = 2},
      [&app](const ServerRequest& request) { return app.Control(request); });
  if (!server || !control) {
    fmt::print(stderr, "{}\n", (server ? control : server).error().message);
    return 1;
  }
  int signal = 0;
  sigwait(&ending, &signal);
  app.Stop();
  return 0;
}

}  // namespace
}  // namespace consul_canary::testing

int main(int argc, char** argv) { return consul_canary::testing::Run(argc, argv); }
