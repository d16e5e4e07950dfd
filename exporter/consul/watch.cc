// Blocking queries: https://developer.hashicorp.com/consul/api-docs/features/blocking
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <optional>
#include <utility>

#include "exporter/base/clock.h"
#include "exporter/consul/client.h"
#include "exporter/consul/client_impl.h"

namespace consul_canary::consul {
namespace {

using base::HttpResponse;
using base::milliseconds;
using base::Result;

constexpr std::string_view kWait = "60s";
// Consul answers within wait + wait/16; what is later than this will not come.
constexpr milliseconds kTimeout{75'000};
constexpr milliseconds kFirstBackOff{500};
constexpr milliseconds kLongestBackOff{10'000};
// An answer without an index did not block, so it must not be asked for as often as one that does.
constexpr milliseconds kIntervalWithoutIndex{1000};

// nullopt: the answer has no index, so the path does not block.
std::optional<std::uint64_t> IndexOf(const HttpResponse& response) {
  const auto found = response.headers.find("x-consul-index");
  if (found == response.headers.end()) return std::nullopt;
  const std::string& text = found->second;
  std::uint64_t index = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return std::max<std::uint64_t>(index, 1);  // 0 would not block
}

}  // namespace

// Held by its Watch; transfers and timers know it weakly, so that a Watch may be destroyed at any
// moment, its own callback included.
struct BlockingQuery : std::enable_shared_from_this<BlockingQuery> {
  std::weak_ptr<Client::Impl> client;
  std::string operation;
  std::string path;
  milliseconds min_interval{0};
  bool absence_is_an_answer = false;
  Client::Taker taker;

  std::uint64_t index = 0;      // to ask with; 0: answer at once
  std::uint64_t delivered = 0;  // index of the last answer that was delivered
  std::optional<base::ErrorCode> failing_with;
  milliseconds back_off = kFirstBackOff;
  base::MonotonicTime asked_at;
  base::IoLoop::Id pending = 0;  // transfer or timer
  bool stopped = false;

  void Ask() {
    const std::shared_ptr<Client::Impl> impl = client.lock();
    if (!impl) return;
    asked_at = std::chrono::steady_clock::now();
    Call call;
    call.operation = operation;
    call.path = path;
    call.absence_is_an_answer = absence_is_an_answer;
    call.path += path.find('?') == std::string::npos ? '?' : '&';
    if (index > 0) {
      call.path += fmt::format("index={}&wait={}", index, kWait);
      call.timeout = kTimeout;
    } else {
      // A server that has just started answers before all of its state is there again, and what it
      // lacks would pass for deleted. Asked for this it waits until it is, or says 500.
      call.path += "consistent";
    }
    pending = impl->Send(std::move(call), [weak = weak_from_this()](Result<HttpResponse> response) {
      if (const auto self = weak.lock()) self->OnResponse(std::move(response));
    });
  }

  void OnResponse(Result<HttpResponse> response) {
    pending = 0;
    const milliseconds delay =
        response ? Succeed(*std::move(response)) : Fail(std::move(response).error());
    if (!stopped) AskAfter(delay);
  }

  // Both return how long after the last request the next one may start.
  milliseconds Succeed(HttpResponse response) {
    const std::optional<std::uint64_t> answered = IndexOf(response);
    const bool news = failing_with || delivered == 0 || !answered || *answered != delivered;
    if (news) {
      const Result<void> taken = taker(std::move(response));
      if (!taken) return Fail({taken.error().code, ToName() + ": " + taken.error().message});
    }
    Observe(nullptr);
    // An index that goes backwards means that the state was restored or replaced.
    index = !answered || *answered < index ? 0 : *answered;
    delivered = answered.value_or(0);
    failing_with.reset();
    back_off = kFirstBackOff;
    return answered ? min_interval : std::max(min_interval, kIntervalWithoutIndex);
  }

  milliseconds Fail(base::Error error) {
    Observe(&error);
    index = 0;  // the server that answers next may count otherwise, and the answer is news anyway
    const milliseconds delay = back_off;
    back_off = std::min(2 * back_off, kLongestBackOff);
    const bool news = failing_with != error.code;
    failing_with = error.code;
    if (news) (void)taker(tl::unexpected(std::move(error)));
    const auto spent =
        std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - asked_at);
    return spent + std::max(delay, min_interval);
  }

  void Observe(const base::Error* error) const {
    if (const auto impl = client.lock()) impl->Observe(operation, error);
  }

  [[nodiscard]] std::string ToName() const {
    Call call;
    call.path = path;
    return Name(call);
  }

  void AskAfter(milliseconds interval) {
    const std::shared_ptr<Client::Impl> impl = client.lock();
    if (!impl) return;
    const auto wait =
        std::chrono::ceil<milliseconds>(asked_at + interval - std::chrono::steady_clock::now());
    pending = impl->loop.After(std::max(wait, milliseconds{0}), [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->Ask();
    });
  }

  void Stop() {
    stopped = true;
    if (const auto impl = client.lock(); impl && pending != 0) impl->loop.Cancel(pending);
  }
};

namespace {

class PathWatch final : public Watch {
 public:
  explicit PathWatch(std::shared_ptr<BlockingQuery> query) : query_(std::move(query)) {}
  ~PathWatch() override { query_->Stop(); }
  PathWatch(const PathWatch&) = delete;
  PathWatch& operator=(const PathWatch&) = delete;

 private:
  std::shared_ptr<BlockingQuery> query_;
};

}  // namespace

std::unique_ptr<Watch> Client::WatchPath(std::string_view operation, std::string_view path,
                                         base::milliseconds min_interval,
                                         Reply<base::HttpResponse> on_answer) {
  return StartWatch(operation, path, min_interval, /*absence_is_an_answer=*/true,
                    [on_answer = std::move(on_answer)](Result<HttpResponse> answer) {
                      on_answer(std::move(answer));
                      return Result<void>();
                    });
}

std::unique_ptr<Watch> Client::StartWatch(std::string_view operation, std::string_view path,
                                          base::milliseconds min_interval,
                                          bool absence_is_an_answer, Taker taker) {
  auto query = std::make_shared<BlockingQuery>();
  query->client = impl_;
  query->operation = operation;
  query->path = path;
  query->min_interval = min_interval;
  query->absence_is_an_answer = absence_is_an_answer;
  query->taker = std::move(taker);
  query->Ask();
  return std::make_unique<PathWatch>(std::move(query));
}

}  // namespace consul_canary::consul
