#include "tests/soak/watched_exporter.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <utility>

#include "tests/support/temp_dir.h"

namespace consul_canary::soak {
namespace {

// Fewer than the exporter has threads for.
constexpr std::size_t kClientsThatStay = 2;

Series SeriesOf(std::string_view page) {
  Series series;
  while (!page.empty()) {
    const std::string_view line = page.substr(0, page.find('\n'));
    page.remove_prefix(std::min(page.size(), line.size() + 1));
    const std::size_t end = line.rfind(' ');
    if (line.starts_with('#') || end == std::string_view::npos) continue;
    series.emplace(line.substr(0, end), std::strtod(line.data() + end + 1, nullptr));
  }
  return series;
}

// The number behind `field`; 0 when there is none.
std::uint64_t FieldOf(const std::string& status, std::string_view field) {
  const std::size_t at = status.find(field);
  if (at == std::string::npos) return 0;
  return std::strtoull(status.c_str() + at + field.size(), nullptr, 10);
}

}  // namespace

WatchedExporter::WatchedExporter(testing::Daemon& exporter, const testing::Http& http)
    : exporter_(exporter), http_(http), scraper_([this] { ScrapeOnAndOn(); }) {}

WatchedExporter::~WatchedExporter() {
  ending_ = true;
  scraper_.join();
  LeaveInPeace();
}

void WatchedExporter::ScrapeOnAndOn() {
  constexpr std::array kAccepted{"Accept: text/plain",
                                 "Accept: application/openmetrics-text;version=1.0.0"};
  while (!ending_) {
    const auto page = http_.Call("GET", exporter_.address() + "/metrics", "",
                                 {kAccepted.at(scrapes_ % kAccepted.size())});
    if (!page || page->status != 200) ++failed_scrapes_;
    ++scrapes_;
    testing::Pass(testing::milliseconds(20));  // the cores are for others, too
  }
}

Series WatchedExporter::Read() const {
  return SeriesOf(http_.Get(exporter_.address() + "/metrics").value_or(""));
}

Footprint WatchedExporter::Weigh() const {
  const std::string status =
      testing::ReadFile(fmt::format("/proc/{}/status", exporter_.process().pid()));
  Footprint footprint;
  footprint.resident_kib = FieldOf(status, "VmRSS:");
  footprint.threads = static_cast<int>(FieldOf(status, "Threads:"));
  const Series page = Read();
  const auto files = page.find("process_open_fds");
  footprint.open_files = files == page.end() ? 0 : static_cast<int>(files->second);
  return footprint;
}

void WatchedExporter::BotherWith(std::uint64_t kind) {
  constexpr std::array<std::string_view, 6> kSaid{
      "",
      "GET /metr",
      "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
      "\x16\x03\x01\xff\xfe\r\n\r\n",
      "POST /-/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
      "BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n"};
  const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(exporter_.port())));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const std::string_view said = kSaid.at(kind % kSaid.size());
  if (connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
    (void)send(client, said.data(), said.size(), MSG_NOSIGNAL);
  }
  clients_.push_back(client);
  if (clients_.size() <= kClientsThatStay) return;
  close(clients_.front());
  clients_.erase(clients_.begin());
}

void WatchedExporter::LeaveInPeace() {
  for (const int client : std::exchange(clients_, {})) close(client);
}

void WatchedExporter::Reload() { exporter_.process().Signal(SIGHUP); }

std::map<std::string, std::uint64_t> FailuresByReason(const Series& page) {
  constexpr std::string_view kBegin = "consul_canary_sidecar_scrape_errors_total{reason=\"";
  std::map<std::string, std::uint64_t> failures;
  for (auto it = page.lower_bound(kBegin); it != page.end() && it->first.starts_with(kBegin);
       ++it) {
    const std::string_view rest = std::string_view(it->first).substr(kBegin.size());
    failures.emplace(rest.substr(0, rest.find('"')), static_cast<std::uint64_t>(it->second));
  }
  return failures;
}

}  // namespace consul_canary::soak
