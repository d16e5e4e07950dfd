// What receiving and reading a sidecar's page costs, in CPU time of one thread: our own path (the
// I/O loop on libcurl, then the reader), beside a loop that receives the same page with libcurl and
// looks for its newlines with memchr, and beside programs that scrape it and keep the same series.
//
//   exporter_benchmark --nginx PROGRAM [--prometheus PROGRAM] [--peer NAME=PROGRAM]…
//
// A peer whose name begins with prometheus is run as Prometheus, one that begins with vmagent as
// vmagent. Prints one JSON object a line.
#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <string>
#include <vector>

#include "exporter/base/io_loop.h"
#include "exporter/envoy/sidecar_page.h"
#include "tests/benchmarks/scrapers.h"
#include "tests/benchmarks/sidecar_pages.h"

namespace consul_canary::benchmarks {
namespace {

constexpr int kTargets = 8;  // copies of the page, each with a connection of its own
constexpr int kRounds = 9;   // of which the median counts
constexpr int kWindows = 5;
constexpr double kRoundBytes = 100e6;

double ThreadCpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

[[noreturn]] void Die(const std::string& why) {
  fmt::print(stderr, "exporter_benchmark: {}\n", why);
  std::exit(1);
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::size_t CountNewlines(std::string_view page) {
  std::size_t lines = 0;
  const char* at = page.data();
  const char* const end = at + page.size();
  while ((at = static_cast<const char*>(
              std::memchr(at, '\n', static_cast<std::size_t>(end - at)))) != nullptr) {
    ++lines;
    if (++at == end) break;
  }
  return lines;
}

// The same page at several addresses.
struct Target {
  std::string host;
  std::string file;
  std::size_t page_bytes = 0;

  [[nodiscard]] std::string Url(int scrape) const {
    return fmt::format("http://{}/{}/{}", host, scrape % kTargets, file);
  }
  [[nodiscard]] int ScrapesInARound() const {
    return std::clamp(static_cast<int>(kRoundBytes / static_cast<double>(page_bytes)), kTargets,
                      3000);
  }
};

// Our path, on this thread: one request after the other, as they come when spread over an interval.
class OurScrapes {
 public:
  double SecondsPerPage(const Target& target) {
    left_ = target.ScrapesInARound();
    const int scrapes = left_;
    stop_ = std::stop_source();
    Next(target);
    const double before = ThreadCpuSeconds();
    loop_.Run(stop_.get_token());
    return (ThreadCpuSeconds() - before) / scrapes;
  }

 private:
  void Next(const Target& target) {
    base::HttpRequest request;
    request.url = target.Url(left_);
    request.expected_bytes = target.page_bytes;  // as the scraper does, which knows the last page
    loop_.Read(request, [this, &target](const base::Page& answer) {
      if (answer.status != 200 || answer.body.size() != target.page_bytes) Die("our scrape failed");
      const envoy::SidecarPage page =
          envoy::ReadSidecarPage(answer.body, envoy::FormatOf(answer.content_type));
      if (page.bad_line_count > 0 || page.subsets.empty()) Die("our scrape misread the page");
      if (--left_ == 0) {
        stop_.request_stop();
      } else {
        Next(target);
      }
    });
  }

  base::IoLoop loop_;
  std::stop_source stop_;
  int left_ = 0;
};

// The least that can be done with a page: receive it into one buffer and go over its lines.
class PlainLoop {
 public:
  PlainLoop() : easy_(curl_easy_init(), curl_easy_cleanup) {
    curl_easy_setopt(easy_.get(), CURLOPT_WRITEFUNCTION, &PlainLoop::OnBody);
    curl_easy_setopt(easy_.get(), CURLOPT_WRITEDATA, &body_);
    curl_easy_setopt(easy_.get(), CURLOPT_PROXY, "");
  }

  double SecondsPerPage(const Target& target) {
    const int scrapes = target.ScrapesInARound();
    const double before = ThreadCpuSeconds();
    for (int i = 0; i < scrapes; ++i) {
      body_.clear();
      curl_easy_setopt(easy_.get(), CURLOPT_URL, target.Url(i).c_str());
      if (curl_easy_perform(easy_.get()) != CURLE_OK || CountNewlines(body_) == 0) {
        Die("the plain loop received no page");
      }
    }
    return (ThreadCpuSeconds() - before) / scrapes;
  }

 private:
  static std::size_t OnBody(char* data, std::size_t size, std::size_t count, void* body) {
    static_cast<std::string*>(body)->append(data, size * count);
    return size * count;
  }

  std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> easy_;
  std::string body_;
};

// Reading alone, of a page in memory.
template <class Read>
double SecondsToRead(std::size_t page_bytes, const Read& read) {
  const int times =
      std::clamp(static_cast<int>(kRoundBytes / static_cast<double>(page_bytes)), 3, 10000);
  const double before = ThreadCpuSeconds();
  std::size_t sum = 0;
  for (int i = 0; i < times; ++i) sum += read();
  const double after = ThreadCpuSeconds();
  if (sum == 0) Die("nothing was read");
  return (after - before) / times;
}

void Print(const std::string& name, double value, const std::string& unit, const std::string& peer,
           double peer_value) {
  fmt::print("{}\n", nlohmann::json({{"name", name},
                                     {"value", value},
                                     {"unit", unit},
                                     {"peer", peer},
                                     {"peer_value", peer_value},
                                     {"ratio", value / peer_value}})
                         .dump());
  std::fflush(stdout);
}

struct Medians {
  double ours = 0;
  double plain = 0;
  double ours_read = 0;  // without receiving
  double plain_read = 0;
};

// Turn by turn, so that what disturbs the machine disturbs all alike.
Medians MeasureOurs(const Target& target, const std::string& page) {
  OurScrapes ours;
  PlainLoop plain;
  std::vector<double> seconds[4];
  for (int round = 0; round < kRounds; ++round) {
    seconds[0].push_back(ours.SecondsPerPage(target));
    seconds[1].push_back(plain.SecondsPerPage(target));
    seconds[2].push_back(
        SecondsToRead(page.size(), [&] { return envoy::ReadSidecarPage(page).subsets.size(); }));
    seconds[3].push_back(SecondsToRead(page.size(), [&] { return CountNewlines(page); }));
  }
  return {Median(seconds[0]), Median(seconds[1]), Median(seconds[2]), Median(seconds[3])};
}

struct Options {
  std::string nginx;
  std::vector<Scraper> peers;
};

Options ParseOptions(const std::vector<std::string>& arguments) {
  Options options;
  for (std::size_t i = 0; i + 1 < arguments.size(); i += 2) {
    const std::string& flag = arguments[i];
    const std::string& value = arguments[i + 1];
    const std::size_t equals = value.find('=');
    if (flag == "--nginx") {
      options.nginx = value;
    } else if (flag == "--prometheus") {
      auto prometheus = PrometheusAt(value);
      if (!prometheus) Die(prometheus.error().message);
      options.peers.push_back(*std::move(prometheus));
    } else if (flag == "--peer" && equals != std::string::npos) {
      const std::string name = value.substr(0, equals);
      options.peers.push_back(
          {name, name.starts_with("vmagent") ? Scraper::Kind::kVmagent : Scraper::Kind::kPrometheus,
           value.substr(equals + 1)});
    } else {
      Die("unknown argument " + flag);
    }
  }
  if (options.nginx.empty() || arguments.size() % 2 != 0) Die("--nginx PROGRAM is needed");
  return options;
}

class Benchmark {
 public:
  explicit Benchmark(Options options) : options_(std::move(options)) {
    auto server = PageServer::Start(options_.nginx, ports_, http_);
    if (!server) Die(server.error().message);
    server_ = *std::move(server);
  }

  void MeasureWholePage(std::size_t clusters) {
    const std::string page =
        SidecarPageText({.clusters = clusters, .busy = std::min<std::size_t>(clusters, 15)});
    const Target target{server_->host(), fmt::format("whole-{}", clusters), page.size()};
    server_->Write(target.file, page);
    const std::string name = fmt::format("whole page, {} clusters, {:.1f} MB", clusters,
                                         static_cast<double>(page.size()) / 1e6);
    const Medians medians = MeasureOurs(target, page);
    Print(name, medians.ours * 1e3, "ms", "receive and memchr", medians.plain * 1e3);
    Print(name + ", read only", medians.ours_read * 1e3, "ms", "memchr", medians.plain_read * 1e3);
    for (const Scraper& peer : options_.peers) {
      const auto cost = MeasureScraper(peer, *server_, target.file, WantedSeriesPattern(), kTargets,
                                       kWindows, ports_, http_);
      if (!cost) Die(cost.error().message);
      Print(name, medians.ours * 1e3, "ms", peer.name, *cost);
    }
  }

  void MeasureFilteredPage() {
    const std::string page = SidecarPageText({.clusters = 2, .busy = 2, .whole = false});
    const Target target{server_->host(), "filtered", page.size()};
    server_->Write(target.file, page);
    const std::string name =
        fmt::format("filtered page, 2 subsets, {:.0f} kB", static_cast<double>(page.size()) / 1e3);
    const Medians medians = MeasureOurs(target, page);
    Print(name, medians.ours * 1e6, "us", "receive and memchr", medians.plain * 1e6);
    Print(name + ", read only", medians.ours_read * 1e6, "us", "memchr", medians.plain_read * 1e6);
  }

 private:
  Options options_;
  testing::Ports ports_;
  testing::Http http_;
  std::unique_ptr<PageServer> server_;
};

}  // namespace
}  // namespace consul_canary::benchmarks

int main(int argc, char** argv) {
  using namespace consul_canary::benchmarks;
  curl_global_init(CURL_GLOBAL_DEFAULT);
  Benchmark benchmark(ParseOptions({argv + 1, argv + argc}));
  benchmark.MeasureFilteredPage();
  for (const std::size_t clusters : {10, 50, 500}) benchmark.MeasureWholePage(clusters);
  return 0;
}
