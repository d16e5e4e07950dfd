// A configuration entry as a tree whose fields are read, put and taken out by path, so that every
// field that is not named stays as it is. Pure.
//
// A path is words with slashes between them: "Failover/canary". A word in brackets chooses one
// element of a list:
//   [Name=api]       the one whose field Name is api, and that names no Peer and no other namespace
//                    or partition than the entry's own: what is there is another service
//   [route=all]      the first route that takes all requests
//   [route=1a2b3c4d] the first route with this mark (RouteMark())
//   [extension=api]  the property-override that is for the service api alone and patches nothing
//                    but what the shield patches
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/consul/routes.h"

namespace consul_canary::shield {

// Keeps the order of the fields, so that what is written looks like what was read.
using Json = nlohmann::ordered_json;
using consul::SaysNothing;
using consul::TakesAll;

inline constexpr const char* kPropertyOverride = "builtin/property-override";
inline constexpr const char* kMergeWindowPath = "/common_lb_config/update_merge_window";
inline constexpr const char* kPanicPath = "/common_lb_config/healthy_panic_threshold";

// nullopt: no JSON object.
[[nodiscard]] std::optional<Json> ParseEntry(std::string_view text);
// Never throws: bytes that are no UTF-8 become U+FFFD.
[[nodiscard]] std::string Dump(const Json& json);

[[nodiscard]] std::string TextAt(const Json& object, const char* key);  // "": none
[[nodiscard]] double NumberAt(const Json& object, const char* key);     // 0: none
[[nodiscard]] bool FlagAt(const Json& object, const char* key);
// An empty object or list where it is absent or of another type. Lives as long as `object`. An
// object may stand in a list of its own: so Consul keeps those of an extension that came as HCL.
[[nodiscard]] const Json& ObjectAt(const Json& object, const char* key);
[[nodiscard]] const Json& ListAt(const Json& object, const char* key);
const Json& ObjectAt(Json&& object, const char* key) = delete;  // would be gone
const Json& ListAt(Json&& object, const char* key) = delete;
// An empty object in place of none. Lives as long as `entry`.
[[nodiscard]] const Json& OrEmpty(const std::optional<Json>& entry);
const Json& OrEmpty(std::optional<Json>&& entry) = delete;
[[nodiscard]] std::uint64_t IndexOf(const Json& entry);  // ModifyIndex

// Whether two values say the same: fields that say nothing and the order of fields do not count,
// and a duration may stand as text ("3s") or, as Consul answers some, in nanoseconds.
[[nodiscard]] bool SaySame(const Json& a, const Json& b);

// "all", or a short name for what the route matches.
[[nodiscard]] std::string RouteMark(const Json& route);

[[nodiscard]] std::optional<Json> Find(const Json& entry, std::string_view path);
// Makes what is missing on the way, list elements included; a mark other than "all" must be there
// (else nothing is put).
void Put(Json& entry, std::string_view path, Json value);
// Takes the value out, and objects and lists on the way that are empty then; elements of lists
// stay.
void TakeOut(Json& entry, std::string_view path);
// Takes a list's element out if it says nothing but what the path says of it.
void TakeOutIfBare(Json& entry, std::string_view path);

}  // namespace consul_canary::shield
