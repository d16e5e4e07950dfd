// The exporter from outside: its page, and what its process takes. Its page is asked for without
// pause from a thread of its own, whatever else happens.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/support/daemons.h"
#include "tests/support/http.h"

namespace consul_canary::soak {

// Series as written → value.
using Series = std::map<std::string, double, std::less<>>;

struct Footprint {
  std::uint64_t resident_kib = 0;
  int open_files = 0;
  int threads = 0;
};

class WatchedExporter {
 public:
  // `exporter` and `http` must outlive this.
  WatchedExporter(testing::Daemon& exporter, const testing::Http& http);
  ~WatchedExporter();

  // All of /metrics; empty when it is not answered.
  [[nodiscard]] Series Read() const;
  // As the kernel and, of open files, its own page tell.
  [[nodiscard]] Footprint Weigh() const;

  // A client that does what clients must not: says nothing, or half, or nonsense, or leaves early.
  // A few of them stay connected.
  void BotherWith(std::uint64_t kind);
  // They have gone.
  void LeaveInPeace();
  void Reload();  // by SIGHUP

  [[nodiscard]] std::uint64_t scrapes() const { return scrapes_; }
  // Pages that were not answered with 200 within 5 s.
  [[nodiscard]] std::uint64_t failed_scrapes() const { return failed_scrapes_; }

 private:
  void ScrapeOnAndOn();

  testing::Daemon& exporter_;
  const testing::Http& http_;
  std::vector<int> clients_;
  std::atomic<std::uint64_t> scrapes_ = 0;
  std::atomic<std::uint64_t> failed_scrapes_ = 0;
  std::atomic<bool> ending_ = false;
  std::thread scraper_;
};

// Label `reason` → count, of what the page says about failed reads.
[[nodiscard]] std::map<std::string, std::uint64_t> FailuresByReason(const Series& page);

}  // namespace consul_canary::soak
