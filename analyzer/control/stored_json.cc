#include "analyzer/control/stored_json.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <ctime>
#include <nlohmann/json.hpp>
#include <utility>

#include "analyzer/config/spec_file.h"
#include "analyzer/control/baselines_json.h"
#include "analyzer/control/evidence_json.h"

namespace consul_canary::control {
namespace {

using Json = nlohmann::json;
using rollout::Decision;
using rollout::Order;
using rollout::State;

constexpr int kVersion = 1;

// Reasons quote what others have said, which need not be UTF-8.
std::string Text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json OptionalToJson(const std::optional<std::string>& value) {
  return value ? Json(*value) : Json(nullptr);
}

std::optional<std::string> OptionalFromJson(const Json& json) {
  if (json.is_null()) return std::nullopt;
  return json.get<std::string>();
}

// nullopt where it is null, or where an older build has left it out.
std::optional<std::uint64_t> NumberOrNull(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return std::nullopt;
  return found->get<std::uint64_t>();
}

// Runs a reader over parsed JSON of our version; whatever it throws becomes an error that names
// `what`.
template <class T, class Read>
base::Result<T> Parse(std::string_view what, std::string_view text, Read read) {
  try {
    const Json json = Json::parse(text);
    if (const Json& version = json.at("version"); version.get<double>() != kVersion) {
      return base::Fail(base::ErrorCode::kInvalid,
                        fmt::format("{}: version {} is not known to this release (it reads {}); "
                                    "nothing is overwritten",
                                    what, version.dump(), kVersion));
    }
    return read(json);
  } catch (const std::exception& error) {
    return base::Fail(base::ErrorCode::kInvalid, fmt::format("{}: {}", what, error.what()));
  }
}

template <class E>
E Known(std::optional<E> value, const Json& text) {
  if (!value) throw std::invalid_argument("unknown word " + text.dump());
  return *value;
}

// 9999-12-31T23:59:59Z: what lies beyond is no time.
constexpr double kFirstWallSeconds = -62135596800;  // 0001-01-01T00:00:00Z
constexpr double kLastWallSeconds = 253402300799;
constexpr double kLongestSeconds = 1e12;
constexpr int kMostSteps = 100;

// A number that others count on: nothing that no integer and no calendar holds.
double Within(const Json& json, const char* key, double least, double most) {
  const double value = json.at(key).get<double>();
  if (value >= least && value <= most) return value;
  throw std::invalid_argument(
      fmt::format("{} must be from {} to {}, is {}", key, least, most, json.at(key).dump()));
}

// What is left of 100 may lie a rounding error beside it.
double Percent(const Json& json, const char* key) { return Within(json, key, -0.005, 100.005); }
double WallSeconds(const Json& json, const char* key) {
  return Within(json, key, kFirstWallSeconds, kLastWallSeconds);
}
double Duration(const Json& json, const char* key) { return Within(json, key, 0, kLongestSeconds); }

// `least` is what stands for the first step.
int Step(const Json& json, int least) {
  return static_cast<int>(Within(json, "step", least, least + kMostSteps - 1));
}

void ReadWanted(const Json& json, State& state) {
  const Json& wanted = json.at("wanted");
  state.wanted.canary_percent = Percent(wanted, "canary_percent");
  state.wanted.canary_filter = OptionalFromJson(wanted.at("canary_filter"));
  state.wanted.primary_filter = OptionalFromJson(wanted.at("primary_filter"));
  state.wanted.routes =
      Known(rollout::RoutesFromString(wanted.value("routes", "none")), wanted.value("routes", ""));
  const std::string settled = json.value("settled_routes", "none");
  state.settled_routes = Known(rollout::RoutesSeenFromString(settled), settled);
  state.foreign_routes = json.value("foreign_routes", false);
  state.settled_percent = Percent(json, "settled_percent");
  state.foreign_edit = json.at("foreign_edit").get<bool>();
}

void ReadProgress(const Json& json, State& state) {
  state.started_wall_seconds = WallSeconds(json, "started_wall_seconds");
  state.saved_wall_seconds = WallSeconds(json, "saved_wall_seconds");
  state.stage_seconds = Duration(json, "stage_seconds");
  state.confirmed_seconds = Duration(json, "confirmed_seconds");
  state.confirmed = json.at("confirmed").get<bool>();
  state.deadline_passed = json.at("deadline_passed").get<bool>();
  state.proven_wait = json.at("proven_wait").get<bool>();
  state.watched_seconds = json.value("watched_seconds", 0.0);
  state.stranded = json.value("stranded", false);
  state.reload_baseline = json.at("reload_baseline").get<std::map<std::string, std::uint64_t>>();
  state.membership_baseline =
      json.at("membership_baseline").get<std::map<std::string, std::uint64_t>>();
  state.await_reload = json.at("await_reload").get<bool>();
  state.await_membership = json.at("await_membership").get<bool>();
  const auto pending = json.value("pending_retries", std::array<std::int64_t, 3>{});
  state.pending_retries = {pending[0], pending[1], pending[2]};
}

Json FormerPrimariesToJson(const State& state) {
  Json list = Json::array();
  for (const rollout::FormerPrimary& former : state.former_primaries) {
    list.push_back({{"version", former.version},
                    {"until_wall_seconds", former.until_wall_seconds},
                    {"until_index", former.until_index},
                    {"left", former.left}});
  }
  return list;
}

Json SpecToJson(const std::optional<rollout::Spec>& spec) {
  return spec ? Json::parse(config::ToJson(*spec)) : Json(nullptr);
}

// Not known to the releases before: their rollouts go on by the specification that is there.
void ReadLifeCycle(const Json& json, State& state) {
  for (const Json& former : json.value("former_primaries", Json::array())) {
    state.former_primaries.push_back(
        {.version = former.at("version").get<std::string>(),
         .until_wall_seconds = WallSeconds(former, "until_wall_seconds"),
         .until_index = former.at("until_index").get<std::uint64_t>(),
         .left = former.at("left").get<bool>()});
  }
  state.revert = json.value("revert", false);
  state.maintenance_due = json.value("maintenance_due", false);
  state.new_spec_said = json.value("new_spec_said", false);
  state.would_act_said = json.value("would_act_said", false);
  state.stage_decision = json.value("stage_decision", std::uint64_t{0});
  state.unwritable = json.value("unwritable", false);
  if (!json.contains("spec") || json.at("spec").is_null()) return;
  auto spec = config::ParseSpec(json.at("spec").dump());
  if (!spec) throw std::invalid_argument("spec: " + config::ToString(spec.error().front()));
  state.spec = std::move(*spec);
}

State ReadState(const Json& json) {
  State state;
  state.phase =
      Known(rollout::PhaseFromString(json.at("phase").get<std::string>()), json.at("phase"));
  state.stage =
      Known(rollout::StageFromString(json.at("stage").get<std::string>()), json.at("stage"));
  state.step = Step(json, 0);
  state.canary_version = json.at("canary_version").get<std::string>();
  state.primary_version = json.at("primary_version").get<std::string>();
  state.old_primary_filter = OptionalFromJson(json.at("old_primary_filter"));
  state.past_versions = json.at("past_versions").get<std::vector<std::string>>();
  state.rolled_back_versions = json.at("rolled_back_versions").get<std::vector<std::string>>();
  ReadWanted(json, state);
  ReadProgress(json, state);
  ReadLifeCycle(json, state);
  state.evidence = EvidenceFromJson(json.at("evidence"));
  state.baselines = BaselinesFromJson(json);
  state.reason = json.at("reason").get<std::string>();
  state.decisions = json.at("decisions").get<std::uint64_t>();
  state.last_order = json.at("last_order").get<std::uint64_t>();
  state.handled_alerts = json.at("handled_alerts").get<std::vector<std::string>>();
  return state;
}

}  // namespace

std::string StateToJson(const State& state) {
  Json edge_lists = Json::array();
  Json baselines = BaselinesToJson(state.baselines, edge_lists);
  const Json json = {{"version", kVersion},
                     {"phase", ToString(state.phase)},
                     {"stage", ToString(state.stage)},
                     {"step", state.step},
                     {"canary_version", state.canary_version},
                     {"primary_version", state.primary_version},
                     {"old_primary_filter", OptionalToJson(state.old_primary_filter)},
                     {"past_versions", state.past_versions},
                     {"rolled_back_versions", state.rolled_back_versions},
                     {"former_primaries", FormerPrimariesToJson(state)},
                     {"revert", state.revert},
                     {"maintenance_due", state.maintenance_due},
                     {"spec", SpecToJson(state.spec)},
                     {"new_spec_said", state.new_spec_said},
                     {"would_act_said", state.would_act_said},
                     {"stage_decision", state.stage_decision},
                     {"unwritable", state.unwritable},
                     {"wanted",
                      {{"canary_percent", state.wanted.canary_percent},
                       {"canary_filter", OptionalToJson(state.wanted.canary_filter)},
                       {"primary_filter", OptionalToJson(state.wanted.primary_filter)},
                       {"routes", ToString(state.wanted.routes)}}},
                     {"settled_routes", ToString(state.settled_routes)},
                     {"foreign_routes", state.foreign_routes},
                     {"settled_percent", state.settled_percent},
                     {"foreign_edit", state.foreign_edit},
                     {"started_wall_seconds", state.started_wall_seconds},
                     {"saved_wall_seconds", state.saved_wall_seconds},
                     {"stage_seconds", state.stage_seconds},
                     {"confirmed_seconds", state.confirmed_seconds},
                     {"confirmed", state.confirmed},
                     {"deadline_passed", state.deadline_passed},
                     {"proven_wait", state.proven_wait},
                     {"watched_seconds", state.watched_seconds},
                     {"stranded", state.stranded},
                     {"evidence", EvidenceToJson(state.evidence)},
                     {"histogram_edges", std::move(edge_lists)},
                     {"baselines", std::move(baselines)},
                     {"reload_baseline", state.reload_baseline},
                     {"membership_baseline", state.membership_baseline},
                     {"await_reload", state.await_reload},
                     {"await_membership", state.await_membership},
                     {"pending_retries",
                      {state.pending_retries.canary_repeats, state.pending_retries.primary_repeats,
                       state.pending_retries.primary}},
                     {"reason", state.reason},
                     {"decisions", state.decisions},
                     {"last_order", state.last_order},
                     {"handled_alerts", state.handled_alerts}};
  return Text(json);
}

base::Result<State> StateFromJson(std::string_view json) {
  return Parse<State>("stored state", json, ReadState);
}

std::string DecisionToJson(const Decision& decision) {
  const Json json = {{"version", kVersion},
                     {"sequence", decision.sequence},
                     {"time", FormatWallTime(decision.wall_seconds)},
                     {"wall_seconds", decision.wall_seconds},
                     {"action", decision.action},
                     {"cause", decision.cause},
                     {"from", ToString(decision.from)},
                     {"to", ToString(decision.to)},
                     {"step", decision.step + 1},
                     {"weight", decision.weight_percent},
                     {"canary_version", decision.canary_version},
                     {"reason", decision.reason},
                     {"order", decision.order > 0 ? Json(decision.order) : Json(nullptr)}};
  return Text(json);
}

base::Result<Decision> DecisionFromJson(std::string_view text) {
  return Parse<Decision>("stored decision", text, [](const Json& json) {
    Decision decision;
    decision.sequence = json.at("sequence").get<std::uint64_t>();
    decision.wall_seconds = WallSeconds(json, "wall_seconds");
    decision.action = json.at("action").get<std::string>();
    decision.cause = json.at("cause").get<std::string>();
    decision.from =
        Known(rollout::PhaseFromString(json.at("from").get<std::string>()), json.at("from"));
    decision.to = Known(rollout::PhaseFromString(json.at("to").get<std::string>()), json.at("to"));
    decision.step = Step(json, 1) - 1;
    decision.weight_percent = Percent(json, "weight");
    decision.canary_version = json.at("canary_version").get<std::string>();
    decision.reason = json.at("reason").get<std::string>();
    decision.order = NumberOrNull(json, "order").value_or(0);
    return decision;
  });
}

std::string OrderToJson(const Order& order) {
  const Json json = {
      {"version", kVersion},
      {"order", ToString(order.kind)},
      {"by", order.by},
      {"canary_version", order.version},
      {"full", order.full},
      {"seen_decisions", order.seen_decisions ? Json(*order.seen_decisions) : Json(nullptr)},
      {"alert", order.alert},
      {"alert_key", order.alert_key},
      {"alert_started_wall_seconds", order.alert_started_wall_seconds}};
  return Text(json);
}

base::Result<Order> OrderFromJson(std::string_view text) {
  return Parse<Order>("stored order", text, [](const Json& json) {
    Order order;
    order.kind =
        Known(rollout::OrderKindFromString(json.at("order").get<std::string>()), json.at("order"));
    order.by = json.at("by").get<std::string>();
    order.version = json.at("canary_version").get<std::string>();
    order.full = json.at("full").get<bool>();
    order.seen_decisions = NumberOrNull(json, "seen_decisions");
    order.alert = json.at("alert").get<std::string>();
    order.alert_key = json.at("alert_key").get<std::string>();
    order.alert_started_wall_seconds = WallSeconds(json, "alert_started_wall_seconds");
    return order;
  });
}

std::string FleetPauseToJson(const FleetPause& pause) {
  return Text({{"version", kVersion},
               {"by", pause.by},
               {"reason", pause.reason},
               {"wall_seconds", pause.wall_seconds}});
}

base::Result<std::optional<FleetPause>> FleetPauseFromJson(std::string_view text) {
  if (text.empty()) return std::nullopt;
  return Parse<std::optional<FleetPause>>("stored pause", text, [](const Json& json) {
    return FleetPause{.by = json.at("by").get<std::string>(),
                      .reason = json.at("reason").get<std::string>(),
                      .wall_seconds = WallSeconds(json, "wall_seconds")};
  });
}

std::string InWords(const FleetPause& pause) {
  return fmt::format("every rollout is paused by {} since {}{}", pause.by,
                     FormatWallTime(pause.wall_seconds),
                     pause.reason.empty() ? "" : ": " + pause.reason);
}

std::string StoredSpec(std::string_view spec_json) {
  return Text({{"version", kVersion}, {"spec", Json::parse(spec_json)}});
}

base::Result<std::string> SpecTextFromStored(std::string_view text) {
  return Parse<std::string>("stored specification", text,
                            [](const Json& json) { return json.at("spec").dump(); });
}

std::string FormatWallTime(double wall_seconds) {
  // What no calendar holds would throw; nan is neither.
  if (!(wall_seconds >= kFirstWallSeconds && wall_seconds <= kLastWallSeconds)) {
    return "an unknown time";
  }
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(wall_seconds)));
}

base::Result<double> ParseWallTime(std::string_view rfc3339) {
  const auto wrong = [&rfc3339] {
    return base::Fail(base::ErrorCode::kInvalid,
                      fmt::format("\"{}\" is not an RFC 3339 time", rfc3339));
  };
  std::tm parts{};
  const std::string text(rfc3339);
  const char* rest = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) return wrong();
  constexpr std::size_t kShape = sizeof("2026-11-24T17:00:00") - 1;
  const int day = parts.tm_mday;
  double seconds = static_cast<double>(timegm(&parts));
  // strptime() takes shorter numbers and a 31st of every month.
  if (rest != text.c_str() + kShape || parts.tm_mday != day) return wrong();
  const char* end = text.c_str() + text.size();
  if (*rest == '.') {
    double fraction = 0;
    const auto [next, error] = std::from_chars(rest, end, fraction, std::chars_format::fixed);
    if (error != std::errc()) return wrong();
    seconds += fraction;
    rest = next;
  }
  if (*rest == 'Z' && rest + 1 == end) return seconds;
  unsigned hours = 0;  // unsigned, so that no second sign is read
  unsigned minutes = 0;
  if ((*rest != '+' && *rest != '-') || end - rest != 6 || rest[3] != ':') return wrong();
  if (std::from_chars(rest + 1, rest + 3, hours).ptr != rest + 3) return wrong();
  if (std::from_chars(rest + 4, rest + 6, minutes).ptr != rest + 6) return wrong();
  if (hours > 23 || minutes > 59) return wrong();
  const double offset = hours * 3600.0 + minutes * 60.0;
  return *rest == '+' ? seconds - offset : seconds + offset;
}

}  // namespace consul_canary::control
