// One HTTP exchange on a curl easy handle: the options it runs with, and what came of it. For
// io_loop.cc only; it neither waits nor calls anybody back.
#pragma once

#include <curl/curl.h>

#include <array>
#include <cstddef>
#include <memory>
#include <utility>

#include "exporter/base/io_loop.h"

namespace consul_canary::base {

struct EasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
using EasyHandle = std::unique_ptr<CURL, EasyDeleter>;

struct SlistDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, SlistDeleter>;

// Must stay at its address while its easy handle is in a multi handle: curl writes into it.
class Transfer {
 public:
  // `easy` is fresh, or came out of TakeEasy().
  Transfer(IoLoop::Id id, HttpRequest request, IoLoop::HttpCallback callback, EasyHandle easy);
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  [[nodiscard]] IoLoop::Id id() const { return id_; }
  [[nodiscard]] CURL* easy() const { return easy_.get(); }

  // Each once, after the handle has left the multi handle.
  [[nodiscard]] Result<HttpResponse> TakeResult(CURLcode code);
  [[nodiscard]] IoLoop::HttpCallback TakeCallback() { return std::move(callback_); }
  // Reset, so that it holds no pointer into this transfer.
  [[nodiscard]] EasyHandle TakeEasy();

 private:
  static std::size_t OnBody(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t OnHeader(char* data, std::size_t size, std::size_t count, void* self);
  void SetConnectionOptions();
  void SetTlsOptions();
  void SetBody();
  void SetHeaders();
  [[nodiscard]] bool Count(std::size_t bytes);

  IoLoop::Id id_;
  HttpRequest request_;
  IoLoop::HttpCallback callback_;
  EasyHandle easy_;
  HeaderList headers_;
  HttpResponse response_;
  std::size_t received_bytes_ = 0;
  bool too_large_ = false;
  std::array<char, CURL_ERROR_SIZE> error_text_{};
};

}  // namespace consul_canary::base
