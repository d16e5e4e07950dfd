// What comes from outside (network, files, JSON) is a Result: a value, or an Error that names the
// operation and its target. Exceptions do not cross module edges.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace consul_canary::base {

enum class ErrorCode {
  kUnavailable,  // no answer, time-out, 429 or 5xx: the same call may succeed later
  kNotFound,     // the thing does not exist
  kForbidden,    // a permission is missing
  kConflict,     // somebody else changed it first
  kInvalid,      // the data or the request is wrong: a retry does not help
};

struct Error {
  ErrorCode code = ErrorCode::kInvalid;
  std::string
      message;  // operation, target and reason: "GET /v1/config/service-splitter/api: 503 …"

  bool operator==(const Error&) const = default;
};

template <class T>
using Result = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> Fail(ErrorCode code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}

}  // namespace consul_canary::base
