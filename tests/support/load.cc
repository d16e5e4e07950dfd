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

struct Answer {
  MonotonicTime time;
  float milliseconds;  // since the request was sent
  bool failed;
};

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
    const MonotonicTime start = std::chrono::steady_clock::now();
    thread.loop().Start(std::move(request),
                        [this, start](const Result<HttpResponse>& answer) { Take(answer, start); });
    return true;
  }

  void Take(const Result<HttpResponse>& answer, MonotonicTime start) {
    const int status = answer ? answer->status : 0;
    const bool failed = status == 0 || status >= 500;
    const std::string version = VersionOf(answer);
    const std::lock_guard lock(mutex);
    ++counts.completed;
    ++counts.by_status[status];
    ++counts.by_version[version];
    const MonotonicTime now = std::chrono::steady_clock::now();
    answers.push_back({now, std::chrono::duration<float, std::milli>(now - start).count(), failed});
    if (!failed) return;
    ++counts.failed;
    ++counts.failed_by_version[version];
  }

  const LoadOptions options;
  std::atomic<double> rate;
  MonotonicTime next = std::chrono::steady_clock::now();

  mutable std::mutex mutex;  // guards what follows
  bool stopping = false;
  LoadCounts counts;
  std::vector<Answer> answers;  // by time

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

LoadSpan Load::Since(MonotonicTime since) const {
  LoadSpan span;
  std::vector<float> times;
  {
    const std::lock_guard lock(impl_->mutex);
    const auto first = std::lower_bound(
        impl_->answers.begin(), impl_->answers.end(), since,
        [](const Answer& answer, MonotonicTime moment) { return answer.time < moment; });
    for (auto answer = first; answer != impl_->answers.end(); ++answer) {
      times.push_back(answer->milliseconds);
      span.failed += answer->failed ? 1 : 0;
    }
  }
  span.completed = static_cast<std::int64_t>(times.size());
  if (times.empty()) return span;
  const auto rank = times.begin() + static_cast<std::ptrdiff_t>((times.size() - 1) * 99 / 100);
  std::nth_element(times.begin(), rank, times.end());
  span.p99_ms = *rank;
  return span;
}

bool Load::WaitForMore(std::int64_t count, base::milliseconds limit) const {
  const std::int64_t wanted = Counts().completed + count;
  return WaitUntil([this, wanted] { return Counts().completed >= wanted; }, limit);
}

}  // namespace consul_canary::testing
