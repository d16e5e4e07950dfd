#include "exporter/consul/match_routes.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "exporter/consul/json_fields.h"
#include "exporter/consul/routes.h"

namespace consul_canary::consul {
namespace {

using base::Result;

constexpr const char* kOwnMetaPrefix = "consul-canary-";  // of every key of Meta that is ours
constexpr const char* kKeys[] = {"Present", "Exact", "Prefix", "Suffix", "Regex"};

// FNV-1a: a short name for a condition, no protection.
std::string MarkOf(const HeaderCondition& condition, std::string_view subset) {
  std::uint32_t hash = 0x811c9dc5U;
  for (const std::string_view part :
       {std::string_view(condition.name), std::string_view(condition.key),
        std::string_view(condition.value), subset}) {
    for (const char c : part) hash = (hash ^ static_cast<unsigned char>(c)) * 0x01000193U;
    hash = (hash ^ 0x1FFU) * 0x01000193U;  // where the part ends
  }
  return fmt::format("{:08x}", hash);
}

bool SaysNothingBut(const Json& object, std::string_view key) {
  if (!object.is_object()) return true;
  return std::ranges::all_of(object.items(), [key](const auto& item) {
    return item.key() == key || SaysNothing(item.value());
  });
}

std::string Lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

// Of a route that looks at one header alone.
std::optional<HeaderCondition> ConditionOf(const Json& route) {
  const Json& match = Child(route, "Match");
  const Json& http = Child(match, "HTTP");
  const Json& headers = Child(http, "Header");
  if (!SaysNothingBut(match, "HTTP") || !SaysNothingBut(http, "Header") || !headers.is_array() ||
      headers.size() != 1 || !headers.front().is_object()) {
    return std::nullopt;
  }
  HeaderCondition condition{.name = Lower(Text(headers.front(), "Name")), .key = "", .value = ""};
  for (const auto& [key, value] : headers.front().items()) {
    if (key == "Name" || SaysNothing(value)) continue;
    const auto* const known = std::ranges::find(kKeys, key);
    if (known == std::end(kKeys) || !condition.key.empty()) return std::nullopt;
    condition.key = key;
    if (value.is_string()) condition.value = value.get<std::string>();
  }
  return condition.key.empty() ? std::nullopt : std::optional(condition);
}

// Whether the destination, which says nothing of a subset here, is the router's own service.
bool LeadsHome(const Json& destination, const Router& router) {
  const std::string service = Text(destination, "Service");
  return (service.empty() || service == router.name) && LiesIn(destination, router.place);
}

const Json& DestinationOf(const Json& route) { return Child(route, "Destination"); }

// The marks that a router's Meta names.
std::vector<std::string> NamedMarks(const Router& router) {
  std::vector<std::string> marks;
  const auto found = router.meta.find(kRoutesMetaKey);
  if (found == router.meta.end()) return marks;
  std::string_view rest = found->second;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(','), rest.size());
    marks.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return marks;
}

struct Marks {
  std::vector<std::string> wanted, named;
};

Marks MarksOf(const Router& router, const MatchRoutes& wanted) {
  Marks marks{{}, NamedMarks(router)};
  for (const HeaderCondition& condition : wanted.conditions) {
    marks.wanted.push_back(MarkOf(condition, wanted.subset));
  }
  return marks;
}

bool Contains(const std::vector<std::string>& marks, const std::string& mark) {
  return std::ranges::find(marks, mark) != marks.end();
}

// The mark of a route of ours; nullopt: it is somebody else's.
std::optional<std::string> OwnMark(const Json& route, const Router& router, const Marks& marks) {
  const Json& destination = DestinationOf(route);
  const auto condition = ConditionOf(route);
  if (!condition || !LeadsHome(destination, router)) return std::nullopt;
  std::string mark = MarkOf(*condition, Text(destination, "ServiceSubset"));
  if (!Contains(marks.wanted, mark) && !Contains(marks.named, mark)) return std::nullopt;
  return mark;
}

Result<Json> ParseRouterJson(const Router& router) {
  std::optional<Json> entry = ParseJson(router.raw);
  if (!entry || !entry->is_object()) {
    return base::Fail(base::ErrorCode::kInvalid,
                      fmt::format("service-router/{}: not a JSON object", router.name));
  }
  return *std::move(entry);
}

const Json& RoutesOf(const Json& entry) {
  static const Json kNone = Json::array();
  const Json& routes = Child(entry, "Routes");
  return routes.is_array() ? routes : kNone;
}

Json OthersRoutes(const Json& entry, const Router& router, const Marks& marks) {
  Json others = Json::array();
  for (const Json& route : RoutesOf(entry)) {
    if (!OwnMark(route, router, marks)) others.push_back(route);
  }
  return others;
}

// As the requests would be treated without our route, but for where they go.
Json OwnDestination(const Json& others, const Router& router, const std::string& subset) {
  Json own = Json::object();
  for (const Json& route : others) {
    if (!TakesAll(route)) continue;
    // The first one takes them all.
    if (LeadsHome(DestinationOf(route), router)) own = DestinationOf(route);
    break;
  }
  if (own.is_object()) {
    for (const char* place : {"Service", "Namespace", "Partition"}) own.erase(place);
  }
  own["ServiceSubset"] = subset;
  return own;
}

Json OwnRoute(const HeaderCondition& condition, Json destination) {
  Json header = {{"Name", condition.name}};
  if (condition.key == "Present") {
    header["Present"] = true;
  } else {
    header[condition.key] = condition.value;
  }
  return {{"Match", {{"HTTP", {{"Header", Json::array({std::move(header)})}}}}},
          {"Destination", std::move(destination)}};
}

void SetMeta(Json& entry, const std::map<std::string, std::string>& meta) {
  Json& stored = entry["Meta"];
  if (!stored.is_object()) stored = Json::object();
  for (const auto& [key, value] : meta) stored[key] = value;
}

std::string Joined(const std::vector<std::string>& marks) {
  return fmt::format("{}", fmt::join(marks, ","));
}

}  // namespace

FoundRoutes FindRoutes(const Router& router, const MatchRoutes& wanted) {
  FoundRoutes found;
  const Result<Json> entry = ParseRouterJson(router);
  if (!entry) return found;  // ParseRouter() has accepted it
  const Marks marks = MarksOf(router, wanted);
  std::vector<std::string> own;
  bool before_others = true;
  std::size_t others = 0;
  for (const Json& route : RoutesOf(*entry)) {
    const auto mark = OwnMark(route, router, marks);
    if (!mark) {
      ++others;
      found.others_by_path += TakesAll(route) ? 0 : 1;
      continue;
    }
    before_others = before_others && others == 0;
    own.push_back(*mark);
    if (found.unnamed.empty() && !Contains(marks.named, *mark)) {
      const auto at = std::ranges::find(marks.wanted, *mark) - marks.wanted.begin();
      const HeaderCondition& condition = wanted.conditions[static_cast<std::size_t>(at)];
      found.unnamed = fmt::format("{} {} {}", condition.name, condition.key, condition.value);
    }
  }
  if (!own.empty()) {
    const bool whole = before_others && own == marks.wanted;
    found.ours = whole ? RoutesFound::kWhole : RoutesFound::kOther;
  }
  const bool no_other_meta = std::ranges::all_of(
      router.meta, [](const auto& item) { return item.first.starts_with(kOwnMetaPrefix); });
  found.made_for_ours = router.meta.contains(kMadeMetaKey) && others == 0 && no_other_meta;
  return found;
}

std::string RouterForRoutes(std::string_view service,
                            const std::map<std::string, std::string>& meta) {
  Json entry = {{"Kind", "service-router"}, {"Name", service}, {"Routes", Json::array()}};
  SetMeta(entry, meta);
  entry["Meta"][kMadeMetaKey] = "true";
  return Dump(entry);
}

Result<std::string> WithRoutes(const Router& router, const MatchRoutes& wanted,
                               const std::map<std::string, std::string>& meta) {
  Result<Json> entry = ParseRouterJson(router);
  if (!entry) return tl::unexpected(entry.error());
  const Marks marks = MarksOf(router, wanted);
  const Json others = OthersRoutes(*entry, router, marks);
  const Json destination = OwnDestination(others, router, wanted.subset);
  Json routes = Json::array();
  for (const HeaderCondition& condition : wanted.conditions) {
    routes.push_back(OwnRoute(condition, destination));
  }
  for (const Json& route : others) routes.push_back(route);
  (*entry)["Routes"] = std::move(routes);
  SetMeta(*entry, meta);
  (*entry)["Meta"][kRoutesMetaKey] = Joined(marks.wanted);
  return Dump(*entry);
}

Result<std::string> WithoutRoutes(const Router& router, const MatchRoutes& wanted,
                                  const std::map<std::string, std::string>& meta) {
  Result<Json> entry = ParseRouterJson(router);
  if (!entry) return tl::unexpected(entry.error());
  Json others = OthersRoutes(*entry, router, MarksOf(router, wanted));
  const bool is_left = !others.empty();
  (*entry)["Routes"] = std::move(others);
  SetMeta(*entry, meta);
  (*entry)["Meta"].erase(kRoutesMetaKey);
  // Whoever has added routes to it wants it kept.
  if (is_left) (*entry)["Meta"].erase(kMadeMetaKey);
  return Dump(*entry);
}

}  // namespace consul_canary::consul
