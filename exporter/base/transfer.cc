#include "exporter/base/transfer.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cctype>
#include <string>
#include <string_view>
#include <utility>

namespace consul_canary::base {
namespace {

// Setting an option fails only where curl was built without it or memory is gone; neither is
// something a caller could act on, and the transfer itself then reports what is wrong.
template <class T>
void Set(CURL* easy, CURLoption option, T value) {
  (void)curl_easy_setopt(easy, option, value);
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::string_view HostOf(std::string_view url) {
  const std::size_t scheme = url.find("://");
  if (scheme != std::string_view::npos) url.remove_prefix(scheme + 3);
  url = url.substr(0, url.find_first_of("/?#"));
  const std::size_t user = url.rfind('@');
  if (user != std::string_view::npos) url.remove_prefix(user + 1);
  return url;
}

bool IsAddress(std::string_view host) {
  return !host.empty() &&
         (host[0] == '[' || host.find_first_not_of("0123456789.:") == std::string_view::npos);
}

bool IsBadUrl(CURLcode code) {
  return code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL;
}

}  // namespace

std::string Describe(const HttpRequest& request) {
  const std::string_view url = request.url;
  const std::size_t scheme = url.find("://");
  const std::size_t host = scheme == std::string_view::npos ? 0 : scheme + 3;
  const std::size_t path = std::min(url.find_first_of("/?#", host), url.size());
  const std::size_t end = std::min(url.find_first_of("?#", path), url.size());
  return fmt::format("{} {}{}{}", request.method, url.substr(0, host), HostOf(url),
                     url.substr(path, end - path));
}

std::string UrlEncode(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string encoded;
  encoded.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
        (byte >= 'a' && byte <= 'z') || byte == '-' || byte == '.' || byte == '_' || byte == '~') {
      encoded += c;
    } else {
      encoded += {'%', kHex[byte >> 4u], kHex[byte & 15u]};
    }
  }
  return encoded;
}

Transfer::Transfer(Poller& poller, long buffer_bytes)
    : poller_(poller), buffer_bytes_(buffer_bytes), easy_(curl_easy_init()) {
  assert(easy_ != nullptr);
  SetLastingOptions();
}

void Transfer::SetLastingOptions() {
  CURL* easy = easy_.get();
  Set(easy, CURLOPT_PRIVATE, static_cast<void*>(this));
  Set(easy, CURLOPT_ERRORBUFFER, error_text_.data());
  Set(easy, CURLOPT_NOSIGNAL, 1L);
  Set(easy, CURLOPT_PROXY, "");  // http_proxy is meant for the world outside, not for the mesh
  Set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  Set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  Set(easy, CURLOPT_USERAGENT, "consul-canary/" CONSUL_CANARY_VERSION);
  Set(easy, CURLOPT_BUFFERSIZE, buffer_bytes_);
  Set(easy, CURLOPT_WRITEFUNCTION, &Transfer::OnBody);
  Set(easy, CURLOPT_WRITEDATA, static_cast<void*>(this));
  Set(easy, CURLOPT_HEADERFUNCTION, &Transfer::OnHeader);
  Set(easy, CURLOPT_HEADERDATA, static_cast<void*>(this));
  Set(easy, CURLOPT_OPENSOCKETFUNCTION, &Transfer::OnOpen);
  Set(easy, CURLOPT_OPENSOCKETDATA, static_cast<void*>(&poller_));
  Set(easy, CURLOPT_CLOSESOCKETFUNCTION, &Transfer::OnClose);
  Set(easy, CURLOPT_CLOSESOCKETDATA, static_cast<void*>(&poller_));
}

void Transfer::Prepare(IoLoop::Id id, HttpRequest request, IoLoop::HttpCallback callback) {
  request_ = std::move(request);
  on_response_ = std::move(callback);
  id_ = id;
  Set(easy_.get(), CURLOPT_URL, request_.url.c_str());
  if (!target_.empty()) Set(easy_.get(), CURLOPT_REQUEST_TARGET, static_cast<const char*>(nullptr));
  target_.clear();
  SetExchangeOptions(request_);
  is_plain_ = request_.method == "GET" && request_.headers.empty() && request_.body.empty() &&
              !request_.url.starts_with("https:");
  if (is_plain_) return;
  if (request_.url.starts_with("https:")) SetTlsOptions();
  SetBody();
  SetHeaders();
}

void Transfer::Prepare(IoLoop::Id id, const HttpRequest& request, IoLoop::PageCallback callback) {
  assert(request.method == "GET" && request.headers.empty() && request.body.empty() &&
         !request.url.starts_with("https:"));
  on_page_ = std::move(callback);
  id_ = id;
  SetTarget(request.url);
  SetExchangeOptions(request);
}

// libcurl goes through a URL byte by byte, several times. Path and query, which are long and most
// often the same as last time, are given to it apart, as what it has to send.
void Transfer::SetTarget(std::string_view url) {
  const std::size_t scheme = url.find("://");
  const std::size_t path = scheme == std::string_view::npos ? scheme : url.find('/', scheme + 3);
  const std::string_view target = path == std::string_view::npos ? "/" : url.substr(path);
  origin_ = url.substr(0, path);
  Set(easy_.get(), CURLOPT_URL, origin_.c_str());
  if (target == target_) return;
  target_ = target;
  Set(easy_.get(), CURLOPT_REQUEST_TARGET, target_.c_str());
}

void Transfer::SetExchangeOptions(const HttpRequest& request) {
  // One read of the socket takes no more than the buffer: for megabytes, libcurl's 16 KiB cost a
  // quarter of the time of receiving. Only those who expect as much get it: each waiting transfer
  // holds one.
  constexpr std::size_t kLargeBody = 1U << 20U;
  constexpr long kLargeBuffer = 256L * 1024;
  CURL* easy = easy_.get();
  Set(easy, CURLOPT_BUFFERSIZE,
      request.expected_bytes >= kLargeBody ? kLargeBuffer : long{CURL_MAX_WRITE_SIZE});
  error_text_[0] = '\0';
  pool_ = request.pool;
  max_bytes_ = request.max_response_bytes;
  expected_bytes_ = request.expected_bytes;
  received_bytes_ = 0;
  too_large_ = false;
  Set(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.connect_timeout.count()));
  Set(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
  // An address needs no cache, and with thousands of sidecars the cache costs more than it saves.
  Set(easy, CURLOPT_DNS_CACHE_TIMEOUT, IsAddress(HostOf(request.url)) ? 0L : 60L);
}

void Transfer::SetTlsOptions() {
  CURL* easy = easy_.get();
  const TlsOptions& tls = request_.tls;
  Set(easy, CURLOPT_SSL_VERIFYPEER, tls.verify ? 1L : 0L);
  Set(easy, CURLOPT_SSL_VERIFYHOST, tls.verify ? 2L : 0L);
  if (!tls.ca_file.empty()) Set(easy, CURLOPT_CAINFO, tls.ca_file.c_str());
  if (!tls.ca_folder.empty()) Set(easy, CURLOPT_CAPATH, tls.ca_folder.c_str());
  if (!tls.cert_file.empty()) Set(easy, CURLOPT_SSLCERT, tls.cert_file.c_str());
  if (!tls.key_file.empty()) Set(easy, CURLOPT_SSLKEY, tls.key_file.c_str());
  if (!tls.server_name.empty()) SetServerName(tls.server_name);
}

// libcurl takes SNI and the name to verify from the URL: it gets that name, and is led to where the
// request's own host is.
void Transfer::SetServerName(const std::string& name) {
  const std::string_view url = request_.url;
  const std::string_view host_and_port = HostOf(url);
  const std::size_t colon = host_and_port.rfind(':');
  const bool has_port =
      colon != std::string_view::npos && host_and_port.find(']', colon) == std::string_view::npos;
  const std::string_view host = host_and_port.substr(0, has_port ? colon : host_and_port.size());
  const std::string_view port = has_port ? host_and_port.substr(colon) : "";
  const std::size_t at = static_cast<std::size_t>(host_and_port.data() - url.data());
  const std::string named =
      fmt::format("{}{}{}{}", url.substr(0, at), name, port, url.substr(at + host_and_port.size()));
  Set(easy_.get(), CURLOPT_URL, named.c_str());
  connect_to_.reset(curl_slist_append(nullptr, fmt::format("::{}:", host).c_str()));
  Set(easy_.get(), CURLOPT_CONNECT_TO, connect_to_.get());
}

void Transfer::SetBody() {
  CURL* easy = easy_.get();
  const bool sends_body =
      !request_.body.empty() || request_.method == "PUT" || request_.method == "POST";
  if (sends_body) {
    Set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
    Set(easy, CURLOPT_POSTFIELDS, request_.body.c_str());
  }
  if (request_.method == "HEAD") {
    Set(easy, CURLOPT_NOBODY, 1L);
  } else if (sends_body || request_.method != "GET") {
    Set(easy, CURLOPT_CUSTOMREQUEST, request_.method.c_str());
  }
}

void Transfer::SetHeaders() {
  bool has_content_type = false;
  const auto add = [this](const char* line) {
    curl_slist* longer = curl_slist_append(headers_.get(), line);
    if (longer == nullptr) return;
    (void)headers_.release();  // NOLINT(bugprone-unused-return-value): `longer` owns it now
    headers_.reset(longer);
  };
  for (const std::string& line : request_.headers) {
    has_content_type = has_content_type || Lower(line).starts_with("content-type:");
    add(line.c_str());
  }
  add("Expect:");  // no round trip more for large bodies
  if (!has_content_type) add("Content-Type:");
  Set(easy_.get(), CURLOPT_HTTPHEADER, headers_.get());
}

// Where the length is told, or was the same last time, the body need not grow by copying.
void Transfer::BeginBody() {
  curl_off_t length = -1;
  (void)curl_easy_getinfo(easy_.get(), CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  const std::size_t told = length > 0 ? static_cast<std::size_t>(length) : 0;
  too_large_ = told > max_bytes_;
  if (!too_large_) body_.reserve(std::min(std::max(told, expected_bytes_), max_bytes_));
}

std::size_t Transfer::OnBody(char* data, std::size_t size, std::size_t count, void* self) {
  auto* transfer = static_cast<Transfer*>(self);
  const std::size_t bytes = size * count;
  if (transfer->received_bytes_ == 0) transfer->BeginBody();
  transfer->received_bytes_ += bytes;
  transfer->too_large_ = transfer->too_large_ || transfer->received_bytes_ > transfer->max_bytes_;
  if (transfer->too_large_) return 0;
  transfer->body_.append(data, bytes);
  return bytes;
}

std::size_t Transfer::OnHeader(char* data, std::size_t size, std::size_t count, void* self) {
  auto* transfer = static_cast<Transfer*>(self);
  const std::string_view line(data, size * count);
  if (!transfer->on_response_) {
    transfer->NoteEncoding(line);
    return line.size();
  }
  if (line.starts_with("HTTP/")) {
    transfer->response_.headers.clear();  // an interim answer (100) came before
    return line.size();
  }
  const std::size_t colon = line.find(':');
  if (colon != std::string_view::npos) {
    transfer->response_.headers[Lower(line.substr(0, colon))] = Trim(line.substr(colon + 1));
  }
  return line.size();
}

// The only header of a page that libcurl does not keep for us where it costs nothing.
void Transfer::NoteEncoding(std::string_view line) {
  constexpr std::string_view kName = "content-encoding:";
  if (line.starts_with("HTTP/")) {
    encoding_.clear();
  } else if (line.size() > kName.size() && line[kName.size() - 1] == ':' &&
             Lower(line.substr(0, kName.size())) == kName) {
    encoding_ = Trim(line.substr(kName.size()));
  }
}

curl_socket_t Transfer::OnOpen(void* poller, curlsocktype /*purpose*/, curl_sockaddr* address) {
  const int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  if (fd < 0) return CURL_SOCKET_BAD;
  static_cast<Poller*>(poller)->Opened(fd);
  return fd;
}

int Transfer::OnClose(void* poller, curl_socket_t fd) {
  static_cast<Poller*>(poller)->Closed(fd);
  return close(fd);
}

int Transfer::Status() const {
  long status = 0;
  (void)curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
  return static_cast<int>(status);
}

std::string Transfer::ReasonOf(CURLcode code) const {
  if (too_large_) return fmt::format("the answer is larger than {} bytes", max_bytes_);
  return error_text_[0] != '\0' ? error_text_.data() : curl_easy_strerror(code);
}

Result<HttpResponse> Transfer::TakeResponse(CURLcode code) {
  if (code != CURLE_OK || too_large_) {
    const bool hopeless = too_large_ || IsBadUrl(code);
    return Fail(hopeless ? ErrorCode::kInvalid : ErrorCode::kUnavailable,
                fmt::format("{}: {}", Describe(request_), ReasonOf(code)));
  }
  response_.status = Status();
  response_.body = std::exchange(body_, std::string());
  return std::move(response_);
}

PageOutcome Transfer::OutcomeOf(CURLcode code) const {
  if (too_large_) return PageOutcome::kTooLarge;
  if (code == CURLE_OK) return PageOutcome::kAnswered;
  // Set, and never to 0, when the request is about to be sent; on a kept connection too.
  curl_off_t connected_us = 0;
  (void)curl_easy_getinfo(easy_.get(), CURLINFO_PRETRANSFER_TIME_T, &connected_us);
  if (connected_us > 0) {
    return code == CURLE_OPERATION_TIMEDOUT ? PageOutcome::kTimedOut : PageOutcome::kBroken;
  }
  return IsBadUrl(code) ? PageOutcome::kBadUrl : PageOutcome::kNotConnected;
}

void Transfer::Deliver(CURLcode code) {
  if (on_response_) {
    Result<HttpResponse> response = TakeResponse(code);
    const IoLoop::HttpCallback callback = std::move(on_response_);
    return callback(std::move(response));
  }
  Page page;
  page.outcome = OutcomeOf(code);
  const std::string reason = page.outcome == PageOutcome::kAnswered ? "" : ReasonOf(code);
  page.reason = reason;
  page.status = Status();
  const char* type = nullptr;
  (void)curl_easy_getinfo(easy_.get(), CURLINFO_CONTENT_TYPE, &type);
  if (type != nullptr) page.content_type = type;
  page.content_encoding = encoding_;
  page.body = body_;
  const IoLoop::PageCallback callback = std::move(on_page_);
  callback(page);
}

void Transfer::Clear(bool keep_memory) {
  on_response_ = nullptr;
  on_page_ = nullptr;
  response_ = HttpResponse();
  if (!keep_memory) std::string().swap(body_);  // an assignment would keep it
  body_.clear();
  encoding_.clear();
  if (is_plain_) return;
  curl_easy_reset(easy_.get());
  target_.clear();
  request_ = HttpRequest();
  headers_.reset();
  connect_to_.reset();
  SetLastingOptions();
  is_plain_ = true;
}

}  // namespace consul_canary::base
