#include "exporter/base/curl_pool.h"

#include <cassert>

namespace consul_canary::base {
namespace {

// More than the hosts that a pool is for, so that none of them loses its connection between two
// requests; not much more, so that those of hosts that nobody asks any longer are closed. Without
// it, curl keeps four for each transfer that is under way, and reopens all others each time.
constexpr long kMaxIdleConnections = 256;

}  // namespace

CurlPool::CurlPool(Poller& poller, std::uint32_t number)
    : poller_(poller), number_(number), multi_(curl_multi_init()) {
  assert(multi_ != nullptr);
  (void)curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, kMaxIdleConnections);
  (void)curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETFUNCTION, &CurlPool::OnSocket);
  (void)curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETDATA, static_cast<void*>(this));
  (void)curl_multi_setopt(multi_.get(), CURLMOPT_TIMERFUNCTION, &CurlPool::OnTimer);
  (void)curl_multi_setopt(multi_.get(), CURLMOPT_TIMERDATA, static_cast<void*>(this));
}

void CurlPool::Add(CURL* easy) {
  ++transfers_;
  (void)curl_multi_add_handle(multi_.get(), easy);
}

void CurlPool::Remove(CURL* easy) {
  --transfers_;
  (void)curl_multi_remove_handle(multi_.get(), easy);
}

void CurlPool::OnReady(const Poller::Ready& ready) {
  int what = 0;
  if ((ready.events & EPOLLIN) != 0) what |= CURL_CSELECT_IN;
  if ((ready.events & EPOLLOUT) != 0) what |= CURL_CSELECT_OUT;
  if ((ready.events & (EPOLLERR | EPOLLHUP)) != 0) what |= CURL_CSELECT_ERR;
  may_have_finished_ = true;
  int running = 0;
  (void)curl_multi_socket_action(multi_.get(), ready.fd, what, &running);
}

void CurlPool::OnTime(MonotonicTime now) {
  if (!due_ || *due_ > now) return;
  due_.reset();  // curl sets the next one from inside the call
  may_have_finished_ = true;
  int running = 0;
  (void)curl_multi_socket_action(multi_.get(), CURL_SOCKET_TIMEOUT, 0, &running);
}

CURL* CurlPool::NextFinished(CURLcode& code) {
  if (!may_have_finished_) return nullptr;
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    code = message->data.result;
    return message->easy_handle;
  }
  may_have_finished_ = false;
  return nullptr;
}

int CurlPool::OnSocket(CURL* /*easy*/, curl_socket_t fd, int what, void* self, void* /*socket*/) {
  auto* pool = static_cast<CurlPool*>(self);
  std::uint32_t events = 0;
  if (what == CURL_POLL_IN || what == CURL_POLL_INOUT) events |= EPOLLIN;
  if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT) events |= EPOLLOUT;
  pool->poller_.Watch(fd, pool->number_, events);
  return 0;
}

int CurlPool::OnTimer(CURLM* /*multi*/, long timeout_ms, void* self) {
  auto* pool = static_cast<CurlPool*>(self);
  if (timeout_ms < 0) {
    pool->due_.reset();
  } else {
    pool->due_ = std::chrono::steady_clock::now() + milliseconds(timeout_ms);
  }
  return 0;
}

}  // namespace consul_canary::base
