// One curl multi handle: transfers under way, and the idle connections that the next ones take
// over. libcurl looks at every connection of a handle now and then, so one handle for thousands of
// hosts costs more than the transfers themselves: there are several, of some 200 hosts each. For
// io_loop.cc only.
#pragma once

#include <curl/curl.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "exporter/base/clock.h"
#include "exporter/base/poller.h"

namespace consul_canary::base {

class CurlPool {
 public:
  // `number` is what `poller` reports this pool's sockets with. `poller` must outlive this.
  CurlPool(Poller& poller, std::uint32_t number);
  CurlPool(const CurlPool&) = delete;
  CurlPool& operator=(const CurlPool&) = delete;

  void Add(CURL* easy);
  void Remove(CURL* easy);

  void OnReady(const Poller::Ready& ready);
  void OnTime(MonotonicTime now);  // does nothing before due()
  [[nodiscard]] std::optional<MonotonicTime> due() const { return due_; }

  // A transfer that has ended and was not told yet; null: there is none. It must be removed.
  [[nodiscard]] CURL* NextFinished(CURLcode& code);

  [[nodiscard]] bool IsEmpty() const { return transfers_ == 0; }

 private:
  struct MultiDeleter {
    void operator()(CURLM* multi) const { (void)curl_multi_cleanup(multi); }
  };
  static int OnSocket(CURL* easy, curl_socket_t fd, int what, void* self, void* socket);
  static int OnTimer(CURLM* multi, long timeout_ms, void* self);

  Poller& poller_;
  std::uint32_t number_;
  std::size_t transfers_ = 0;
  bool may_have_finished_ = false;  // curl has run since the last look
  std::optional<MonotonicTime> due_;
  std::unique_ptr<CURLM, MultiDeleter> multi_;
};

}  // namespace consul_canary::base
