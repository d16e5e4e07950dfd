#include "exporter/base/http_server.h"

#include <civetweb.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cctype>
#include <charconv>
#include <chrono>
#include <exception>
#include <future>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>

#include "exporter/base/clock.h"
#include "exporter/base/log.h"

namespace consul_canary::base {
namespace {

// A connection that stays silent holds one worker for this long, and the health checks wait when
// all workers are held. civetweb's default is 30 s.
constexpr const char* kRequestTimeoutMs = "3000";
constexpr seconds kBodyTimeout{10};  // for the whole body, however slowly it trickles

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

std::string Decode(std::string_view text) {
  std::string decoded(text.size() + 1, '\0');
  const int length =
      mg_url_decode(text.data(), static_cast<int>(text.size()), decoded.data(),
                    static_cast<int>(decoded.size()), 1 /* '+' is a blank, as forms have it */);
  decoded.resize(static_cast<std::size_t>(std::max(length, 0)));
  return decoded;
}

std::map<std::string, std::string> ParseQuery(std::string_view query) {
  std::map<std::string, std::string> parameters;
  while (!query.empty()) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const std::size_t equals = std::min(pair.find('='), pair.size());
    if (pair.empty()) continue;
    parameters[Decode(pair.substr(0, equals))] =
        Decode(pair.substr(std::min(equals + 1, pair.size())));
  }
  return parameters;
}

bool IsLoopback(std::string_view address) {
  return address.starts_with("127.") || address == "::1" || address.starts_with("::ffff:127.");
}

ServerRequest ToRequest(const mg_request_info& info) {
  ServerRequest request;
  request.method = info.request_method != nullptr ? info.request_method : "";
  request.path = info.local_uri != nullptr ? info.local_uri : "";
  if (info.query_string != nullptr) request.query = ParseQuery(info.query_string);
  for (int i = 0; i < info.num_headers; ++i) {
    const mg_header& header = info.http_headers[i];
    if (header.name != nullptr && header.value != nullptr) {
      request.headers[Lower(header.name)] = header.value;
    }
  }
  request.from_loopback = IsLoopback(static_cast<const char*>(info.remote_addr));
  return request;
}

enum class BodyState { kComplete, kTooLarge, kIncomplete };

BodyState ReadBody(mg_connection* connection, const mg_request_info& info, std::size_t limit,
                   std::string& body) {
  if (info.content_length > 0 && static_cast<unsigned long long>(info.content_length) > limit) {
    return BodyState::kTooLarge;
  }
  const MonotonicTime deadline = std::chrono::steady_clock::now() + kBodyTimeout;
  std::array<char, 16384> chunk{};
  for (;;) {
    const int count = mg_read(connection, chunk.data(), chunk.size());
    if (count < 0) return BodyState::kIncomplete;
    if (count == 0) break;
    body.append(chunk.data(), static_cast<std::size_t>(count));
    if (body.size() > limit) return BodyState::kTooLarge;
    if (std::chrono::steady_clock::now() > deadline) return BodyState::kIncomplete;
  }
  const bool complete =
      info.content_length < 0 || body.size() == static_cast<std::size_t>(info.content_length);
  return complete ? BodyState::kComplete : BodyState::kIncomplete;
}

// Header values may come from outside; a line break in one would begin a header of its own.
std::string OneLine(std::string_view text) {
  std::string line(text);
  std::erase_if(line, [](char c) { return c == '\r' || c == '\n'; });
  return line;
}

void Write(mg_connection* connection, std::string_view method, const ServerResponse& response) {
  std::string text = fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n",
      response.status, mg_get_response_code_text(connection, response.status),
      OneLine(response.content_type), response.body.size());
  for (const auto& [name, value] : response.headers) {
    text += fmt::format("{}: {}\r\n", OneLine(name), OneLine(value));
  }
  text += "\r\n";
  // A small answer in one packet; a large one is not copied.
  constexpr std::size_t kSmallBytes = 16384;
  const std::string_view body = method == "HEAD" ? std::string_view() : response.body;
  if (body.size() <= kSmallBytes) text += body;
  (void)mg_write(connection, text.data(), text.size());
  if (body.size() > kSmallBytes) (void)mg_write(connection, body.data(), body.size());
}

ServerResponse PlainError(int status, std::string_view message) {
  ServerResponse response;
  response.status = status;
  response.body = fmt::format("{{\"error\":\"{}\"}}", message);
  return response;
}

void AppendJsonString(std::string& json, std::string_view text) {
  json += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      json += '\\';
      json += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      json += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      json += c;
    }
  }
  json += '"';
}

constexpr unsigned kLargestPort = 65535;

// Neither civetweb's lists ("80,81") nor its marks for TLS and redirection ("443s", "80r").
bool IsHostAndPort(std::string_view address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string_view::npos || address.find(',') != std::string_view::npos) return false;
  const std::string_view port = address.substr(colon + 1);
  unsigned number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  return error == std::errc() && end == port.data() + port.size() && number <= kLargestPort;
}

// civetweb's own forms: "9656" for every interface, "127.0.0.1:9656" for one.
std::string ToCivetweb(std::string_view address) {
  if (address.starts_with(":")) address.remove_prefix(1);
  return std::string(address);
}

std::string HostOf(std::string_view address) {
  const std::size_t colon = address.rfind(':');
  const std::string_view host =
      colon == std::string_view::npos ? std::string_view() : address.substr(0, colon);
  return std::string(host.empty() || host == "0.0.0.0" ? "127.0.0.1" : host);
}

}  // namespace

struct HttpServer::Impl {
  Handler handler;
  std::size_t max_body_bytes = 0;
  mg_context* context = nullptr;
  std::vector<int> ports;
  std::string host;  // where the first port can be reached from here
  std::mutex mutex;
  std::string complaint;  // civetweb's first words while it starts; guarded by mutex

  ServerResponse Answer(const ServerRequest& request) const {
    try {
      return handler(request);
    } catch (const std::exception& error) {
      Log(LogLevel::kError, "request handler failed",
          {{"method", request.method}, {"path", request.path}, {"error", error.what()}});
    } catch (...) {
      Log(LogLevel::kError, "request handler failed",
          {{"method", request.method}, {"path", request.path}, {"error", "unknown exception"}});
    }
    return PlainError(500, "internal error");
  }

  void Serve(mg_connection* connection) const {
    const mg_request_info& info = *mg_get_request_info(connection);
    ServerRequest request = ToRequest(info);
    switch (ReadBody(connection, info, max_body_bytes, request.body)) {
      case BodyState::kComplete:
        Write(connection, request.method, Answer(request));
        break;
      case BodyState::kTooLarge:
        Write(connection, request.method, PlainError(413, "the body is too large"));
        break;
      case BodyState::kIncomplete:
        Write(connection, request.method, PlainError(408, "the body did not arrive"));
        break;
    }
  }

  static int OnRequest(mg_connection* connection) {
    static_cast<const Impl*>(mg_get_user_context_data(connection))->Serve(connection);
    return 1;  // handled: civetweb itself serves nothing
  }

  static int OnLogMessage(const mg_connection* connection, const char* message) {
    auto* self = static_cast<Impl*>(mg_get_user_data(mg_get_context(connection)));
    if (self != nullptr) {
      const std::lock_guard lock(self->mutex);
      if (self->complaint.empty()) self->complaint = message;
    }
    return 1;  // not to civetweb's own log
  }

  [[nodiscard]] bool Listen(const ServerOptions& options) {
    std::string addresses;
    for (const std::string& address : options.listen_addresses) {
      addresses += (addresses.empty() ? "" : ",") + ToCivetweb(address);
    }
    const std::string threads = std::to_string(options.threads);
    const std::array<const char*, 13> settings{"listening_ports",
                                               addresses.c_str(),
                                               "num_threads",
                                               threads.c_str(),
                                               "request_timeout_ms",
                                               kRequestTimeoutMs,
                                               "enable_keep_alive",
                                               "no",
                                               "tcp_nodelay",
                                               "1",
                                               "enable_directory_listing",
                                               "no",
                                               nullptr};
    mg_callbacks callbacks{};
    callbacks.begin_request = &Impl::OnRequest;
    callbacks.log_message = &Impl::OnLogMessage;
    // mg_start takes a pointer to pointers that are not const, and writes through none of them.
    context = mg_start(&callbacks, this, const_cast<const char**>(settings.data()));
    if (context == nullptr) return false;
    std::vector<mg_server_port> bound(options.listen_addresses.size());
    const int count = mg_get_server_ports(context, static_cast<int>(bound.size()), bound.data());
    for (int i = 0; i < count; ++i) ports.push_back(bound[static_cast<std::size_t>(i)].port);
    assert(ports.size() == options.listen_addresses.size());
    host = HostOf(options.listen_addresses.front());
    return true;
  }

  // civetweb looks at its stop flag only when a connection comes or two seconds have passed.
  void Stop() const {
    const auto stopped = std::async(std::launch::async, [this] { mg_stop(context); });
    do {
      std::array<char, 128> ignored{};
      mg_connection* knock = mg_connect_client(host.c_str(), ports.front(), /*use_ssl=*/0,
                                               ignored.data(), ignored.size());
      if (knock != nullptr) mg_close_connection(knock);
    } while (stopped.wait_for(milliseconds{10}) != std::future_status::ready);
  }
};

Result<std::unique_ptr<HttpServer>> HttpServer::Start(const ServerOptions& options,
                                                      Handler handler) {
  static const unsigned library = mg_init_library(MG_FEATURES_DEFAULT);
  (void)library;
  auto impl = std::make_unique<Impl>();
  impl->handler = std::move(handler);
  impl->max_body_bytes = options.max_body_bytes;
  if (options.listen_addresses.empty()) {
    return Fail(ErrorCode::kInvalid, "listen: no address is given");
  }
  for (const std::string& address : options.listen_addresses) {
    if (!IsHostAndPort(address)) {
      return Fail(
          ErrorCode::kInvalid,
          fmt::format("listen on {}: not HOST:PORT with a port up to {}", address, kLargestPort));
    }
  }
  for (const std::string& address : options.listen_addresses) {
    if (address.starts_with('[') && mg_check_feature(MG_FEATURES_IPV6) == 0) {
      return Fail(ErrorCode::kInvalid,
                  fmt::format("listen on {}: this civetweb is built without IPv6", address));
    }
  }
  if (!impl->Listen(options)) {
    const std::lock_guard lock(impl->mutex);
    return Fail(ErrorCode::kInvalid,
                fmt::format("listen on {}: {}", fmt::join(options.listen_addresses, ", "),
                            impl->complaint.empty() ? "failed" : impl->complaint));
  }
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() { impl_->Stop(); }

const std::vector<int>& HttpServer::ports() const { return impl_->ports; }

ServerResponse ErrorResponse(const Error& error) {
  ServerResponse response;
  switch (error.code) {
    case ErrorCode::kInvalid:
      response.status = 400;
      break;
    case ErrorCode::kForbidden:
      response.status = 403;
      break;
    case ErrorCode::kNotFound:
      response.status = 404;
      break;
    case ErrorCode::kConflict:
      response.status = 409;
      break;
    case ErrorCode::kUnavailable:
      response.status = 503;
      break;
  }
  response.body = "{\"error\":";
  AppendJsonString(response.body, error.message);
  response.body += "}";
  return response;
}

}  // namespace consul_canary::base
