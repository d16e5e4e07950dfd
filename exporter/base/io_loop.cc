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

#include "exporter/base/transfer.h"

namespace consul_canary::base {
namespace {

// Each sidecar's connection stays open between two scrapes. curl's default, four times the
// handles in use at the moment, made it reopen all of them in each round.
constexpr long kMaxIdleConnections = 16384;
constexpr std::size_t kMaxSpareHandles = 256;
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

struct MultiDeleter {
  void operator()(CURLM* multi) const { (void)curl_multi_cleanup(multi); }
};

}  // namespace

struct IoLoop::Impl {
  using Task = std::function<void()>;
  using TimerKey = std::pair<MonotonicTime, Id>;

  std::unique_ptr<CURLM, MultiDeleter> multi;
  std::vector<EasyHandle> spare_handles;
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

  EasyHandle TakeHandle() {
    if (spare_handles.empty()) return EasyHandle(curl_easy_init());
    EasyHandle handle = std::move(spare_handles.back());
    spare_handles.pop_back();
    return handle;
  }

  void KeepHandle(EasyHandle handle) {
    if (spare_handles.size() < kMaxSpareHandles) spare_handles.push_back(std::move(handle));
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

  void DeliverFinished() {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi.get(), &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      const CURLcode code = message->data.result;
      char* self = nullptr;
      (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &self);
      const Id id = reinterpret_cast<Transfer*>(self)->id();
      const std::unique_ptr<Transfer> transfer = Remove(id);
      Result<HttpResponse> result = transfer->TakeResult(code);
      const HttpCallback callback = transfer->TakeCallback();
      KeepHandle(transfer->TakeEasy());
      callback(std::move(result));
    }
  }

  std::unique_ptr<Transfer> Remove(Id id) {
    const auto found = transfers.find(id);
    if (found == transfers.end()) return nullptr;
    std::unique_ptr<Transfer> transfer = std::move(found->second);
    transfers.erase(found);
    (void)curl_multi_remove_handle(multi.get(), transfer->easy());
    return transfer;
  }

  [[nodiscard]] milliseconds UntilNextTimer() const {
    if (timers.empty()) return kLongestPoll;
    const auto wait = std::chrono::ceil<milliseconds>(timers.begin()->first.first -
                                                      std::chrono::steady_clock::now());
    return std::clamp(wait, milliseconds{0}, kLongestPoll);
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
      (void)curl_multi_remove_handle(multi.get(), transfer->easy());
    }
    dropped_timers.swap(timers);
    timer_due.clear();
    const std::lock_guard lock(mutex);
    dropped_tasks.swap(posted);
  }
};

IoLoop::IoLoop() : impl_(std::make_unique<Impl>()) {
  InitializeProcess();
  impl_->multi.reset(curl_multi_init());
  assert(impl_->multi != nullptr);
  (void)curl_multi_setopt(impl_->multi.get(), CURLMOPT_MAXCONNECTS, kMaxIdleConnections);
}

IoLoop::~IoLoop() { impl_->DropEverything(); }

IoLoop::Id IoLoop::Start(HttpRequest request, HttpCallback callback) {
  assert(impl_->OnLoopThread());
  const Id id = ++impl_->last_id;
  auto transfer =
      std::make_unique<Transfer>(id, std::move(request), std::move(callback), impl_->TakeHandle());
  (void)curl_multi_add_handle(impl_->multi.get(), transfer->easy());
  impl_->transfers.emplace(id, std::move(transfer));
  return id;
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
  if (const std::unique_ptr<Transfer> transfer = impl_->Remove(id)) {
    impl_->KeepHandle(transfer->TakeEasy());
    return;
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
  (void)curl_multi_wakeup(impl_->multi.get());
}

void IoLoop::Run(const std::stop_token& stop) {
  impl_->runner = std::this_thread::get_id();
  impl_->SetEnded(false);
  const std::stop_callback wake(stop, [this] { (void)curl_multi_wakeup(impl_->multi.get()); });
  while (!stop.stop_requested()) {
    impl_->RunPosted();
    impl_->RunDueTimers();
    int running = 0;
    (void)curl_multi_perform(impl_->multi.get(), &running);
    impl_->DeliverFinished();
    const auto wait = static_cast<int>(impl_->UntilNextTimer().count());
    (void)curl_multi_poll(impl_->multi.get(), nullptr, 0, wait, nullptr);
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
