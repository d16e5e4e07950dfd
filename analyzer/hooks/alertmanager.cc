#include "analyzer/hooks/alertmanager.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "analyzer/api/place_check.h"
#include "analyzer/control/orders.h"
#include "analyzer/control/stored_json.h"
#include "exporter/base/log.h"

namespace consul_canary::hooks {
namespace {

using base::ErrorCode;
using Json = nlohmann::json;

std::string Text(const Json& object, const char* key) {
  if (!object.is_object()) return "";
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

const Json& Child(const Json& object, const char* key) {
  static const Json kNothing = Json::object();
  const auto found = object.find(key);
  return found == object.end() ? kNothing : *found;
}

base::Result<RollbackAlert> ReadAlert(const Json& alert) {
  const Json& labels = Child(alert, "labels");
  const std::string starts_at = Text(alert, "startsAt");
  const auto started = control::ParseWallTime(starts_at);
  if (!started) {
    return base::Fail(ErrorCode::kInvalid, "alerts[].startsAt: " + started.error().message);
  }
  RollbackAlert read;
  read.service = Text(labels, "service_name");
  read.name = Text(labels, "alertname");
  if (const std::string summary = Text(Child(alert, "annotations"), "summary"); !summary.empty()) {
    read.name += ": " + summary;
  }
  read.key = Text(alert, "fingerprint") + "@" + starts_at;
  read.started_wall_seconds = *started;
  return read;
}

}  // namespace

base::Result<std::vector<RollbackAlert>> ParsePayload(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return base::Fail(ErrorCode::kInvalid, "the body is no JSON object");
  if (Text(json, "version") != "4") {
    return base::Fail(ErrorCode::kInvalid,
                      "version: \"4\" is expected, Alertmanager's webhook payload");
  }
  const Json& alerts = Child(json, "alerts");
  if (!alerts.is_array()) return base::Fail(ErrorCode::kInvalid, "alerts: a list is expected");
  std::vector<RollbackAlert> found;
  for (const Json& alert : alerts) {
    if (!alert.is_object())
      return base::Fail(ErrorCode::kInvalid, "alerts[]: an object is expected");
    // A firing group can hold resolved members: each alert's own status counts.
    if (Text(alert, "status") != "firing") continue;
    if (Text(Child(alert, "labels"), "canary_action") != "rollback") continue;
    auto read = ReadAlert(alert);
    if (!read) return tl::unexpected(read.error());
    found.push_back(std::move(*read));
  }
  return found;
}

AlertmanagerHook::AlertmanagerHook(base::IoLoop& io, consul::Client& client, const api::Auth& auth,
                                   api::WaitingRoom& room)
    : io_(io), client_(client), auth_(auth), room_(room) {}

base::Result<std::string> AlertmanagerHook::Act(const RollbackAlert& alert) {
  if (alert.service.empty()) return "ignored: the alert has no service_name label";
  const std::string id = api::IdOf(client_.settings(), alert.service);
  const auto state = control::ReadStoredState(io_, client_, id);
  if (!state) {
    if (state.error().code != ErrorCode::kNotFound) return tl::unexpected(state.error());
    return fmt::format("ignored: no rollout of \"{}\"", id);
  }
  const auto& handled = state->handled_alerts;
  if (std::find(handled.begin(), handled.end(), alert.key) != handled.end()) {
    return "ignored: this alert was carried out before";
  }
  if (!rollout::IsActive(state->phase) || state->phase == rollout::Phase::kRollingBack) {
    return fmt::format("ignored: the rollout of \"{}\" is {}", id, ToString(state->phase));
  }
  if (alert.started_wall_seconds < state->started_wall_seconds) {
    return "ignored: the alert began before this rollout did";
  }
  const rollout::Order order{.kind = rollout::OrderKind::kRollbackAlert,
                             .by = "alertmanager",
                             .alert = alert.name,
                             .alert_key = alert.key,
                             .alert_started_wall_seconds = alert.started_wall_seconds};
  const auto sequence = control::AppendOrder(io_, client_, id, order);
  if (!sequence) return tl::unexpected(sequence.error());
  base::Log(base::LogLevel::kWarn, "rollback ordered by alert",
            {{"service", id}, {"alert", alert.name}});
  return fmt::format("acted: rollback of \"{}\" ordered", id);
}

base::ServerResponse AlertmanagerHook::Answer(const base::ServerRequest& request,
                                              std::string& result) {
  constexpr int kMethodNotAllowed = 405;
  if (request.method != "POST") {
    result = "invalid";
    return {.status = kMethodNotAllowed, .body = "{\"error\": \"POST is expected\"}\n"};
  }
  if (const auto by = auth_.Authorize(request, api::Role::kHook); !by) {
    result = "refused";
    return base::ErrorResponse(by.error());
  }
  const auto alerts = ParsePayload(request.body);
  if (!alerts) {
    result = "invalid";
    return base::ErrorResponse(alerts.error());
  }
  const auto seat = room_.Enter(api::Visitor::kOrderer);
  if (!seat) {
    result = "unavailable";
    return base::ErrorResponse(seat.error());
  }
  result = "ignored";
  Json done = Json::array();
  for (const RollbackAlert& alert : *alerts) {
    const auto outcome = Act(alert);
    if (!outcome) {
      result = "unavailable";
      return base::ErrorResponse({ErrorCode::kUnavailable, outcome.error().message});
    }
    if (outcome->starts_with("acted")) result = "acted";
    done.push_back({{"alert", alert.name}, {"result", *outcome}});
  }
  return {.body = Json{{"alerts", std::move(done)}}.dump() + "\n"};
}

base::ServerResponse AlertmanagerHook::Handle(const base::ServerRequest& request) {
  std::string result;
  base::ServerResponse response = Answer(request, result);
  const std::scoped_lock lock(mutex_);
  ++results_[result];
  return response;
}

std::map<std::string, std::uint64_t> AlertmanagerHook::results() const {
  const std::scoped_lock lock(mutex_);
  return results_;
}

}  // namespace consul_canary::hooks
