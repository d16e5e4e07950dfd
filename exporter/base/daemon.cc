#include "exporter/base/daemon.h"

#include <fmt/format.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace consul_canary::base {
namespace {

// A block of its own from the kernel, for what is larger; either stops glibc from raising both.
constexpr int kLargeAllocationBytes = 1 << 20;
constexpr int kMostFreeAtTheTopBytes = 8 << 20;

constexpr std::string_view kTextPlain = "text/plain; charset=utf-8";

sigset_t HandledSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  return set;
}

ServerResponse Page(int status, std::string_view content_type, std::string body) {
  ServerResponse response;
  response.status = status;
  response.content_type = content_type;
  response.body = std::move(body);
  return response;
}

ServerResponse Text(int status, const std::string& line) {
  return Page(status, kTextPlain, line + "\n");
}

ServerResponse NotAllowed(std::string_view allowed) {
  ServerResponse response = Text(405, fmt::format("only {} here", allowed));
  response.headers["Allow"] = allowed;
  return response;
}

// Names and paths are ours or from our own flags, but a path may still hold anything.
std::string Escape(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '&':
        escaped += "&amp;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

ServerResponse LandingPage(const DaemonPages& pages) {
  std::vector<PageLink> links = pages.links;
  links.push_back({pages.telemetry_path, "Metrics"});
  links.push_back({"/-/healthy", "Health"});
  links.push_back({"/-/ready", "Readiness"});
  std::string body = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title></head>"
      "<body><h1>{0}</h1><p>Version {1}</p><ul>",
      Escape(pages.name), Escape(pages.version));
  for (const PageLink& link : links) {
    body += fmt::format("<li><a href=\"{}\">{}</a></li>", Escape(link.path), Escape(link.title));
  }
  return Page(200, "text/html; charset=utf-8", body + "</ul></body></html>\n");
}

ServerResponse Readiness(const DaemonPages& pages) {
  const std::optional<std::string> reason = pages.why_not_ready();
  return reason ? Text(503, *reason) : Text(200, "ready");
}

ServerResponse Reload(const DaemonPages& pages, const std::string& method) {
  if (method != "POST" && method != "PUT") return NotAllowed("POST, PUT");
  const Result<void> done = pages.reload();
  if (done) return Text(200, "reloaded");
  return Text(done.error().code == ErrorCode::kInvalid ? 400 : 500, done.error().message);
}

ServerResponse Metrics(const DaemonPages& pages, const ServerRequest& request) {
  const auto accept = request.headers.find("accept");
  const MetricsFormat format =
      ChooseMetricsFormat(accept == request.headers.end() ? "" : accept->second);
  ServerResponse page = Page(200, format.content_type, pages.metrics(format.syntax));
  page.headers["Vary"] = "Accept";
  return page;
}

std::string ReadFile(const char* path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

// The fields of /proc/self/stat from the third on: the second, the program's name, may hold blanks.
std::vector<double> StatFields() {
  const std::string text = ReadFile("/proc/self/stat");
  const std::size_t name_end = text.rfind(')');
  std::vector<double> fields;
  if (name_end == std::string::npos) return fields;
  std::istringstream rest(text.substr(name_end + 1));
  std::string field;
  while (rest >> field) {
    double value = 0;
    (void)std::from_chars(field.data(), field.data() + field.size(), value);
    fields.push_back(value);
  }
  return fields;
}

double BootTimeSeconds() {
  std::istringstream lines(ReadFile("/proc/stat"));
  std::string line;
  while (std::getline(lines, line)) {
    constexpr std::string_view kKey = "btime ";
    if (!line.starts_with(kKey)) continue;
    double seconds = 0;
    (void)std::from_chars(line.data() + kKey.size(), line.data() + line.size(), seconds);
    return seconds;
  }
  return 0;
}

std::uint64_t OpenFiles() {
  std::error_code error;
  std::uint64_t count = 0;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end;
       it.increment(error)) {
    ++count;
  }
  return count;
}

}  // namespace

void BlockSignals() {
  const sigset_t set = HandledSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

void ReturnFreedMemory() {
  (void)mallopt(M_MMAP_THRESHOLD, kLargeAllocationBytes);
  (void)mallopt(M_TRIM_THRESHOLD, kMostFreeAtTheTopBytes);
}

void WaitForEnd(const std::function<void()>& on_reload) {
  const sigset_t set = HandledSignals();
  for (;;) {
    int signal = 0;
    if (sigwait(&set, &signal) != 0) continue;
    if (signal != SIGHUP) return;
    on_reload();
  }
}

std::optional<ServerResponse> AnswerCommonPages(const DaemonPages& pages,
                                                const ServerRequest& request) {
  if (request.path == "/-/reload") return Reload(pages, request.method);
  const bool known = request.path == "/" || request.path == pages.telemetry_path ||
                     request.path == "/-/healthy" || request.path == "/-/ready";
  if (!known) return std::nullopt;
  if (request.method != "GET" && request.method != "HEAD") return NotAllowed("GET, HEAD");
  if (request.path == pages.telemetry_path) return Metrics(pages, request);
  if (request.path == "/-/healthy") return Text(200, "healthy");
  if (request.path == "/-/ready") return Readiness(pages);
  return LandingPage(pages);
}

ProcessStats ReadProcessStats() {
  // Numbers of proc(5), less the two fields that StatFields leaves out.
  constexpr std::size_t kUserTime = 14 - 3;
  constexpr std::size_t kSystemTime = 15 - 3;
  constexpr std::size_t kStartTime = 22 - 3;
  constexpr std::size_t kVirtualBytes = 23 - 3;
  constexpr std::size_t kResidentPages = 24 - 3;
  ProcessStats stats;
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  const auto page_bytes = static_cast<double>(sysconf(_SC_PAGESIZE));
  const std::vector<double> fields = StatFields();
  if (fields.size() > kResidentPages && ticks > 0) {
    stats.cpu_seconds = (fields[kUserTime] + fields[kSystemTime]) / ticks;
    stats.start_time_seconds = BootTimeSeconds() + fields[kStartTime] / ticks;
    stats.virtual_bytes = static_cast<std::uint64_t>(fields[kVirtualBytes]);
    stats.resident_bytes = static_cast<std::uint64_t>(fields[kResidentPages] * page_bytes);
  }
  stats.open_fds = OpenFiles();
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) stats.max_fds = limit.rlim_cur;
  if (getrlimit(RLIMIT_AS, &limit) == 0) stats.max_virtual_bytes = limit.rlim_cur;
  return stats;
}

Result<milliseconds> ParseDuration(std::string_view text) {
  std::int64_t count = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, count);
  const std::string_view unit(rest, static_cast<std::size_t>(end - rest));
  constexpr std::int64_t kLargest = 1'000'000'000;
  if (error == std::errc() && count >= 0 && count <= kLargest) {
    if (unit == "ms") return milliseconds(count);
    if (unit == "s") return seconds(count);
    if (unit == "m") return std::chrono::minutes(count);
    if (unit == "h") return std::chrono::hours(count);
  }
  return Fail(ErrorCode::kInvalid,
              fmt::format("\"{}\" is no duration: a whole number and ms, s, m or h", text));
}

}  // namespace consul_canary::base
