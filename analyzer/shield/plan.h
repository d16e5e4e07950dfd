// Which entries make the shield of a service, and in which order they are written. Pure.
//
// Callers first (passive health check and both patches in one entry), then the failover, then the
// retries; the other way round to take it out. Whatever prefix of that order a sidecar has seen,
// its callers are no worse off than without any of it (docs/shield.md#order).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "analyzer/shield/merge.h"
#include "analyzer/shield/mesh_view.h"
#include "exporter/base/result.h"

namespace consul_canary::shield {

inline constexpr int kRetries = 3;
// One would do for the canary alone, but a primary of few instances would be ejected at each error
// of its own (docs/shield.md, "A primary that has errors too").
inline constexpr int kMaxFailures = 2;
inline constexpr int kMergeWindowNanos = 1'000'000;
inline constexpr int kPanicPercent = 50;

// What Envoy's patches of one caller do for the service, whoever wrote them.
struct PatchesSeen {
  bool merge_window = false;
  bool panic_threshold = false;

  [[nodiscard]] bool both() const { return merge_window && panic_threshold; }
  bool operator==(const PatchesSeen&) const = default;
};
// Of proxy-defaults and service-defaults together, as Consul applies them.
[[nodiscard]] PatchesSeen PatchesFor(const std::string& service, const std::optional<Json>& caller,
                                     const std::optional<Json>& proxy_defaults);

// The field of the caller's passive health check of the service; nothing: Consul's or Envoy's own.
[[nodiscard]] std::optional<Json> HealthCheckOf(const std::string& service,
                                                const std::optional<Json>& caller);

struct Plan {
  std::vector<Write> writes;  // in order; those that change nothing are left out
};

// When a failover is put in. Envoy fills the cluster that it makes for it some tenths of a second
// after it sends requests there, and answers them with 503 meanwhile.
enum class Moment {
  kIdle,  // only while the canary gets no requests
  kNow    // at once
};

// Why the canary gets requests now; empty: it gets none.
[[nodiscard]] std::string CanaryTraffic(const MeshView& view);

// Why the memory of entries that have to do with this shield cannot be read, a line each; empty: it
// can.
[[nodiscard]] std::string MemoryTroubles(const MeshView& view);

// kInvalid where the mesh cannot have a shield, or where memory is damaged, and why.
// `consul_version` empty: Consul decides.
[[nodiscard]] base::Result<Plan> PlanShield(const MeshView& view, Moment moment);
// kInvalid where memory is damaged.
[[nodiscard]] base::Result<Plan> PlanRemoval(const MeshView& view);

// The entries as they are with the shield, whether they change or not, in the same order.
[[nodiscard]] base::Result<Plan> WholeShield(const MeshView& view);

// "1.16.3" from 1.16 on, or not known.
[[nodiscard]] bool HasPropertyOverride(const std::string& consul_version);

}  // namespace consul_canary::shield
