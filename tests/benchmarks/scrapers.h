// The programs that the exporter's receiving and reading is compared with, and the server of the
// pages: nginx with static files, Prometheus, vmagent. Each is a child on a port of its own.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/base/result.h"
#include "tests/support/http.h"
#include "tests/support/ports.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace consul_canary::benchmarks {

// Serves files of its folder as pages of metrics: http://127.0.0.1:PORT/<any>/<file>.
class PageServer {
 public:
  [[nodiscard]] static base::Result<std::unique_ptr<PageServer>> Start(const std::string& nginx,
                                                                       testing::Ports& ports,
                                                                       const testing::Http& http);

  void Write(const std::string& file, const std::string& page) const;
  [[nodiscard]] std::string host() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  explicit PageServer(int port) : port_(port) {}

  testing::TempDir folder_{"pages"};
  int port_;
  std::unique_ptr<testing::Process> process_;
};

// A program that scrapes as Prometheus does.
struct Scraper {
  enum class Kind { kPrometheus, kVmagent };

  std::string name;  // prometheus-2.42
  Kind kind = Kind::kPrometheus;
  std::string program;
};

// How Debian's Prometheus is called, with its version: prometheus-2.42.0. kNotFound when the
// program does not say it.
[[nodiscard]] base::Result<Scraper> PrometheusAt(const std::string& program);

// CPU time of a scrape in milliseconds, the median over `windows` windows of two seconds, while it
// scrapes `targets` copies of one page each second and keeps the series whose names match
// `pattern`. Everything that the process does meanwhile counts; scrapes that fail do not.
[[nodiscard]] base::Result<double> MeasureScraper(const Scraper& scraper, const PageServer& server,
                                                  const std::string& file,
                                                  const std::string& pattern, int targets,
                                                  int windows, testing::Ports& ports,
                                                  const testing::Http& http);

}  // namespace consul_canary::benchmarks
