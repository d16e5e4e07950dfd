#include "exporter/base/io_loop.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

#include "exporter/base/curl_pool.h"
#include "exporter/base/poller.h"
#include "exporter/base/transfer.h"

namespace consul_canary::base {
namespace {

constexpr std::size_t kMaxSpareTransfers = 256;
constexpr std::size_t kMaxSpareBytes = 16u << 20u;
constexpr long kSmallBuffer = 16 << 10;
constexpr long kLargeBuffer = 256 << 10;
constexpr std::size_t kLargeBody = 64u << 10u;
constexpr milliseconds kLongestPoll{60'000};
constexpr milliseconds kFetchGrace{1000};

// Once for the process, before the first handle: curl's own set-up is not safe between threads.
// Thousands of sidecars are thousands of open files, and the usual soft limit is 1024.
void InitializeProcess() {
  static const bool done = [] {
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
      limit.rlim_cur = limit.rlim_max;
      (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    return true;
  }();
  (void)done;
}

}  // namespace

struct IoLoop::Impl {
  using Task = std::function<void()>;
  using TimerKey = std::pair<MonotonicTime, Id>;

  Poller poller;
  std::vector<std::unique_ptr<CurlPool>> pools;  // by number; null: not in use
  std::vector<std::unique_ptr<Transfer>> spare_small;
  std::vector<std::unique_ptr<Transfer>> spare_large;
  std::size_t spare_bytes = 0;
  std::unordered_map<Id, std::unique_ptr<Transfer>> transfers;
  std::map<TimerKey, Task> timers;
  std::unordered_map<Id, MonotonicTime> timer_due;
  Id last_id = 0;
  std::atomic<std::thread::id> runner;

  std::mutex mutex;  // guards what follows
  std::vector<Task> posted;
  bool ended = false;
  std::condition_variable fetch_changed;  // an answer of Fetch has come, or the loop has ended

  [[nodiscard]] bool OnLoopThread() const {
    const std::thread::id id = runner;
    return id == std::thread::id{} || id == std::this_thread::get_id();
  }

  std::unique_ptr<Transfer> TakeTransfer(std::size_t expected_bytes) {
    const bool large = expected_bytes > kLargeBody;
    auto& spare = large ? spare_large : spare_small;
    if (spare.empty()) {
      return std::make_unique<Transfer>(poller, large ? kLargeBuffer : kSmallBuffer);
    }
    std::unique_ptr<Transfer> transfer = std::move(spare.back());
    spare.pop_back();
    spare_bytes -= transfer->body_capacity();
    return transfer;
  }

  void KeepTransfer(std::unique_ptr<Transfer> transfer) {
    const bool large = transfer->buffer_bytes() == kLargeBuffer;
    const std::size_t bytes = transfer->body_capacity();
    // A large body in one for small ones was not expected, and will hardly come again.
    const bool is_usual = large || bytes <= 2 * kLargeBody;
    transfer->Clear(is_usual && spare_bytes + bytes <= kMaxSpareBytes);
    auto& spare = large ? spare_large : spare_small;
    if (spare.size() >= kMaxSpareTransfers) return;
    spare_bytes += transfer->body_capacity();
    spare.push_back(std::move(transfer));
  }

  CurlPool& PoolOf(std::uint32_t number) {
    if (number >= pools.size()) pools.resize(number + 1);
    if (!pools[number]) pools[number] = std::make_unique<CurlPool>(poller, number);
    return *pools[number];
  }

  Id StartTransfer(std::unique_ptr<Transfer> transfer) {
    const Id id = transfer->id();
    PoolOf(transfer->pool()).Add(transfer->easy());
    transfers.emplace(id, std::move(transfer));
    return id;
  }

  void RunPosted() {
    std::vector<Task> tasks;
    {
      const std::lock_guard lock(mutex);
      tasks.swap(posted);
    }
    for (const Task& task : tasks) task();
  }

  void RunDueTimers() {
    const MonotonicTime now = std::chrono::steady_clock::now();
    while (!timers.empty() && timers.begin()->first.first <= now) {
      const auto first = timers.extract(timers.begin());
      timer_due.erase(first.key().second);
      first.mapped()();
    }
  }

  // Callbacks may start transfers in pools that did not exist before, so no iterator is held.
  void DeliverFinished() {
    for (std::size_t number = 0; number < pools.size(); ++number) {
      CURLcode code = CURLE_OK;
      while (CURL* easy = pools[number] ? pools[number]->NextFinished(code) : nullptr) {
        char* self = nullptr;
        (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &self);
        std::unique_ptr<Transfer> transfer = Remove(reinterpret_cast<Transfer*>(self)->id());
        transfer->Deliver(code);
        KeepTransfer(std::move(transfer));
      }
    }
  }

  std::unique_ptr<Transfer> Remove(Id id) {
    const auto found = transfers.find(id);
    if (found == transfers.end()) return nullptr;
    std::unique_ptr<Transfer> transfer = std::move(found->second);
    transfers.erase(found);
    PoolOf(transfer->pool()).Remove(transfer->easy());
    return transfer;
  }

  void RunPoolTimers() {
    const MonotonicTime now = std::chrono::steady_clock::now();
    for (const auto& pool : pools) {
      if (pool) pool->OnTime(now);
    }
  }

  void WaitForSockets() {
    for (const Poller::Ready& ready : poller.Wait(UntilNextTimer())) {
      if (ready.pool < pools.size() && pools[ready.pool]) pools[ready.pool]->OnReady(ready);
    }
  }

  [[nodiscard]] milliseconds UntilNextTimer() const {
    const MonotonicTime now = std::chrono::steady_clock::now();
    MonotonicTime first = now + kLongestPoll;
    if (!timers.empty()) first = std::min(first, timers.begin()->first.first);
    for (const auto& pool : pools) {
      if (pool && pool->due()) first = std::min(first, *pool->due());
    }
    return std::max(std::chrono::ceil<milliseconds>(first - now), milliseconds{0});
  }

  void SetEnded(bool value) {
    {
      const std::lock_guard lock(mutex);
      ended = value;
    }
    fetch_changed.notify_all();
  }

  // What is dropped may own things that call Cancel(), so nothing is destroyed while it is
  // still in a container.
  void DropEverything() {
    std::unordered_map<Id, std::unique_ptr<Transfer>> dropped_transfers;
    std::map<TimerKey, Task> dropped_timers;
    std::vector<Task> dropped_tasks;
    dropped_transfers.swap(transfers);
    for (const auto& [id, transfer] : dropped_transfers) {
      PoolOf(transfer->pool()).Remove(transfer->easy());
    }
    dropped_timers.swap(timers);
    timer_due.clear();
    const std::lock_guard lock(mutex);
    dropped_tasks.swap(posted);
  }
};

IoLoop::IoLoop() {
  InitializeProcess();
  impl_ = std::make_unique<Impl>();
}

IoLoop::~IoLoop() { impl_->DropEverything(); }

std::size_t IoLoop::OpenFileLimit() {
  InitializeProcess();
  rlimit limit{};
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

IoLoop::Id IoLoop::Start(HttpRequest request, HttpCallback callback) {
  assert(impl_->OnLoopThread());
  std::unique_ptr<Transfer> transfer = impl_->TakeTransfer(request.expected_bytes);
  transfer->Prepare(++impl_->last_id, std::move(request), std::move(callback));
  return impl_->StartTransfer(std::move(transfer));
}

IoLoop::Id IoLoop::Read(const HttpRequest& request, PageCallback callback) {
  assert(impl_->OnLoopThread());
  std::unique_ptr<Transfer> transfer = impl_->TakeTransfer(request.expected_bytes);
  transfer->Prepare(++impl_->last_id, request, std::move(callback));
  return impl_->StartTransfer(std::move(transfer));
}

void IoLoop::ClosePool(std::uint32_t pool) {
  assert(impl_->OnLoopThread());
  if (pool >= impl_->pools.size() || !impl_->pools[pool]) return;
  if (impl_->pools[pool]->IsEmpty()) impl_->pools[pool].reset();
}

IoLoop::Id IoLoop::After(milliseconds delay, std::function<void()> task) {
  assert(impl_->OnLoopThread());
  const Id id = ++impl_->last_id;
  const MonotonicTime due = std::chrono::steady_clock::now() + delay;
  impl_->timers.emplace(Impl::TimerKey{due, id}, std::move(task));
  impl_->timer_due.emplace(id, due);
  return id;
}

void IoLoop::Cancel(Id id) {
  assert(impl_->OnLoopThread());
  if (std::unique_ptr<Transfer> transfer = impl_->Remove(id)) {
    return impl_->KeepTransfer(std::move(transfer));
  }
  const auto found = impl_->timer_due.find(id);
  if (found == impl_->timer_due.end()) return;
  const auto timer = impl_->timers.extract(Impl::TimerKey{found->second, id});
  impl_->timer_due.erase(found);
}

void IoLoop::Post(std::function<void()> task) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->posted.push_back(std::move(task));
  }
  impl_->poller.Wake();
}

void IoLoop::Run(const std::stop_token& stop) {
  impl_->runner = std::this_thread::get_id();
  impl_->SetEnded(false);
  const std::stop_callback wake(stop, [this] { impl_->poller.Wake(); });
  while (!stop.stop_requested()) {
    impl_->RunPosted();
    impl_->RunDueTimers();
    impl_->RunPoolTimers();
    impl_->DeliverFinished();
    impl_->WaitForSockets();
    impl_->DeliverFinished();
  }
  impl_->runner = std::thread::id{};
  impl_->SetEnded(true);
}

IoThread::IoThread() : thread_([this](const std::stop_token& stop) { loop_.Run(stop); }) {}

IoThread::~IoThread() { Stop(); }

void IoThread::Stop() {
  assert(thread_.get_id() != std::this_thread::get_id());
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

Result<HttpResponse> Fetch(IoLoop& loop, HttpRequest request) {
  IoLoop::Impl& impl = *loop.impl_;
  const std::string name = Describe(request);
  const milliseconds patience = request.timeout + kFetchGrace;
  // Shared, because the loop may answer after the wait was given up.
  const auto answer = std::make_shared<std::optional<Result<HttpResponse>>>();
  loop.Post([&loop, &impl, answer, request = std::move(request)]() mutable {
    loop.Start(std::move(request), [&impl, answer](Result<HttpResponse> result) {
      {
        const std::lock_guard lock(impl.mutex);
        *answer = std::move(result);
      }
      impl.fetch_changed.notify_all();
    });
  });
  std::unique_lock lock(impl.mutex);
  const bool decided = impl.fetch_changed.wait_for(
      lock, patience, [&] { return answer->has_value() || impl.ended; });
  if (answer->has_value()) return std::move(**answer);
  return Fail(ErrorCode::kUnavailable,
              fmt::format("{}: {}", name, decided ? "the client has been stopped" : "timed out"));
}

}  // namespace consul_canary::base
