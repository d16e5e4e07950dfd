// Speaks to the analyzer's API for the command line: one blocking call at a time.
#pragma once

#include <future>
#include <string>

#include "exporter/base/io_loop.h"
#include "exporter/base/result.h"

namespace consul_canary::cli {

// An answer that is no success; `status` 400 means that the request's own contents are wrong.
struct ApiError {
  int status = 0;  // 0: no answer
  std::string message;
};

using ApiAnswer = tl::expected<std::string, ApiError>;  // the body of a 2xx answer

class AnalyzerClient {
 public:
  AnalyzerClient(std::string url, std::string token);

  [[nodiscard]] ApiAnswer Call(const std::string& method, const std::string& path,
                               const std::string& body = "");
  // The same for whoever must not wait for it. An answer that comes after the client has gone is
  // dropped.
  [[nodiscard]] std::future<ApiAnswer> Ask(const std::string& method, const std::string& path,
                                           base::milliseconds timeout,
                                           const std::string& body = "");
  // Lets `delay` pass.
  void Wait(base::milliseconds delay);

 private:
  std::string url_;
  std::string token_;
  base::IoThread io_;
};

}  // namespace consul_canary::cli
