#include "exporter/base/transfer.h"

#include <fmt/format.h>

#include <algorithm>
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

ErrorCode ToErrorCode(CURLcode code) {
  return code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL
             ? ErrorCode::kInvalid
             : ErrorCode::kUnavailable;
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

Transfer::Transfer(IoLoop::Id id, HttpRequest request, IoLoop::HttpCallback callback,
                   EasyHandle easy)
    : id_(id),
      request_(std::move(request)),
      callback_(std::move(callback)),
      easy_(std::move(easy)) {
  SetConnectionOptions();
  if (request_.url.starts_with("https:")) SetTlsOptions();
  SetBody();
  SetHeaders();
}

void Transfer::SetConnectionOptions() {
  CURL* easy = easy_.get();
  Set(easy, CURLOPT_URL, request_.url.c_str());
  Set(easy, CURLOPT_PRIVATE, static_cast<void*>(this));
  Set(easy, CURLOPT_ERRORBUFFER, error_text_.data());
  Set(easy, CURLOPT_NOSIGNAL, 1L);
  Set(easy, CURLOPT_PROXY, "");  // http_proxy is meant for the world outside, not for the mesh
  Set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  Set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  Set(easy, CURLOPT_USERAGENT, "consul-canary/" CONSUL_CANARY_VERSION);
  Set(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request_.connect_timeout.count()));
  Set(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(request_.timeout.count()));
  // An address needs no cache, and with thousands of sidecars the cache costs more than it saves.
  Set(easy, CURLOPT_DNS_CACHE_TIMEOUT, IsAddress(HostOf(request_.url)) ? 0L : 60L);
  Set(easy, CURLOPT_WRITEFUNCTION, &Transfer::OnBody);
  Set(easy, CURLOPT_WRITEDATA, static_cast<void*>(this));
  Set(easy, CURLOPT_HEADERFUNCTION, &Transfer::OnHeader);
  Set(easy, CURLOPT_HEADERDATA, static_cast<void*>(this));
}

void Transfer::SetTlsOptions() {
  CURL* easy = easy_.get();
  const TlsOptions& tls = request_.tls;
  Set(easy, CURLOPT_SSL_VERIFYPEER, tls.verify ? 1L : 0L);
  Set(easy, CURLOPT_SSL_VERIFYHOST, tls.verify ? 2L : 0L);
  if (!tls.ca_file.empty()) Set(easy, CURLOPT_CAINFO, tls.ca_file.c_str());
  if (!tls.cert_file.empty()) Set(easy, CURLOPT_SSLCERT, tls.cert_file.c_str());
  if (!tls.key_file.empty()) Set(easy, CURLOPT_SSLKEY, tls.key_file.c_str());
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

bool Transfer::Count(std::size_t bytes) {
  received_bytes_ += bytes;
  too_large_ = too_large_ || received_bytes_ > request_.max_response_bytes;
  return !too_large_;
}

std::size_t Transfer::OnBody(char* data, std::size_t size, std::size_t count, void* self) {
  auto* transfer = static_cast<Transfer*>(self);
  const std::size_t bytes = size * count;
  if (!transfer->Count(bytes)) return 0;
  transfer->response_.body.append(data, bytes);
  return bytes;
}

std::size_t Transfer::OnHeader(char* data, std::size_t size, std::size_t count, void* self) {
  auto* transfer = static_cast<Transfer*>(self);
  const std::string_view line(data, size * count);
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

Result<HttpResponse> Transfer::TakeResult(CURLcode code) {
  if (too_large_) {
    return Fail(ErrorCode::kInvalid, fmt::format("{}: the answer is larger than {} bytes",
                                                 Describe(request_), request_.max_response_bytes));
  }
  if (code != CURLE_OK) {
    const std::string_view reason =
        error_text_[0] != '\0' ? error_text_.data() : curl_easy_strerror(code);
    return Fail(ToErrorCode(code), fmt::format("{}: {}", Describe(request_), reason));
  }
  long status = 0;
  (void)curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
  response_.status = static_cast<int>(status);
  return std::move(response_);
}

EasyHandle Transfer::TakeEasy() {
  curl_easy_reset(easy_.get());
  return std::move(easy_);
}

}  // namespace consul_canary::base
