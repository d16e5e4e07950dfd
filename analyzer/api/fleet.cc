#include "analyzer/api/fleet.h"

#include <nlohmann/json.hpp>

#include "analyzer/control/orders.h"
#include "analyzer/control/stored_json.h"

namespace consul_canary::api {
namespace {

using base::ErrorCode;
using base::ErrorResponse;
using base::ServerResponse;
using Json = nlohmann::ordered_json;

base::Result<std::string> ReadReason(const std::string& body) {
  if (body.find_first_not_of(" \t\r\n") == std::string::npos) return "";
  const Json json = Json::parse(body, nullptr, false);
  const bool right =
      json.is_object() &&
      (json.empty() || (json.size() == 1 && json.contains("reason") && json["reason"].is_string()));
  if (!right) {
    return base::Fail(ErrorCode::kInvalid, R"(the body must be {"reason": "text"} or empty)");
  }
  return json.value("reason", "");
}

}  // namespace

ServerResponse AnswerFleetPause(base::IoLoop& io, consul::Client& client,
                                const base::ServerRequest& request, const std::string& by) {
  if (request.method == "PUT") {
    const auto reason = ReadReason(request.body);
    if (!reason) return ErrorResponse(reason.error());
    const auto set = control::SetFleetPause(io, client, by, *reason);
    if (!set) return ErrorResponse(set.error());
  } else if (request.method == "DELETE") {
    const auto cleared = control::ClearFleetPause(io, client);
    if (!cleared) return ErrorResponse(cleared.error());
  }
  const auto pause = control::ReadFleetPause(io, client);
  if (!pause) return ErrorResponse(pause.error());
  Json answer = {{"paused", pause->has_value()}};
  if (*pause) {
    answer["by"] = (*pause)->by;
    answer["reason"] = (*pause)->reason;
    answer["since"] = control::FormatWallTime((*pause)->wall_seconds);
  }
  return {.body = answer.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"};
}

}  // namespace consul_canary::api
