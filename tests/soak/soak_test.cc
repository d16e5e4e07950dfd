// The exporter as a process, beside a real Consul and sidecars that behave in every bad way, in
// storm after storm: services and sidecars come and go, Consul stops and starts anew, clients
// misbehave. After each storm the mesh is as it was at the beginning, and so must be what the
// exporter holds and shows: connections, files, threads, memory, series, and every sum of the
// services that stayed. What a day does to what is kept in memory alone is tests/churn's.
//
// CONSUL_CANARY_SOAK_SECONDS (15) and CONSUL_CANARY_SOAK_SEED make a longer or another one.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/soak/sidecar_farm.h"
#include "tests/soak/stirred_mesh.h"
#include "tests/soak/watched_exporter.h"
#include "tests/support/consul_agent.h"
#include "tests/support/daemons.h"
#include "tests/support/wait.h"

namespace consul_canary::soak {
namespace {

using testing::milliseconds;
using testing::seconds;
using testing::WaitUntil;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kDefaultSeconds = 15;
constexpr seconds kShortestStorm{3};
constexpr seconds kLongestStorm{15};
constexpr int kLeastStorms = 2;
constexpr seconds kPatience{60};
constexpr int kLooksAtRest = 10;
constexpr const char* kInterval = "250ms";
// Of resident memory. 16 MiB for large pages fill in the course of the storms (exporter/base/
// io_loop.cc), and the heap keeps up to 8 MiB that are free at its top (exporter/base/daemon.cc).
constexpr std::uint64_t kSlackKib = 24576;
// What storms may add to what was taken before the first: what they taught, and memory for large
// pages. All pages that were ever too large together would be hundreds of MiB.
constexpr std::uint64_t kMostAboveFirstKib = 40960;
// Connections to Consul for single questions are kept for two minutes; it has 50 at most
// (docs/discovery.md), and two thirds of these when all is calm.
constexpr int kMostFilesAboveFirst = 20;
constexpr std::array kReasons{"connect", "timeout",      "broken", "status",
                              "size",    "content-type", "parse"};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kMemoryTells = false;  // the sanitizer keeps what was freed
#else
constexpr bool kMemoryTells = true;
#endif

std::uint64_t Setting(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// What one service that stayed must show.
class ExpectedSeries {
 public:
  explicit ExpectedSeries(std::string service) : service_(std::move(service)) {}

  void Add(const std::string& subset, const churn::EnvoyCluster& truth) {
    labels_ = fmt::format("service_name=\"{0}\",subset=\"{1}\",role=\"{1}\"", service_, subset);
    const std::uint64_t failures = Failures(truth.responses);
    const std::uint64_t retried = Failures(truth.retried_responses);
    for (const auto& [view, requests, failed] :
         {std::tuple{"requests", truth.completed, failures},
          std::tuple{"attempts", truth.completed + truth.retries, failures + retried}}) {
      Put("requests_total", fmt::format(",view=\"{}\"", view), requests);
      Put("request_failures_total", fmt::format(",view=\"{}\"", view), failed);
    }
    Put("retries_total", "", truth.retries);
    for (const auto& [code, count] : truth.responses) {
      Put("responses_total", fmt::format(",code=\"{}\"", code), count);
    }
    if (truth.times.count == 0) return;
    Put("request_duration_seconds_count", "", truth.times.count);
    series_[fmt::format("consul_canary_request_duration_seconds_sum{{{}}}", labels_)] =
        static_cast<double>(truth.times.sum_ms) / 1000;
  }

  [[nodiscard]] const Series& series() const { return series_; }

 private:
  static std::uint64_t Failures(const std::map<int, std::uint64_t>& codes) {
    std::uint64_t sum = 0;
    for (const auto& [code, count] : codes) sum += code >= 500 ? count : 0;
    return sum;
  }

  void Put(std::string_view name, std::string_view more, std::uint64_t count) {
    series_[fmt::format("consul_canary_{}{{{}{}}}", name, labels_, more)] =
        static_cast<double>(count);
  }

  std::string service_;
  std::string labels_;
  Series series_;
};

class Soak : public ::testing::Test {
 protected:
  void SetUp() override {
    auto consul = testing::ConsulAgent::Start({.persistent = true});
    ASSERT_TRUE(consul) << consul.error().message;
    consul_ = *std::move(consul);
    const std::uint64_t seed = Setting("CONSUL_CANARY_SOAK_SEED", 1);
    random_.seed(seed);
    farm_ = std::make_unique<SidecarFarm>(ports_.Next(), seed);
    mesh_ = std::make_unique<StirredMesh>(*consul_, *farm_, seed);
    mesh_->Begin();
    auto exporter = testing::StartExporter(*consul_, {"--scrape.interval", kInterval});
    ASSERT_TRUE(exporter) << exporter.error().message;
    daemon_ = *std::move(exporter);
    exporter_ = std::make_unique<WatchedExporter>(*daemon_, http_);
  }

  // The logs tell more.
  void TearDown() override {
    if (!HasFailure() || consul_ == nullptr) return;
    consul_->folder().Keep();
    fmt::print("logs: {}\n", consul_->folder().path().string());
  }

  void Storm(seconds length, int number);
  void DoEachHarm();
  void StopConsul();
  void RestartConsul();
  void StirFor(milliseconds time, bool consul_answers);
  void Calm();
  void AwaitRest();
  void RestartPermanent(int number);
  void Print(const Footprint& footprint) const;
  [[nodiscard]] std::string Contradiction() const;

  testing::Http http_;
  testing::Ports ports_;
  std::mt19937_64 random_;
  Clock::time_point began_at_ = Clock::now();
  std::unique_ptr<testing::ConsulAgent> consul_;
  std::unique_ptr<SidecarFarm> farm_;
  std::unique_ptr<StirredMesh> mesh_;
  std::unique_ptr<testing::Daemon> daemon_;
  std::unique_ptr<WatchedExporter> exporter_;
  std::vector<Footprint> calms_;
};

// --- Storms

void Soak::StirFor(milliseconds time, bool consul_answers) {
  const auto end = Clock::now() + time;
  while (Clock::now() < end && !HasFailure()) {
    mesh_->Stir(consul_answers);
    const std::uint64_t luck = random_() % 100;
    if (luck < 5) exporter_->BotherWith(random_());
    if (luck == 5) exporter_->Reload();
    if (!consul_answers) testing::Pass(milliseconds(10));
  }
}

void Soak::DoEachHarm() {
  const auto before = FailuresByReason(exporter_->Read());
  mesh_->BehaveBadly();
  const auto all_are_counted = [&] {
    auto now = FailuresByReason(exporter_->Read());
    return std::all_of(kReasons.begin(), kReasons.end(), [&](const char* reason) {
      const auto it = before.find(reason);
      return now[reason] > (it == before.end() ? 0 : it->second);
    });
  };
  EXPECT_TRUE(WaitUntil(all_are_counted, kPatience));
}

// Longer than a blocking query's connection would take to be found dead by a shorter timeout.
void Soak::StopConsul() {
  consul_->Pause();
  StirFor(seconds(2), /*consul_answers=*/false);
  consul_->Continue();
}

void Soak::RestartConsul() {
  consul_->Kill();
  StirFor(seconds(1), /*consul_answers=*/false);
  const auto up = consul_->Restart();
  EXPECT_TRUE(up) << up.error().message;
  // Until all of its state is there again it takes a write of what it had once for one of what it
  // has, and then deletes it after its log.
  const auto is_whole = [this] {
    return consul_->Get("/v1/config/service-splitter?consistent").has_value();
  };
  EXPECT_TRUE(WaitUntil(is_whole, kPatience));
}

void Soak::Storm(seconds length, int number) {
  farm_->SetTraffic(true);
  DoEachHarm();
  StirFor(length / 2, /*consul_answers=*/true);
  number % 2 == 0 ? StopConsul() : RestartConsul();
  StirFor(length / 2, /*consul_answers=*/true);
}

// --- Calms

// The first thing that is not as the mesh is now; empty: all is.
std::string Soak::Contradiction() const {
  const Series page = exporter_->Read();
  const auto value_of = [&page](std::string_view series) {
    const auto it = page.find(series);
    return it == page.end() ? 0 : it->second;
  };
  for (std::size_t service = 0; service < kPermanentServices; ++service) {
    ExpectedSeries expected(StirredMesh::NameOf(service));
    for (const auto& [subset, truth] : mesh_->TruthOf(service)) expected.Add(subset, truth);
    for (const auto& [series, value] : expected.series()) {
      if (value_of(series) != value) {
        return fmt::format("{} is {}, not {}", series, value_of(series), value);
      }
    }
  }
  for (const auto& [series, value] : page) {
    if (series.find("service_name=\"passing-") != std::string::npos) return series + " is there";
  }
  for (const auto& [state, count] : {std::pair{"read", kPermanentSidecars},
                                     {"failing", 0},
                                     {"critical", 0},
                                     {"without-address", 0}}) {
    const std::string series = fmt::format("consul_canary_sidecars{{state=\"{}\"}}", state);
    if (value_of(series) != static_cast<double>(count)) {
      return fmt::format("{} is {}, not {}", series, value_of(series), count);
    }
  }
  if (const std::size_t open = farm_->connections(); open != kPermanentSidecars) {
    return fmt::format("{} connections to sidecars", open);
  }
  return "";
}

// Until the open files are the same at each of so many looks.
void Soak::AwaitRest() {
  int same = 0;
  int files = 0;
  EXPECT_TRUE(WaitUntil(
      [&] {
        const int now = exporter_->Weigh().open_files;
        same = std::exchange(files, now) == now ? same + 1 : 0;
        return same == kLooksAtRest;
      },
      kPatience, milliseconds(100)));
}

void Soak::Calm() {
  exporter_->LeaveInPeace();
  farm_->SetTraffic(false);
  mesh_->Calm();
  std::string contradiction;
  EXPECT_TRUE(WaitUntil(
      [&] {
        contradiction = Contradiction();
        return contradiction.empty();
      },
      kPatience, milliseconds(100)))
      << contradiction;
  AwaitRest();
  calms_.push_back(exporter_->Weigh());
  Print(calms_.back());
  const Footprint& first = calms_.front();
  EXPECT_EQ(calms_.back().threads, first.threads);
  EXPECT_LE(calms_.back().open_files, first.open_files + kMostFilesAboveFirst);
  if (!kMemoryTells) return;
  EXPECT_LE(calms_.back().resident_kib, first.resident_kib + kMostAboveFirstKib);
}

// A restart whose every count was read before loses none. That it was seen, the requests in flight
// tell, which the page shows too.
void Soak::RestartPermanent(int number) {
  const auto active = static_cast<std::uint64_t>(number);
  farm_->SetActive(active);
  mesh_->RestartPermanent();
  const auto is_seen = [&] {
    const Series page = exporter_->Read();
    for (std::size_t service = 0; service < kPermanentServices; ++service) {
      for (const char* subset : {"primary", "canary"}) {
        const auto it = page.find(fmt::format(
            "consul_canary_active_requests{{service_name=\"{0}\",subset=\"{1}\",role=\"{1}\"}}",
            StirredMesh::NameOf(service), subset));
        if (it == page.end() || it->second != static_cast<double>(active * kPermanentCallers)) {
          return false;
        }
      }
    }
    return true;
  };
  EXPECT_TRUE(WaitUntil(is_seen, kPatience));
}

void Soak::Print(const Footprint& footprint) const {
  const Series page = exporter_->Read();
  std::string failures;
  for (const auto& [reason, count] : FailuresByReason(page)) {
    failures += fmt::format(" {} {}", reason, count);
  }
  const auto scrapes = page.find("consul_canary_sidecar_scrape_duration_seconds_count");
  fmt::print(
      "{:>4} s: {} KiB resident, {} files, {} threads; {} services and {} sidecars came, {} "
      "pages of sidecars read, {} of ours; failed:{}\n",
      std::chrono::duration_cast<seconds>(Clock::now() - began_at_).count(), footprint.resident_kib,
      footprint.open_files, footprint.threads, mesh_->counts().services, mesh_->counts().sidecars,
      scrapes == page.end() ? 0 : scrapes->second, exporter_->scrapes(), failures);
  std::fflush(stdout);
}

TEST_F(Soak, LeavesNothingBehind) {
  const seconds length(Setting("CONSUL_CANARY_SOAK_SECONDS", kDefaultSeconds));
  const seconds storm = std::clamp(length / 10, kShortestStorm, kLongestStorm);
  Calm();
  for (int number = 0;
       (number < kLeastStorms || Clock::now() - began_at_ < length) && !HasFailure(); ++number) {
    RestartPermanent(number + 1);
    Storm(storm, number);
    Calm();
  }
  EXPECT_EQ(exporter_->failed_scrapes(), 0u);
  if (kMemoryTells && !HasFailure()) {
    EXPECT_LE(calms_.back().resident_kib, calms_.at(1).resident_kib + kSlackKib);
  }
  exporter_.reset();
  EXPECT_EQ(daemon_->Stop(), 0);
}

}  // namespace
}  // namespace consul_canary::soak
