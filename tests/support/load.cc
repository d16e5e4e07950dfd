#include "tests/support/load.h"

#include <algorithm>
#include <atomic>
#include <mutex>

#include "exporter/base/io_loop.h"
#include "tests/support/wait.h"

namespace consul_canary::testing {

using base::HttpResponse;
using base::MonotonicTime;
using base::Result;

namespace {

std::string VersionOf(const Result<HttpResponse>& answer) {
  if (!answer) return "";
  const auto header = answer->headers.find("x-app-version");
  return header == answer->headers.end() ? "" : header->second;
}

}  // namespace

struct Load::Impl {
  explicit Impl(LoadOptions given) : options(std::move(given)), rate(options.rate) {}

  // On the loop's thread. Sends what is due and comes back when the next is.
  void Tick() {
    const MonotonicTime now = std::chrono::steady_clock::now();
    const auto gap = std::chrono::duration_cast<MonotonicTime::duration>(
        std::chrono::duration<double>(1 / std::max(rate.load(), 0.001)));
    // More than a second late means that the process was stopped: a burst would measure nothing.
    if (now - next > seconds(1)) next = now;
    for (; next <= now; next += gap) {
      if (!Send()) return;
    }
    const auto pause = std::chrono::ceil<milliseconds>(next - now);
    thread.loop().After(std::min<milliseconds>(pause, milliseconds(100)), [this] { Tick(); });
  }

  // False once stopped.
  bool Send() {
    base::HttpRequest request;
    request.url = options.url;
    request.headers = options.headers;
    request.timeout = options.timeout;
    {
      const std::lock_guard lock(mutex);
      if (stopping) return false;
      ++counts.sent;
      counts.max_in_flight = std::max(counts.max_in_flight, counts.sent - counts.completed);
    }
    thread.loop().Start(std::move(request),
                        [this](const Result<HttpResponse>& answer) { Take(answer); });
    return true;
  }

  void Take(const Result<HttpResponse>& answer) {
    const int status = answer ? answer->status : 0;
    const bool failed = status == 0 || status >= 500;
    const std::string version = VersionOf(answer);
    const std::lock_guard lock(mutex);
    ++counts.completed;
    ++counts.by_status[status];
    ++counts.by_version[version];
    if (!failed) return;
    ++counts.failed;
    ++counts.failed_by_version[version];
    failures.push_back(std::chrono::steady_clock::now());
  }

  const LoadOptions options;
  std::atomic<double> rate;
  MonotonicTime next = std::chrono::steady_clock::now();

  mutable std::mutex mutex;  // guards what follows
  bool stopping = false;
  LoadCounts counts;
  std::vector<MonotonicTime> failures;  // ascending

  base::IoThread thread;  // last: its callbacks use all of the above
};

Load::Load(LoadOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {
  impl_->thread.loop().Post([impl = impl_.get()] { impl->Tick(); });
}

Load::~Load() { impl_->thread.Stop(); }

void Load::SetRate(double rate) { impl_->rate = rate; }

void Load::Stop() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;  // from here on `sent` stays
  }
  const auto all_done = [this] {
    const LoadCounts counts = Counts();
    return counts.completed == counts.sent;
  };
  if (!WaitUntil(all_done, impl_->options.timeout + seconds(2))) impl_->thread.Stop();
}

LoadCounts Load::Counts() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->counts;
}

std::int64_t Load::FailedSince(MonotonicTime since) const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->failures.end() -
         std::lower_bound(impl_->failures.begin(), impl_->failures.end(), since);
}

bool Load::WaitForMore(std::int64_t count, base::milliseconds limit) const {
  const std::int64_t wanted = Counts().completed + count;
  return WaitUntil([this, wanted] { return Counts().completed >= wanted; }, limit);
}

}  // namespace consul_canary::testing
