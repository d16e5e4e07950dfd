#include "exporter/collect/scraper.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>

#include "tests/unit/base/raw_server.h"
#include "tests/unit/collect/fake_mesh.h"

namespace consul_canary::collect {
namespace {

using base::milliseconds;
using base::RawServer;
using base::ReadRequest;
using base::seconds;
using base::WriteAll;
using Clock = std::chrono::steady_clock;

constexpr const char* kGood = "n1/good";
constexpr const char* kBad = "n1/bad";

std::string AddressOf(const RawServer& server) { return server.Url("").substr(7); }

// A scraper on a loop that the test runs itself, a condition at a time.
class ScraperTest : public ::testing::Test {
 protected:
  void Make(CollectorOptions options) {
    scraper_ = std::make_unique<Scraper>(loop_, options, [this] {
      ++rounds_;
      if (done_) done_();
    });
  }

  static CollectorOptions Quick() {
    return {.interval = milliseconds(20),
            .scrape_timeout = milliseconds(300),
            .max_page_bytes = 100'000};
  }

  // Until `done` holds after a round; false when that takes too long.
  [[nodiscard]] bool RunUntil(std::function<bool()> done) {
    bool in_time = true;
    const auto stop = std::make_unique<std::stop_source>();
    done_ = [&stop, done = std::move(done)] {
      if (done()) stop->request_stop();
    };
    const base::IoLoop::Id limit = loop_.After(seconds(20), [&] {
      in_time = false;
      stop->request_stop();
    });
    loop_.Run(stop->get_token());
    loop_.Cancel(limit);
    done_ = nullptr;
    return in_time;
  }

  [[nodiscard]] bool RunRounds(int count) {
    const int end = rounds_ + count;
    return RunUntil([this, end] { return rounds_ >= end; });
  }

  [[nodiscard]] const SidecarReading* ReadingOf(const std::string& id) const {
    const auto it = scraper_->readings().find(id);
    return it == scraper_->readings().end() ? nullptr : &it->second;
  }

  [[nodiscard]] std::string ErrorOf(const std::string& id) const {
    const SidecarReading* reading = ReadingOf(id);
    return reading == nullptr ? "" : reading->error;
  }

  // What the good sidecar counted of the canary, as last read.
  [[nodiscard]] std::uint64_t CanaryOfGood() const {
    const SidecarReading* reading = ReadingOf(kGood);
    if (reading == nullptr || !reading->services.contains("api")) return 0;
    return reading->services.at("api").at("canary").completed;
  }

  base::IoLoop loop_;
  std::function<void()> done_;
  int rounds_ = 0;
  std::unique_ptr<Scraper> scraper_;
};

struct WrongInput {
  const char* name;
  const char* reason;
  std::string text;
  std::string answer;
  bool endless = false;  // the body goes on until nobody wants it
  bool silent = false;   // the connection stays open, and nothing more comes
};

void PrintTo(const WrongInput& input, std::ostream* out) { *out << input.name; }

std::string Answer(std::string_view type, std::string_view body, std::string_view headers = "") {
  return "HTTP/1.1 200 OK\r\nContent-Type: " + std::string(type) +
         "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + std::string(headers) +
         "\r\n" + std::string(body);
}

// 20 MB of zeros in 20 KB would be a bomb; nobody decodes what is sent as if it were one.
const std::string kGzipped("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xed\xc1\x01\x01\x00", 15);

std::string AllBytes() {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  return bytes;
}

std::string CutOffPage() {
  const std::string page = CallerPage(90, 10);
  return page.substr(0, page.size() - 3);
}

class ScraperWithWrongInput : public ScraperTest,
                              public ::testing::WithParamInterface<WrongInput> {};

TEST_P(ScraperWithWrongInput, CountsItByReasonAndReadsTheOthersOn) {
  const WrongInput& input = GetParam();
  const RawServer bad([&input](int socket) {
    const std::string block(16384, '#');
    while (ReadRequest(socket) && WriteAll(socket, input.answer)) {
      while (input.endless && WriteAll(socket, block)) {
      }
      if (!input.silent) return;
    }
  });
  FakeSidecar good;
  good.SetPage(CallerPage(90, 10));
  Make(Quick());
  scraper_->SetTargets({{kGood, {good.address()}}, {kBad, {AddressOf(bad)}}});
  scraper_->Start();
  ASSERT_TRUE(RunUntil([&] { return !ErrorOf(kBad).empty() && CanaryOfGood() == 10; }));
  EXPECT_NE(ErrorOf(kBad).find(input.text), std::string::npos) << ErrorOf(kBad);
  EXPECT_EQ(ErrorOf(kBad).find("GET http://" + AddressOf(bad) + "/metrics: "), 0U) << ErrorOf(kBad);
  EXPECT_FALSE(ReadingOf(kBad)->scraped_at);
  good.SetPage(CallerPage(95, 11));
  ASSERT_TRUE(RunUntil([&] { return CanaryOfGood() == 11; }));
  EXPECT_EQ(ErrorOf(kGood), "");
  ASSERT_EQ(scraper_->stats().errors_by_reason.size(), 1U);
  EXPECT_EQ(scraper_->stats().errors_by_reason.begin()->first, input.reason);
}

INSTANTIATE_TEST_SUITE_P(
    Pages, ScraperWithWrongInput,
    ::testing::Values(
        WrongInput{"Truncated", "broken", "",
                   "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nenvoy_cluster"},
        WrongInput{"TruncatedChunk", "broken", "",
                   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\nenvoy_cluster"},
        // No length and no chunks: that the connection ends is all that ends it.
        WrongInput{"CutOff", "broken", "the page is cut off",
                   "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + CutOffPage()},
        WrongInput{"Endless", "size", "larger than 100000 bytes", "HTTP/1.1 200 OK\r\n\r\n", true},
        WrongInput{"Enormous", "size", "larger than 100000 bytes",
                   "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", true},
        WrongInput{"Silent", "timeout", "timed out", "", false, true},
        WrongInput{"Slow", "timeout", "timed out",
                   "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nenvoy_cluster", false, true},
        WrongInput{"Gzipped", "content-type", "content encoding gzip, which was not asked for",
                   Answer("text/plain", kGzipped, "Content-Encoding: gzip\r\n")},
        WrongInput{"Binary", "parse",
                   "not a page of Envoy's, line 1: ", Answer("text/plain", AllBytes())},
        WrongInput{"BinaryInPlaceOfHttp", "broken", "", AllBytes()},
        WrongInput{"Html", "content-type", "not a page of Envoy's, content type text/html",
                   Answer("text/html; charset=utf-8", "<html>It works</html>")},
        WrongInput{"Redirect", "status", "status 302",
                   "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n"
                   "Content-Length: 0\r\n\r\n"},
        WrongInput{"Overloaded", "status", "status 503",
                   "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno"}),
    [](const auto& input) { return std::string(input.param.name); });

TEST_F(ScraperTest, TakesAPageOfEnvoysWhateverItsContentType) {
  FakeSidecar good;  // answers with application/json
  good.SetPage(CallerPage(90, 10));
  Make(Quick());
  scraper_->SetTargets({{kGood, {good.address()}}});
  scraper_->Start();
  ASSERT_TRUE(RunUntil([&] { return CanaryOfGood() == 10; }));
  EXPECT_EQ(ErrorOf(kGood), "");
}

TEST_F(ScraperTest, KeepsAReadingThatGrowsOldAndItsReasonWhileItBacksOff) {
  auto sidecar = std::make_unique<FakeSidecar>();
  sidecar->SetPage(CallerPage(90, 10));
  const std::string address = sidecar->address();
  Make(Quick());
  scraper_->SetTargets({{kGood, {address}}});
  scraper_->Start();
  ASSERT_TRUE(RunUntil([&] { return CanaryOfGood() == 10; }));
  sidecar.reset();
  ASSERT_TRUE(RunUntil([&] { return !ErrorOf(kGood).empty(); }));
  const auto read_at = ReadingOf(kGood)->scraped_at;
  const std::string error = ErrorOf(kGood);
  ASSERT_TRUE(RunRounds(5));
  EXPECT_EQ(ReadingOf(kGood)->scraped_at, read_at);
  EXPECT_EQ(ErrorOf(kGood), error);
  EXPECT_EQ(CanaryOfGood(), 10U);
}

class BackedOff : public ScraperTest {
 protected:
  BackedOff() {
    address_ = AddressOf(RawServer([](int) {}));  // nobody listens there any longer
    Make(Quick());
    scraper_->SetTargets({{kBad, {address_}}});
    scraper_->SetPassing(kBad, false);
    scraper_->Start();
    began_at_ = Clock::now();
  }

  [[nodiscard]] std::uint64_t Tries() const {
    const auto& errors = scraper_->stats().errors_by_reason;
    return errors.contains("connect") ? errors.at("connect") : 0;
  }

  std::string address_;
  base::MonotonicTime began_at_;
};

TEST_F(BackedOff, IsNotAskedEachRound) {
  ASSERT_TRUE(RunRounds(10));
  // The second try comes after a second at least, the third two after that.
  const auto passed =
      std::chrono::duration_cast<seconds>(Clock::now() - began_at_ + milliseconds(10));
  EXPECT_GE(Tries(), 1U);
  EXPECT_LE(Tries(), 1U + static_cast<std::uint64_t>(passed.count()));
}

TEST_F(BackedOff, IsAskedAtOnceWhenConsulSaysSomethingNewOfIt) {
  ASSERT_TRUE(RunUntil([&] { return Tries() > 0; }));
  const std::uint64_t before = Tries();
  scraper_->SetPassing(kBad, false);  // nothing new
  scraper_->SetPassing(kBad, true);
  EXPECT_TRUE(RunUntil([&] { return Tries() > before; }));
}

TEST_F(BackedOff, IsReadAgainWhenItAnswers) {
  ASSERT_TRUE(RunUntil([&] { return Tries() > 0; }));
  auto server = base::HttpServer::Start({.listen_addresses = {address_}}, [](const auto&) {
    return base::ServerResponse{.body = CallerPage(90, 10)};
  });
  ASSERT_TRUE(server);
  ASSERT_TRUE(RunUntil([&] { return ReadingOf(kBad)->scraped_at.has_value(); }));
  EXPECT_EQ(ErrorOf(kBad), "");
}

TEST(BackOff, DoublesUpToTenSeconds) {
  std::vector<milliseconds> waits;
  for (const int failures : {1, 2, 3, 4, 5, 6, 1000}) waits.push_back(BackOff(failures));
  EXPECT_EQ(waits, (std::vector<milliseconds>{seconds(1), seconds(2), seconds(4), seconds(8),
                                              seconds(10), seconds(10), seconds(10)}));
}

TEST(PhaseOf, IsTheSameInEveryProcessAndSpreadEvenly) {
  EXPECT_DOUBLE_EQ(PhaseOf("n1/web-sidecar-proxy"), PhaseOf(std::string("n1/web-sidecar-proxy")));
  std::array<int, 10> in_tenth{};
  for (int i = 0; i < 10'000; ++i) {
    const double phase = PhaseOf("node/web-" + std::to_string(i) + "-sidecar-proxy");
    ASSERT_GE(phase, 0);
    ASSERT_LT(phase, 1);
    ++in_tenth.at(static_cast<std::size_t>(phase * 10));
  }
  for (const int count : in_tenth) EXPECT_NEAR(count, 1000, 100);
}

class ManySidecars : public ScraperTest {
 protected:
  static constexpr int kMany = 2 * Scraper::kReadTogether;

  ManySidecars() {
    sidecar_.SetPage(CallerPage(90, 10));
    for (int i = 0; i < kMany; ++i) targets_["n1/web-" + std::to_string(i)] = {sidecar_.address()};
  }

  [[nodiscard]] bool AllAreRead() const {
    return std::ranges::all_of(targets_, [this](const auto& target) {
      const SidecarReading* reading = ReadingOf(target.first);
      return reading != nullptr && reading->scraped_at;
    });
  }

  FakeSidecar sidecar_;
  std::map<std::string, ScrapeTarget> targets_;
};

TEST_F(ManySidecars, AreReadEachAtItsOwnMoment) {
  const milliseconds interval{500};
  Make({.interval = interval, .scrape_timeout = seconds(5), .max_page_bytes = 4000});
  scraper_->SetTargets(targets_);
  const base::MonotonicTime begin = Clock::now();
  scraper_->Start();
  ASSERT_TRUE(RunUntil([this] { return AllAreRead(); }));
  for (const auto& [id, target] : targets_) {
    const auto earliest = begin + interval * (0.9 * PhaseOf(id));
    EXPECT_GE(*ReadingOf(id)->scraped_at, earliest) << id;
  }
}

TEST_F(ManySidecars, AreAllReadInEachRound) {
  Make({.interval = milliseconds(500), .scrape_timeout = seconds(5), .max_page_bytes = 4000});
  scraper_->SetTargets(targets_);
  scraper_->Start();
  ASSERT_TRUE(RunUntil([this] { return AllAreRead(); }));
  sidecar_.SetPage(CallerPage(95, 11));
  EXPECT_TRUE(RunUntil([this] {
    return std::ranges::all_of(targets_, [this](const auto& target) {
      return ReadingOf(target.first)->services.at("api").at("canary").completed == 11;
    });
  }));
  EXPECT_TRUE(scraper_->stats().errors_by_reason.empty());
}

TEST_F(ScraperTest, ForgetsASidecarWhoseTransferRuns) {
  std::atomic<bool> asked = false;
  const RawServer hanging([&](int socket) {
    while (ReadRequest(socket)) asked = true;
  });
  FakeSidecar good;
  good.SetPage(CallerPage(90, 10));
  CollectorOptions options = Quick();
  options.scrape_timeout = seconds(30);
  Make(options);
  const ScrapeTarget target{good.address()};
  scraper_->SetTargets({{kGood, target}, {kBad, {AddressOf(hanging)}}});
  scraper_->Start();
  ASSERT_TRUE(RunUntil([&] { return asked.load(); }));
  scraper_->SetTargets({{kGood, target}});
  ASSERT_TRUE(RunRounds(3));
  EXPECT_EQ(ReadingOf(kBad), nullptr);
  EXPECT_TRUE(scraper_->stats().errors_by_reason.empty());
}

TEST_F(ScraperTest, EndsWhileTransfersRun) {
  std::atomic<bool> asked = false;
  const RawServer hanging([&](int socket) {
    while (ReadRequest(socket)) asked = true;
  });
  CollectorOptions options = Quick();
  options.scrape_timeout = seconds(30);
  Make(options);
  scraper_->SetTargets({{kBad, {AddressOf(hanging)}}});
  scraper_->Start();
  ASSERT_TRUE(RunUntil([&] { return asked.load(); }));
  scraper_.reset();
  const int rounds = rounds_;
  const auto stop = std::make_unique<std::stop_source>();
  loop_.After(milliseconds(5), [&] { stop->request_stop(); });
  loop_.Run(stop->get_token());
  EXPECT_EQ(rounds_, rounds);
}

TEST_F(ScraperTest, DoesNotWaitAgainForOneThatHung) {
  const RawServer hanging([&](int socket) {
    while (ReadRequest(socket)) {
    }
  });
  FakeSidecar good;
  good.SetPage(CallerPage(90, 10));
  // Nothing but the good one's answer can end the second round within the test's patience.
  CollectorOptions options{
      .interval = seconds(2), .scrape_timeout = seconds(1), .max_page_bytes = 4000};
  Make(options);
  scraper_->SetTargets({{kGood, {good.address()}}, {kBad, {AddressOf(hanging)}}});
  scraper_->Start();
  ASSERT_TRUE(RunUntil([&] { return !ErrorOf(kBad).empty(); }));
  const std::uint64_t timeouts = scraper_->stats().errors_by_reason.at("timeout");
  ASSERT_TRUE(RunRounds(1));
  EXPECT_EQ(scraper_->stats().errors_by_reason.at("timeout"), timeouts);
}

// Thousands of whole pages at once would fill the memory.
TEST_F(ScraperTest, ReadsAFewLargePagesAtATime) {
  std::string whole = CallerPage(90, 10);
  whole.resize(1'200'000, '#');
  whole += '\n';
  std::mutex mutex;
  std::condition_variable changed;
  bool hangs = false;
  int hanging = 0;
  auto server = base::HttpServer::Start({.listen_addresses = {"127.0.0.1:0"}, .threads = 30},
                                        [&](const base::ServerRequest&) {
                                          std::unique_lock lock(mutex);
                                          hanging += hangs ? 1 : 0;
                                          changed.wait(lock, [&] { return !hangs; });
                                          return base::ServerResponse{.body = whole};
                                        });
  ASSERT_TRUE(server);
  const ScrapeTarget target{"127.0.0.1:" + std::to_string((*server)->ports()[0])};
  Make({.interval = milliseconds(300), .scrape_timeout = seconds(30), .max_page_bytes = 2'000'000});
  std::map<std::string, ScrapeTarget> targets;
  for (int i = 0; i < 20; ++i) targets["n1/web-" + std::to_string(i)] = target;
  scraper_->SetTargets(targets);
  scraper_->Start();
  ASSERT_TRUE(RunUntil([&] {
    return std::ranges::all_of(targets, [this](const auto& item) {
      return ReadingOf(item.first) != nullptr && ReadingOf(item.first)->scraped_at;
    });
  }));
  const auto set_hangs = [&](bool value) {
    const std::lock_guard lock(mutex);
    hangs = value;
    changed.notify_all();
  };
  set_hangs(true);
  EXPECT_TRUE(RunUntil([&] {
    const std::lock_guard lock(mutex);
    return hanging >= 8;
  }));
  EXPECT_TRUE(RunRounds(1));
  set_hangs(false);
  EXPECT_EQ(hanging, 8);
  const auto before = Clock::now();
  EXPECT_TRUE(RunUntil([&] {
    return std::ranges::all_of(
        targets, [&](const auto& item) { return ReadingOf(item.first)->scraped_at > before; });
  }));
}

// An Envoy that does not know `filter=` sends everything, and so does one behind something that
// drops the query.
TEST_F(ScraperTest, SaysOnceThatASidecarIgnoresTheFilter) {
  std::string whole = CallerPage(90, 10);
  while (whole.size() < 80'000) whole += "envoy_server_concurrency{} 2\n";
  FakeSidecar sidecar;
  sidecar.SetPage(whole);
  Make(Quick());
  scraper_->SetTargets({{kGood, {sidecar.address()}}});
  scraper_->Start();
  ::testing::internal::CaptureStderr();
  ASSERT_TRUE(RunRounds(5));
  EXPECT_EQ(CanaryOfGood(), 10U);
  sidecar.SetPage(CallerPage(90, 12));
  ASSERT_TRUE(RunUntil([&] { return CanaryOfGood() == 12; }));
  const std::string log = ::testing::internal::GetCapturedStderr();
  const std::size_t told = log.find("ignores the filter, its whole page is read");
  ASSERT_NE(told, std::string::npos) << log;
  EXPECT_EQ(log.find("ignores the filter, its", told + 1), std::string::npos) << log;
  EXPECT_NE(log.find("no sidecar ignores the filter any more"), std::string::npos) << log;
}

}  // namespace
}  // namespace consul_canary::collect
