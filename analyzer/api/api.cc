#include "analyzer/api/api.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "analyzer/api/first_contact.h"
#include "analyzer/api/fleet.h"
#include "analyzer/api/mesh_check.h"
#include "analyzer/api/place_check.h"
#include "analyzer/api/query.h"
#include "analyzer/api/release_check.h"
#include "analyzer/api/render.h"
#include "analyzer/config/spec_file.h"
#include "analyzer/control/await.h"
#include "analyzer/control/orders.h"
#include "analyzer/control/store.h"
#include "analyzer/control/stored_json.h"
#include "analyzer/control/stored_states.h"

namespace consul_canary::api {
namespace {

using base::ErrorCode;
using base::ErrorResponse;
using base::ServerRequest;
using base::ServerResponse;
using control::Await;

constexpr std::string_view kRollouts = "/api/v1/rollouts";
constexpr std::string_view kPaused = "/api/v1/paused";
constexpr int kAccepted = 202;
constexpr int kBadRequest = 400;
constexpr int kNotFound = 404;
constexpr int kMethodNotAllowed = 405;

ServerResponse Plain(int status, const std::string& error) {
  return {.status = status, .body = nlohmann::json{{"error", error}}.dump() + "\n"};
}

ServerResponse MethodNotAllowed(const std::string& allowed) {
  ServerResponse response = Plain(kMethodNotAllowed, "the method is not allowed here");
  response.headers["Allow"] = allowed;
  return response;
}

std::vector<std::string> SplitPath(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    if (slash != 0) parts.emplace_back(path.substr(0, slash));
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  return parts;
}

// The optional body of an action: {"version": "v2", "full": true, "seen_decisions": 7}.
base::Result<rollout::Order> ReadOrder(rollout::OrderKind kind, const std::string& body) {
  rollout::Order order{.kind = kind};
  if (body.find_first_not_of(" \t\r\n") == std::string::npos) return order;
  const auto json = nlohmann::json::parse(body, nullptr, false);
  if (!json.is_object()) return base::Fail(ErrorCode::kInvalid, "the body is no JSON object");
  for (const auto& [key, value] : json.items()) {
    if (key == "version" && value.is_string() && kind == rollout::OrderKind::kStart) {
      order.version = value.get<std::string>();
    } else if (key == "full" && value.is_boolean() && kind == rollout::OrderKind::kPromote) {
      order.full = value.get<bool>();
    } else if (key == "seen_decisions" && value.is_number_unsigned()) {
      order.seen_decisions = value.get<std::uint64_t>();
    } else {
      return base::Fail(ErrorCode::kInvalid,
                        fmt::format("\"{}\" is not understood here; start takes version (text), "
                                    "promote takes full (true or false), and all of them "
                                    "seen_decisions (a whole number)",
                                    key));
    }
  }
  return order;
}

// Where another analyzer leads, what it has stored is shown.
std::shared_ptr<const control::RolloutView> Filled(const control::RolloutView& view,
                                                   base::Result<rollout::State> state) {
  auto filled = std::make_shared<control::RolloutView>(view);
  if (state) {
    filled->state = std::move(*state);
    filled->state.baselines.clear();
    if (filled->spec) filled->verdict = rollout::VerdictOf(*filled->spec, filled->state);
  } else if (state.error().code != ErrorCode::kNotFound) {
    filled->problem = state.error().message;
  }
  return filled;
}

bool IsLed(const control::FleetView& fleet, const std::string& id) {
  const auto found = fleet.rollouts.find(id);
  return found != fleet.rollouts.end() && found->second->leading;
}

}  // namespace

Api::Api(base::IoLoop& io, consul::Client& client, const control::Loop& loop, const Auth& auth,
         WaitingRoom& room)
    : io_(io), client_(client), loop_(loop), auth_(auth), room_(room) {}

ServerResponse Api::Handle(const ServerRequest& request) const { return Route(request); }

ServerResponse Api::Route(const ServerRequest& request) const {
  const bool reads = request.method == "GET" || request.method == "HEAD";
  const auto by = auth_.Authorize(request, reads ? Role::kViewer : Role::kOperator);
  if (!by) return ErrorResponse(by.error());
  const Visitor visitor = reads ? Visitor::kReader : Visitor::kOrderer;
  if (request.path == kPaused) {
    const bool known = reads || request.method == "PUT" || request.method == "DELETE";
    if (!known) return MethodNotAllowed("GET, PUT, DELETE");
    const auto seat = room_.Enter(visitor);
    return seat ? AnswerFleetPause(io_, client_, request, *by) : ErrorResponse(seat.error());
  }
  const std::string_view rest = request.path.starts_with(kRollouts)
                                    ? std::string_view(request.path).substr(kRollouts.size())
                                    : "?";
  if (!rest.empty() && rest.front() != '/') {
    return Plain(kNotFound, "no such page: " + request.path);
  }
  const auto parts = SplitPath(rest);
  if (parts.empty()) return reads ? List() : MethodNotAllowed("GET");
  const std::string id = IdOf(client_.settings(), parts[0]);
  const auto fleet = loop_.Latest();
  if (parts.size() == 1 && reads && IsLed(*fleet, id)) {
    return {.body = RolloutJson(*fleet->rollouts.at(id))};
  }
  const auto seat = room_.Enter(visitor);
  return seat ? RouteService(id, parts, request, *by) : ErrorResponse(seat.error());
}

ServerResponse Api::RouteService(const std::string& id, const std::vector<std::string>& parts,
                                 const ServerRequest& request, const std::string& by) const {
  const bool reads = request.method == "GET" || request.method == "HEAD";
  if (parts.size() == 1) {
    if (reads) return Get(id);
    if (request.method == "PUT") return Put(id, request);
    if (request.method == "DELETE") return Delete(id, request);
    return MethodNotAllowed("GET, PUT, DELETE");
  }
  if (parts.size() == 2 && parts[1] == "decisions") {
    return reads ? Decisions(id, request) : MethodNotAllowed("GET");
  }
  if (parts.size() == 2) {
    return request.method == "POST" ? Act(id, parts[1], request, by) : MethodNotAllowed("POST");
  }
  return Plain(kNotFound, "no such page: " + request.path);
}

base::Result<std::shared_ptr<const control::RolloutView>> Api::Find(const std::string& id) const {
  const auto fleet = loop_.Latest();
  if (const auto found = fleet->rollouts.find(id); found != fleet->rollouts.end()) {
    return found->second;
  }
  const std::string key = control::SpecKey(id);
  const auto stored = Await<std::optional<consul::KvPair>>(
      io_, [this, key](auto reply) { client_.KvGet(key, std::move(reply)); });
  if (!stored) return tl::unexpected(stored.error());
  if (!*stored) {
    return base::Fail(ErrorCode::kNotFound, fmt::format("there is no rollout of \"{}\"", id));
  }
  const auto text = control::SpecTextFromStored((*stored)->value);
  if (!text) return tl::unexpected(text.error());
  auto view = std::make_shared<control::RolloutView>();
  view->id = id;
  if (const auto spec = config::ParseSpec(*text); spec) view->spec = *spec;
  return view;
}

ServerResponse Api::List() const {
  // `watch` gives up after five. What Consul has not answered by then is a problem of its rollouts
  // alone.
  constexpr base::seconds kPatience{4};
  // Held by name: while states are read, the loop publishes the next one.
  const auto fleet = loop_.Latest();
  std::vector<std::string> led_elsewhere;
  for (const auto& [id, view] : fleet->rollouts) {
    if (!view->leading) led_elsewhere.push_back(id);
  }
  std::map<std::string, base::Result<rollout::State>> states;
  if (!led_elsewhere.empty()) {
    const auto seat = room_.Enter(Visitor::kReader);
    if (!seat) return ErrorResponse(seat.error());
    states = control::ReadStoredStates(io_, client_, led_elsewhere,
                                       std::chrono::steady_clock::now() + kPatience);
  }
  std::vector<std::shared_ptr<const control::RolloutView>> views;
  for (const auto& [id, view] : fleet->rollouts) {
    const auto stored = states.find(id);
    views.push_back(stored == states.end() ? view : Filled(*view, std::move(stored->second)));
  }
  return {.body = RolloutsJson(views, fleet->fleet_pause)};
}

ServerResponse Api::Get(const std::string& id) const {
  const auto view = Find(id);
  if (!view) return ErrorResponse(view.error());
  if ((*view)->leading) return {.body = RolloutJson(**view)};
  return {.body = RolloutJson(*Filled(**view, control::ReadStoredState(io_, client_, id)))};
}

ServerResponse Api::Put(const std::string& id, const ServerRequest& request) const {
  const auto flags = ReadFlags(request.query, {"create"});
  if (!flags) return ErrorResponse(flags.error());
  auto spec = config::ParseSpec(request.body);
  if (!spec) return SpecErrors(spec.error());
  const auto misplaced = SettlePlace(io_, client_, *spec);
  if (!misplaced) return ErrorResponse(misplaced.error());
  if (!misplaced->empty()) return SpecErrors(*misplaced);
  if (const std::string own = rollout::RolloutId(*spec); own != id) {
    return SpecErrors(
        {{0, "service", fmt::format("is \"{}\", but the request names \"{}\"", own, id)}});
  }
  if (const auto may_change = MayChange(id, *spec); !may_change) {
    return ErrorResponse(may_change.error());
  }
  const auto check = CheckMesh(
      io_, client_, *spec, flags->contains("create") ? Missing::kIsCreated : Missing::kIsAProblem);
  if (!check) return ErrorResponse(check.error());
  if (!check->problems.empty()) return MeshErrors(check->problems);
  if (const auto created = Create(io_, client_, check->contact); !created) {
    return ErrorResponse(created.error());
  }
  const std::string key = control::SpecKey(id);
  const std::string text = control::StoredSpec(config::ToJson(*spec));
  const auto put = Await<bool>(io_, [this, key, text](auto reply) {
    client_.KvPut(key, text, std::nullopt, std::move(reply));
  });
  if (!put) return ErrorResponse(put.error());
  return {.body = AppliedJson(*spec, check->contact, check->warnings)};
}

base::Result<void> Api::MayChange(const std::string& id, const rollout::Spec& spec) const {
  const auto state = control::ReadStoredState(io_, client_, id);
  if (!state && state.error().code != ErrorCode::kNotFound) return tl::unexpected(state.error());
  // Whoever only looks on may be told otherwise at any time, and whoever acts may be stopped.
  const bool only_looks_on = state && state->spec && !state->spec->act;
  if (!state || only_looks_on || !spec.act) return {};
  return control::NotUnderWay(id, *state,
                              "or wait for its end before its specification is changed");
}

ServerResponse Api::Delete(const std::string& id, const ServerRequest& request) const {
  const auto flags = ReadFlags(request.query, {"release", "force"});
  if (!flags) return ErrorResponse(flags.error());
  const bool release = flags->contains("release");
  const bool force = flags->contains("force");
  if (force && !release) return Plain(kBadRequest, "force=true belongs to release=true");
  const auto view = Find(id);
  if (!view) return ErrorResponse(view.error());
  if (release && !(*view)->spec) {
    return ErrorResponse({ErrorCode::kConflict,
                          fmt::format("the specification of \"{}\" cannot be read, so its primary "
                                      "subset is not known; apply it anew, or delete it without "
                                      "release and widen the subset's Filter by hand",
                                      id)});
  }
  if (release) {
    const auto may_widen = MayWidenPrimary(io_, client_, *(*view)->spec);
    if (!may_widen) {
      return ErrorResponse({may_widen.error().code, "not deleted: " + may_widen.error().message});
    }
  }
  if (release && !force) {
    const auto may_release = CheckRelease(io_, client_, id, *(*view)->spec);
    if (!may_release) return ErrorResponse(may_release.error());
  }
  const auto done = control::DeleteRollout(io_, client_, id);
  if (!done) return ErrorResponse(done.error());
  nlohmann::json answer = {{"deleted", id}};
  if (release) {
    const auto widened = WidenPrimary(io_, client_, *(*view)->spec);
    if (!widened) {
      return ErrorResponse(
          {widened.error().code,
           "deleted, but the primary subset's Filter was not widened: " + widened.error().message});
    }
    answer["released"] = *widened;
  }
  return {.body = answer.dump() + "\n"};
}

ServerResponse Api::Act(const std::string& id, const std::string& action,
                        const ServerRequest& request, const std::string& by) const {
  const auto kind = rollout::OrderKindFromString(action);
  if (!kind || *kind == rollout::OrderKind::kRollbackAlert) {
    return Plain(kNotFound,
                 fmt::format("no such action: {}; there are start, pause, resume, promote, "
                             "abort, retry",
                             action));
  }
  auto order = ReadOrder(*kind, request.body);
  if (!order) return ErrorResponse(order.error());
  order->by = by;
  const auto sequence = control::AppendOrder(io_, client_, id, *order);
  if (!sequence) return ErrorResponse(sequence.error());
  return {.status = kAccepted,
          .body = nlohmann::json{{"order", *sequence}, {"service", id}}.dump() + "\n"};
}

ServerResponse Api::Decisions(const std::string& id, const ServerRequest& request) const {
  const auto range = ReadDecisionRange(request.query);
  if (!range) return ErrorResponse(range.error());
  if (const auto view = Find(id); !view) return ErrorResponse(view.error());
  const std::string prefix = control::RolloutKey(id, "decisions/");
  const auto pairs = Await<std::vector<consul::KvPair>>(
      io_, [this, prefix](auto reply) { client_.KvList(prefix, std::move(reply)); });
  if (!pairs) return ErrorResponse(pairs.error());
  std::vector<std::string> texts;
  for (const consul::KvPair& pair : *pairs) texts.push_back(pair.value);
  return {.body = DecisionsJson(texts, *range)};
}

}  // namespace consul_canary::api
