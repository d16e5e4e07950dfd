#include "analyzer/rollout/state.h"

#include <array>
#include <utility>

namespace consul_canary::rollout {
namespace {

template <class E, std::size_t N>
using Names = std::array<std::pair<E, std::string_view>, N>;

constexpr Names<Phase, 7> kPhases{{{Phase::kIdle, "idle"},
                                   {Phase::kProgressing, "progressing"},
                                   {Phase::kPaused, "paused"},
                                   {Phase::kPromoting, "promoting"},
                                   {Phase::kSucceeded, "succeeded"},
                                   {Phase::kRollingBack, "rolling-back"},
                                   {Phase::kRolledBack, "rolled-back"}}};

constexpr Names<Stage, 7> kStages{{{Stage::kNone, "none"},
                                   {Stage::kPreparing, "preparing"},
                                   {Stage::kStepping, "stepping"},
                                   {Stage::kCanaryFull, "canary-full"},
                                   {Stage::kWatching, "watching"},
                                   {Stage::kPrimaryFilter, "primary-filter"},
                                   {Stage::kPrimaryFull, "primary-full"}}};

constexpr Names<OrderKind, 7> kOrders{{{OrderKind::kStart, "start"},
                                       {OrderKind::kPause, "pause"},
                                       {OrderKind::kResume, "resume"},
                                       {OrderKind::kPromote, "promote"},
                                       {OrderKind::kAbort, "abort"},
                                       {OrderKind::kRetry, "retry"},
                                       {OrderKind::kRollbackAlert, "rollback-alert"}}};

constexpr Names<Routes, 3> kRoutes{
    {{Routes::kNone, "none"}, {Routes::kAwaited, "awaited"}, {Routes::kPlaced, "placed"}}};

constexpr Names<RoutesSeen, 3> kRoutesSeen{
    {{RoutesSeen::kNone, "none"}, {RoutesSeen::kWhole, "whole"}, {RoutesSeen::kOther, "other"}}};

template <class E, std::size_t N>
std::string_view NameOf(const Names<E, N>& names, E value) {
  for (const auto& [candidate, name] : names) {
    if (candidate == value) return name;
  }
  return "unknown";
}

template <class E, std::size_t N>
std::optional<E> ValueOf(const Names<E, N>& names, std::string_view name) {
  for (const auto& [value, candidate] : names) {
    if (candidate == name) return value;
  }
  return std::nullopt;
}

}  // namespace

std::string_view ToString(Phase phase) { return NameOf(kPhases, phase); }
std::string_view ToString(Stage stage) { return NameOf(kStages, stage); }
std::string_view ToString(OrderKind kind) { return NameOf(kOrders, kind); }
std::optional<Phase> PhaseFromString(std::string_view name) { return ValueOf(kPhases, name); }
std::optional<Stage> StageFromString(std::string_view name) { return ValueOf(kStages, name); }
std::optional<OrderKind> OrderKindFromString(std::string_view name) {
  return ValueOf(kOrders, name);
}

std::string_view ToString(Routes routes) { return NameOf(kRoutes, routes); }
std::string_view ToString(RoutesSeen seen) { return NameOf(kRoutesSeen, seen); }
std::optional<Routes> RoutesFromString(std::string_view name) { return ValueOf(kRoutes, name); }
std::optional<RoutesSeen> RoutesSeenFromString(std::string_view name) {
  return ValueOf(kRoutesSeen, name);
}

bool IsActive(Phase phase) {
  return phase == Phase::kProgressing || phase == Phase::kPaused || phase == Phase::kPromoting ||
         phase == Phase::kRollingBack;
}

}  // namespace consul_canary::rollout
