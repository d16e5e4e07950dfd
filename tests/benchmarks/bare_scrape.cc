#include "tests/benchmarks/bare_scrape.h"

#include <curl/curl.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <optional>

namespace consul_canary::benchmarks {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kOfOneMulti = 200;
constexpr int kWarmUp = 3;

struct Bare;

struct Shard {
  CURLM* multi = nullptr;
  Bare* bare = nullptr;
  std::uint32_t number = 0;
  std::optional<base::MonotonicTime> due;
};

struct Bare {
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  std::vector<Shard> shards;
  std::vector<CURL*> handles;
  BareScrape counted;
};

int OnSocket(CURL* /*easy*/, curl_socket_t fd, int what, void* self, void* known) {
  auto* shard = static_cast<Shard*>(self);
  epoll_event event{};
  event.data.u64 = static_cast<std::uint64_t>(shard->number) << 32u | static_cast<unsigned>(fd);
  if (what == CURL_POLL_REMOVE) {
    (void)epoll_ctl(shard->bare->epoll, EPOLL_CTL_DEL, fd, nullptr);
    return 0;
  }
  if ((what & CURL_POLL_IN) != 0) event.events |= EPOLLIN;
  if ((what & CURL_POLL_OUT) != 0) event.events |= EPOLLOUT;
  (void)epoll_ctl(shard->bare->epoll, known == nullptr ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
  (void)curl_multi_assign(shard->multi, fd, shard);
  return 0;
}

int OnTimer(CURLM* /*multi*/, long timeout_ms, void* self) {
  auto* shard = static_cast<Shard*>(self);
  shard->due.reset();
  if (timeout_ms >= 0) shard->due = Clock::now() + base::milliseconds(timeout_ms);
  return 0;
}

std::size_t OnBody(char* /*data*/, std::size_t size, std::size_t count, void* self) {
  static_cast<Bare*>(self)->counted.bytes += size * count;
  return size * count;
}

std::size_t OnHeader(char* /*data*/, std::size_t size, std::size_t count, void* /*self*/) {
  return size * count;
}

void SetUp(Bare& bare, const std::vector<std::string>& urls) {
  bare.shards.resize((urls.size() + kOfOneMulti - 1) / kOfOneMulti);
  for (std::size_t i = 0; i < bare.shards.size(); ++i) {
    Shard& shard = bare.shards[i];
    shard = {curl_multi_init(), &bare, static_cast<std::uint32_t>(i), {}};
    curl_multi_setopt(shard.multi, CURLMOPT_MAXCONNECTS, 256L);
    curl_multi_setopt(shard.multi, CURLMOPT_SOCKETFUNCTION, &OnSocket);
    curl_multi_setopt(shard.multi, CURLMOPT_SOCKETDATA, &shard);
    curl_multi_setopt(shard.multi, CURLMOPT_TIMERFUNCTION, &OnTimer);
    curl_multi_setopt(shard.multi, CURLMOPT_TIMERDATA, &shard);
  }
  for (const std::string& url : urls) {
    CURL* easy = curl_easy_init();
    curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 900L);
    curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &OnBody);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &bare);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &OnHeader);
    bare.handles.push_back(easy);
  }
}

void TakeFinished(Bare& bare, Shard& shard) {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(shard.multi, &left)) {
    CURL* easy = message->easy_handle;
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    ++(message->data.result == CURLE_OK && status == 200 ? bare.counted.pages
                                                         : bare.counted.failures);
    curl_multi_remove_handle(shard.multi, easy);
  }
}

// What is due, and then what is ready within 10 ms.
void Turn(Bare& bare) {
  int running = 0;
  const auto now = Clock::now();
  for (Shard& shard : bare.shards) {
    if (!shard.due || *shard.due > now) continue;
    shard.due.reset();
    curl_multi_socket_action(shard.multi, CURL_SOCKET_TIMEOUT, 0, &running);
    TakeFinished(bare, shard);
  }
  std::array<epoll_event, 512> events{};
  const int count = epoll_wait(bare.epoll, events.data(), static_cast<int>(events.size()), 1);
  for (int i = 0; i < count; ++i) {
    const std::uint64_t data = events[static_cast<std::size_t>(i)].data.u64;
    Shard& shard = bare.shards[data >> 32u];
    const std::uint32_t ready = events[static_cast<std::size_t>(i)].events;
    const int what = ((ready & EPOLLIN) != 0 ? CURL_CSELECT_IN : 0) |
                     ((ready & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0) |
                     ((ready & (EPOLLERR | EPOLLHUP)) != 0 ? CURL_CSELECT_ERR : 0);
    curl_multi_socket_action(shard.multi, static_cast<int>(data & 0xffffffffu), what, &running);
    TakeFinished(bare, shard);
  }
}

}  // namespace

double ThreadCpuSeconds() {
  timespec time{};
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

BareScrape ScrapeBare(const std::vector<std::string>& urls, int seconds) {
  Bare bare;
  SetUp(bare, urls);
  const auto begin = Clock::now();
  double cpu_before = 0;
  for (int second = 0; second < seconds + kWarmUp; ++second) {
    if (second == kWarmUp) {
      bare.counted = {};
      cpu_before = ThreadCpuSeconds();
    }
    for (std::size_t next = 0; next < urls.size();) {
      const double at = second + static_cast<double>(next) / static_cast<double>(urls.size());
      const double now = std::chrono::duration<double>(Clock::now() - begin).count();
      // A hundredth of them together, as we do.
      if (now >= at) {
        const std::size_t end = std::min(urls.size(), next + (urls.size() + 99) / 100);
        for (; next < end; ++next) {
          Shard& shard = bare.shards[next / kOfOneMulti];
          curl_multi_add_handle(shard.multi, bare.handles[next]);
        }
      }
      Turn(bare);
    }
  }
  bare.counted.cpu_seconds = ThreadCpuSeconds() - cpu_before;
  for (std::size_t i = 0; i < bare.handles.size(); ++i) {
    curl_multi_remove_handle(bare.shards[i / kOfOneMulti].multi, bare.handles[i]);
    curl_easy_cleanup(bare.handles[i]);
  }
  for (Shard& shard : bare.shards) curl_multi_cleanup(shard.multi);
  close(bare.epoll);
  return bare.counted;
}

}  // namespace consul_canary::benchmarks
