// One HTTP exchange at a time on a curl easy handle: the options it runs with, and what came of it.
// For io_loop.cc only; it does not wait.
#pragma once

#include <curl/curl.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "exporter/base/io_loop.h"
#include "exporter/base/poller.h"

namespace consul_canary::base {

struct EasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
using EasyHandle = std::unique_ptr<CURL, EasyDeleter>;

struct SlistDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, SlistDeleter>;

// Serves one exchange after another, since setting up an easy handle costs as much as a small page.
// Must stay at its address: curl writes into it.
class Transfer {
 public:
  // A larger buffer takes a large answer in fewer pieces.
  Transfer(Poller& poller, long buffer_bytes);
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  // Each sets the handle up for an exchange. The second's request must be a plain GET.
  void Prepare(IoLoop::Id id, HttpRequest request, IoLoop::HttpCallback callback);
  void Prepare(IoLoop::Id id, const HttpRequest& request, IoLoop::PageCallback callback);

  [[nodiscard]] IoLoop::Id id() const { return id_; }
  [[nodiscard]] CURL* easy() const { return easy_.get(); }
  [[nodiscard]] long buffer_bytes() const { return buffer_bytes_; }
  [[nodiscard]] std::uint32_t pool() const { return pool_; }
  [[nodiscard]] std::size_t body_capacity() const { return body_.capacity(); }

  // Calls back with what came of it, once the handle has left its multi handle.
  void Deliver(CURLcode code);

  // Forgets the exchange: what the callback holds is destroyed. The body's memory stays for the
  // next one, if `keep_memory`.
  void Clear(bool keep_memory);

 private:
  static std::size_t OnBody(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t OnHeader(char* data, std::size_t size, std::size_t count, void* self);
  static curl_socket_t OnOpen(void* poller, curlsocktype purpose, curl_sockaddr* address);
  static int OnClose(void* poller, curl_socket_t fd);
  void SetLastingOptions();
  void SetExchangeOptions(const HttpRequest& request);
  void SetTlsOptions();
  void SetServerName(const std::string& name);
  void SetBody();
  void SetHeaders();
  void SetTarget(std::string_view url);
  void NoteEncoding(std::string_view line);
  void BeginBody();
  [[nodiscard]] PageOutcome OutcomeOf(CURLcode code) const;
  [[nodiscard]] std::string ReasonOf(CURLcode code) const;
  [[nodiscard]] Result<HttpResponse> TakeResponse(CURLcode code);
  [[nodiscard]] int Status() const;

  Poller& poller_;
  long buffer_bytes_;
  EasyHandle easy_;
  bool is_plain_ = true;  // no option is set that the next exchange must not find
  std::string target_;    // that is set on the handle; empty: it sends what is in its URL
  std::array<char, CURL_ERROR_SIZE> error_text_{};

  // Of the exchange.
  IoLoop::Id id_ = 0;
  std::uint32_t pool_ = 0;
  HttpRequest request_;  // of a response, not of a page
  IoLoop::HttpCallback on_response_;
  IoLoop::PageCallback on_page_;
  HeaderList headers_;
  HeaderList connect_to_;
  HttpResponse response_;
  std::string body_;
  std::string origin_;    // of a page: scheme and host
  std::string encoding_;  // of a page
  std::size_t max_bytes_ = 0;
  std::size_t expected_bytes_ = 0;
  std::size_t received_bytes_ = 0;
  bool too_large_ = false;
};

}  // namespace consul_canary::base
