#include "exporter/consul/config_entries.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "exporter/consul/failover.h"
#include "exporter/consul/go_duration.h"
#include "exporter/consul/json_fields.h"
#include "exporter/consul/routes.h"

namespace consul_canary::consul {
namespace {

using base::ErrorCode;
using base::Fail;
using base::Result;

constexpr std::int64_t kWhole = 10'000;  // 100 percent, in hundredths
// Consul takes 110 and -10, so such a splitter may exist; beyond this, sums could overflow.
constexpr double kLargestWeight = 1e6;

// The hundredths of a percent that Consul makes of a weight. Sums are compared in these, because
// sums of doubles are not exact.
std::int64_t ToHundredths(double percent) { return std::llround(percent * 100.0); }

// The double next to hundredths/100, which JSON prints with two decimals at most.
double ToPercent(std::int64_t hundredths) { return static_cast<double>(hundredths) / 100.0; }

std::string Where(const Json& entry, std::string_view kind) {
  return fmt::format("{}/{}", kind, Text(entry, "Name"));
}

Result<Json> ParseObject(std::string_view json, std::string_view kind) {
  std::optional<Json> parsed = ParseJson(json);
  if (!parsed || !parsed->is_object()) {
    return Fail(ErrorCode::kInvalid, fmt::format("{}: not a JSON object", kind));
  }
  return *std::move(parsed);
}

// The name, after what every entry must satisfy.
Result<std::string> ReadName(const Json& entry, std::string_view kind) {
  if (!entry.is_object()) {
    return Fail(ErrorCode::kInvalid, fmt::format("{}: an entry is no JSON object", kind));
  }
  const std::string actual_kind = Text(entry, "Kind");
  if (!actual_kind.empty() && actual_kind != kind) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("{}: Kind is {}", Where(entry, kind), actual_kind));
  }
  std::string name = Text(entry, "Name");
  if (name.empty()) return Fail(ErrorCode::kInvalid, fmt::format("{}: Name is missing", kind));
  return name;
}

// "" where the field says what the entry itself says: the entry's own namespace or partition.
std::string Elsewhere(const Json& split, const Json& entry, const char* key) {
  const auto plain = [](std::string name) { return name == "default" ? std::string() : name; };
  std::string there = Text(split, key);
  return plain(there) == plain(Text(entry, key)) ? std::string() : there;
}

Result<Split> ReadSplit(const Json& json, const Json& entry, std::size_t index) {
  const std::string where = fmt::format("{}: Splits[{}]", Where(entry, "service-splitter"), index);
  if (!json.is_object()) return Fail(ErrorCode::kInvalid, where + " is no object");
  Split split;
  if (const auto weight = json.find("Weight"); weight != json.end() && !weight->is_null()) {
    if (!weight->is_number()) {
      return Fail(ErrorCode::kInvalid, where + ".Weight is no number");
    }
    const auto percent = weight->get<double>();
    if (!(std::fabs(percent) <= kLargestWeight)) {
      return Fail(ErrorCode::kInvalid, where + ".Weight is out of range");
    }
    split.weight = ToPercent(ToHundredths(percent));
  }
  split.service = Text(json, "Service");
  split.service_subset = Text(json, "ServiceSubset");
  split.namespace_name = Elsewhere(json, entry, "Namespace");
  split.partition = Elsewhere(json, entry, "Partition");
  return split;
}

bool IsOwn(const Split& split, std::string_view splitter_name) {
  return (split.service.empty() || split.service == splitter_name) &&
         split.namespace_name.empty() && split.partition.empty();
}

Result<Splitter> ReadSplitter(const Json& entry) {
  Result<std::string> name = ReadName(entry, "service-splitter");
  if (!name) return tl::unexpected(name.error());
  Splitter splitter;
  splitter.name = *std::move(name);
  splitter.place = PlaceOf(Text(entry, "Namespace"), Text(entry, "Partition"));
  const Json& splits = Child(entry, "Splits");
  if (!splits.is_array() && !splits.empty()) {
    return Fail(ErrorCode::kInvalid, Where(entry, "service-splitter") + ": Splits is no array");
  }
  for (std::size_t i = 0; i < splits.size(); ++i) {
    Result<Split> split = ReadSplit(splits[i], entry, i);
    if (!split) return tl::unexpected(split.error());
    splitter.splits.push_back(*std::move(split));
  }
  splitter.meta = TextMap(entry, "Meta");
  splitter.modify_index = Unsigned(entry, "ModifyIndex");
  splitter.raw = Dump(entry);
  return splitter;
}

Result<Resolver> ReadResolver(const Json& entry) {
  Result<std::string> name = ReadName(entry, "service-resolver");
  if (!name) return tl::unexpected(name.error());
  Resolver resolver;
  resolver.name = *std::move(name);
  resolver.place = PlaceOf(Text(entry, "Namespace"), Text(entry, "Partition"));
  const Json& subsets = Child(entry, "Subsets");
  if (!subsets.is_object()) {
    return Fail(ErrorCode::kInvalid, Where(entry, "service-resolver") + ": Subsets is no object");
  }
  for (const auto& [subset, definition] : subsets.items()) {
    resolver.subset_filters.emplace(subset, Text(definition, "Filter"));
  }
  const Json& failovers = Child(entry, "Failover");
  resolver.has_failover = !failovers.empty();
  const std::string policy = Text(Child(entry, "LoadBalancer"), "Policy");
  resolver.hashes = policy == "ring_hash" || policy == "maglev";
  for (const auto& [subset, target] : failovers.items()) resolver.with_failover.insert(subset);
  resolver.failover_subsets = FailoverSubsets(failovers, resolver);
  resolver.meta = TextMap(entry, "Meta");
  resolver.modify_index = Unsigned(entry, "ModifyIndex");
  resolver.raw = Dump(entry);
  return resolver;
}

// Of a duration as Go writes it, or of nanoseconds; 0 where it is neither.
double ReadSeconds(const Json& object, const char* key) {
  constexpr double kNanosecondsPerSecond = 1e9;
  const Json& value = Child(object, key);
  if (value.is_number()) return value.get<double>() / kNanosecondsPerSecond;
  return ParseGoNanoseconds(Text(object, key)).value_or(0) / kNanosecondsPerSecond;
}

Result<Router> ReadRouter(const Json& entry) {
  Result<std::string> name = ReadName(entry, "service-router");
  if (!name) return tl::unexpected(name.error());
  Router router;
  router.name = *std::move(name);
  router.place = PlaceOf(Text(entry, "Namespace"), Text(entry, "Partition"));
  const Json& routes = Child(entry, "Routes");
  if (!routes.is_array() && !routes.empty()) {
    return Fail(ErrorCode::kInvalid, Where(entry, "service-router") + ": Routes is no array");
  }
  for (const Json& route : routes) {
    const Json& destination = Child(route, "Destination");
    if (auto rule = ReadRetries(destination)) router.retries.push_back(*rule);
    router.request_timeout_seconds =
        std::max(router.request_timeout_seconds, ReadSeconds(destination, "RequestTimeout"));
  }
  router.routes = ReadRoutes(entry);
  router.meta = TextMap(entry, "Meta");
  router.modify_index = Unsigned(entry, "ModifyIndex");
  router.raw = Dump(entry);
  return router;
}

template <class Entry>
Result<Entry> ParseOne(std::string_view json, std::string_view kind,
                       Result<Entry> (*read)(const Json&)) {
  const Result<Json> parsed = ParseObject(json, kind);
  if (!parsed) return tl::unexpected(parsed.error());
  return read(*parsed);
}

template <class Entry>
Result<std::vector<Entry>> ParseList(std::string_view json, std::string_view kind,
                                     Result<Entry> (*read)(const Json&)) {
  const std::optional<Json> parsed = ParseJson(json);
  if (!parsed || !(parsed->is_array() || parsed->is_null())) {
    return Fail(ErrorCode::kInvalid, fmt::format("list of {}: not a JSON array", kind));
  }
  std::vector<Entry> entries;
  for (const Json& item : *parsed) {
    Result<Entry> entry = read(item);
    if (!entry) return tl::unexpected(entry.error());
    entries.push_back(*std::move(entry));
  }
  return entries;
}

// Sets the weight of the splitter's own `subset`, and adds the split where it is missing.
void SetWeight(Json& entry, const Splitter& splitter, std::string_view subset,
               std::int64_t hundredths) {
  Json& splits = entry["Splits"];
  if (!splits.is_array()) splits = Json::array();
  for (std::size_t i = 0; i < splitter.splits.size(); ++i) {
    const Split& split = splitter.splits[i];
    if (IsOwn(split, splitter.name) && split.service_subset == subset) {
      splits[i]["Weight"] = ToPercent(hundredths);
      return;
    }
  }
  Json added = Json::object();
  added["Weight"] = ToPercent(hundredths);
  added["ServiceSubset"] = subset;
  splits.push_back(std::move(added));
}

// What the splits other than the two hold together, in hundredths; kInvalid when one of the two
// stands there twice.
Result<std::int64_t> WeightOfOthers(const Splitter& splitter, std::string_view primary_subset,
                                    std::string_view canary_subset) {
  std::int64_t others = 0;
  int primaries = 0;
  int canaries = 0;
  for (const Split& split : splitter.splits) {
    const bool own = IsOwn(split, splitter.name);
    if (own && split.service_subset == primary_subset) {
      ++primaries;
    } else if (own && split.service_subset == canary_subset) {
      ++canaries;
    } else {
      others += ToHundredths(split.weight);
    }
  }
  if (primaries > 1 || canaries > 1) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("service-splitter/{}: two splits for the subset {}", splitter.name,
                            primaries > 1 ? primary_subset : canary_subset));
  }
  return others;
}

void SetMeta(Json& entry, const std::map<std::string, std::string>& meta) {
  if (meta.empty()) return;
  Json& stored = entry["Meta"];
  if (!stored.is_object()) stored = Json::object();
  for (const auto& [key, value] : meta) stored[key] = value;
}

}  // namespace

Place PlaceOf(std::string_view namespace_name, std::string_view partition) {
  const auto plain = [](std::string_view name) { return name == "default" ? "" : name; };
  return {std::string(plain(namespace_name)), std::string(plain(partition))};
}

double Splitter::WeightOf(std::string_view subset) const {
  double weight = 0;
  for (const Split& split : splits) {
    if (IsOwn(split, name) && split.service_subset == subset) weight += split.weight;
  }
  return weight;
}

Result<Splitter> ParseSplitter(std::string_view json) {
  return ParseOne(json, "service-splitter", &ReadSplitter);
}
Result<Resolver> ParseResolver(std::string_view json) {
  return ParseOne(json, "service-resolver", &ReadResolver);
}
Result<Router> ParseRouter(std::string_view json) {
  return ParseOne(json, "service-router", &ReadRouter);
}
Result<std::vector<Splitter>> ParseSplitters(std::string_view json_array) {
  return ParseList(json_array, "service-splitter", &ReadSplitter);
}
Result<std::vector<Resolver>> ParseResolvers(std::string_view json_array) {
  return ParseList(json_array, "service-resolver", &ReadResolver);
}
Result<std::vector<Router>> ParseRouters(std::string_view json_array) {
  return ParseList(json_array, "service-router", &ReadRouter);
}

Result<std::string> WithWeights(const Splitter& splitter, std::string_view primary_subset,
                                std::string_view canary_subset, double canary_percent,
                                const std::map<std::string, std::string>& meta) {
  const std::string where = "service-splitter/" + splitter.name;
  Result<Json> entry = ParseObject(splitter.raw, where);
  if (!entry) return tl::unexpected(entry.error());
  if (primary_subset == canary_subset) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("{}: primary and canary are both the subset {}", where, canary_subset));
  }
  if (!(canary_percent >= 0 && canary_percent <= 100)) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("{}: canary weight {} is not within 0..100", where, canary_percent));
  }
  const Result<std::int64_t> others = WeightOfOthers(splitter, primary_subset, canary_subset);
  if (!others) return tl::unexpected(others.error());
  const std::int64_t canary = ToHundredths(canary_percent);
  const std::int64_t primary = kWhole - *others - canary;
  if (primary < 0 || *others < 0) {
    return Fail(
        ErrorCode::kInvalid,
        fmt::format("{}: canary weight {} and other splits' {} leave {} for {}", where,
                    ToPercent(canary), ToPercent(*others), ToPercent(primary), primary_subset));
  }
  SetWeight(*entry, splitter, primary_subset, primary);
  SetWeight(*entry, splitter, canary_subset, canary);
  SetMeta(*entry, meta);
  return Dump(*entry);
}

Result<std::string> WithSubsetFilter(const Resolver& resolver, std::string_view subset,
                                     std::string_view filter,
                                     const std::map<std::string, std::string>& meta) {
  const std::string where = "service-resolver/" + resolver.name;
  Result<Json> entry = ParseObject(resolver.raw, where);
  if (!entry) return tl::unexpected(entry.error());
  if (!resolver.subset_filters.contains(std::string(subset))) {
    return Fail(ErrorCode::kInvalid, fmt::format("{}: there is no subset {}", where, subset));
  }
  Json& definition = (*entry)["Subsets"][std::string(subset)];
  if (!definition.is_object()) definition = Json::object();
  definition["Filter"] = filter;
  SetMeta(*entry, meta);
  return Dump(*entry);
}

}  // namespace consul_canary::consul
