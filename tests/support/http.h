// Blocking HTTP calls for tests, on an I/O thread of their own.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/base/io_loop.h"
#include "exporter/base/result.h"

namespace consul_canary::testing {

class Http {
 public:
  Http();
  ~Http();

  // Any status is an answer; headers are "Name: value". Any thread.
  [[nodiscard]] base::Result<base::HttpResponse> Call(
      std::string_view method, const std::string& url, std::string body = "",
      std::vector<std::string> headers = {}, base::milliseconds timeout = base::seconds(5)) const;

  // The body of an answer with status 2xx; anything else is an error that holds the answer's text.
  [[nodiscard]] base::Result<std::string> Get(const std::string& url) const;

  // Whether a GET is answered with 200.
  [[nodiscard]] bool Answers(const std::string& url) const;

  [[nodiscard]] base::IoLoop& loop() const;

 private:
  std::unique_ptr<base::IoThread> thread_;
};

// `answer` as it is when its status is 2xx, else an error that names `what` and holds the answer's
// text.
[[nodiscard]] base::Result<std::string> BodyOf(const base::Result<base::HttpResponse>& answer,
                                               std::string_view what);

}  // namespace consul_canary::testing
