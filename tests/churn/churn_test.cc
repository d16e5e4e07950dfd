// A day in fast motion: a mesh in which everything comes and goes, read as the exporter and the
// analyzer read it, from what Consul and the sidecars' pages say to /metrics and to what a rollout
// is judged by; only the network, and who asks when, are left out. Every sum must be what the
// mesh's own ledger says, and a calm mesh must take no more memory in the evening than in the
// morning.
//
// CONSUL_CANARY_CHURN_SEED, _SERVICES and _CALLERS make another or a larger mesh.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "analyzer/control/take_counts.h"
#include "analyzer/rollout/state.h"
#include "exporter/collect/mesh_state.h"
#include "exporter/metrics/mesh_metrics.h"
#include "tests/benchmarks/allocations.h"
#include "tests/churn/churning_mesh.h"
#include "tests/churn/metrics_page.h"

namespace consul_canary::churn {
namespace {

constexpr base::seconds kDay{86400};
constexpr base::seconds kTick{5};
constexpr base::seconds kLook{60};  // at /metrics
// Each such time ends with a calm one in which all that is gone is forgotten.
constexpr base::seconds kShift{7200};
constexpr base::seconds kCalm{900};
// Of what is permanent there is more or less as codes turn up; an entry for each of what was there
// for a while would be hundreds of kilobytes.
constexpr std::size_t kAllowedGrowthBytes = 8192;

std::uint64_t Setting(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

rollout::Spec SpecOf(const ChurningMesh::Service& service) {
  using enum rollout::OutcomeView;
  constexpr std::array kViews{kFirstTry, kAttempts, kRequests};
  rollout::Spec spec;
  spec.service = service.name;
  spec.steps = {{.weight_percent = 10}};
  // Each kind in each view, one after the other.
  const std::uint64_t round = service.number / ChurningMesh::kKinds;
  spec.outcomes = kViews[(service.number + 1 + round) % kViews.size()];
  return spec;
}

// What the analyzer has taken of one service since it appeared.
struct Taken {
  rollout::State state;
  rollout::TickCounts sums;
  stats::Counts instances;

  void Add(const rollout::TickCounts& tick) {
    AddSubset(tick.primary, sums.primary);
    AddSubset(tick.canary, sums.canary);
    for (const auto& [id, counts] : tick.primary_instances) Add(counts, instances);
  }

 private:
  static void Add(const stats::Counts& from, stats::Counts& to) {
    to.completed += from.completed;
    to.failures += from.failures;
  }
  static void AddSubset(const rollout::SubsetTick& from, rollout::SubsetTick& to) {
    Add(from.low, to.low);
    Add(from.high, to.high);
    to.latency += from.latency;
  }
};

// {requests or attempts, failures} in the view.
stats::Counts InView(rollout::OutcomeView view, const Outcome& outcome) {
  const auto counts = [](std::uint64_t completed, std::uint64_t failures) {
    return stats::Counts{static_cast<std::int64_t>(completed), static_cast<std::int64_t>(failures)};
  };
  switch (view) {
    case rollout::OutcomeView::kFirstTry:
      return counts(outcome.requests, outcome.first_failures);
    case rollout::OutcomeView::kAttempts:
      return counts(outcome.attempts, outcome.failed_attempts);
    case rollout::OutcomeView::kRequests:
      break;
  }
  return counts(outcome.requests, outcome.final_failures);
}

std::string Text(const stats::Counts& counts) {
  return fmt::format("{} of {} failed", counts.failures, counts.completed);
}

stats::LatencyCounts ToLatency(const Times& times) {
  stats::LatencyCounts latency{.timed = static_cast<std::int64_t>(times.count)};
  for (std::size_t i = 0; i < kEdgesMs.size(); ++i) {
    latency.slower.emplace_back(kEdgesMs[i] / 1000,
                                static_cast<std::int64_t>(times.count - times.at_most[i]));
  }
  return latency;
}

// The exporter and the analyzer, from what Consul and the sidecars answer on.
class Readers {
 public:
  void Tick(ChurningMesh& mesh, base::MonotonicTime now) {
    const auto [state, is_news] = mesh.Catalog();
    if (is_news) {
      outline_ = collect::Outline(*state);
      targets_ = collect::WantedTargets(*state);
      std::erase_if(readings_, [this](const auto& item) { return !targets_.contains(item.first); });
    }
    for (const auto& [id, target] : targets_) ReadSidecar(mesh, id, now);
    snapshot_ = collect::MeshSnapshot();
    snapshot_.taken_at = now;
    snapshot_.ready = true;
    snapshot_.consul_answered_at = now;
    snapshot_.services = collect::Assemble(outline_, readings_);
    metrics_.OnSnapshot(snapshot_);
    Rule(mesh);
  }

  [[nodiscard]] std::string Page(base::MonotonicTime now) const {
    metrics::TextWriter page(base::MetricsSyntax::kText);
    metrics_.Write(snapshot_, collect::ScrapeStats(), {now, base::WallTime()}, page);
    return page.Finish();
  }

  [[nodiscard]] const std::map<std::string, Taken>& taken() const { return taken_; }
  [[nodiscard]] std::uint64_t pages() const { return pages_; }

  // Sidecars that anything is kept of.
  [[nodiscard]] std::size_t Entries() const {
    std::size_t entries = readings_.size();
    for (const auto& [name, taken] : taken_) {
      entries += taken.state.baselines.size() + taken.state.instance_baselines.size() +
                 taken.state.late_blocks.size();
    }
    return entries;
  }

 private:
  void ReadSidecar(ChurningMesh& mesh, const std::string& id, base::MonotonicTime now) {
    std::optional<envoy::SidecarPage> page = mesh.Read(id);
    if (!page) {
      const auto reading = readings_.find(id);
      if (reading != readings_.end()) reading->second.error = "timeout";
      return;
    }
    ++pages_;
    EXPECT_EQ(page->bad_line_count + page->duplicate_count, 0U) << id;
    collect::SidecarReading& reading = readings_[id];
    reading.error.clear();
    collect::TakePage(*std::move(page), now, reading);
  }

  void Rule(const ChurningMesh& mesh) {
    std::erase_if(taken_,
                  [this](const auto& item) { return !snapshot_.services.contains(item.first); });
    for (const auto& [name, service] : mesh.services()) {
      if (service.kind == ChurningMesh::Kind::kFailover) continue;  // is not ruled
      const collect::ServiceSnapshot& snapshot = *snapshot_.services.at(name);
      Taken& taken = taken_[name];
      if (!service.is_ruled) control::ForgetGoneCallers(snapshot, taken.state.baselines);
      taken.Add(control::TakeCounts(SpecOf(service), snapshot, taken.state));
    }
  }

  collect::MeshOutline outline_;
  std::map<std::string, collect::ScrapeTarget> targets_;
  std::map<std::string, collect::SidecarReading> readings_;
  collect::MeshSnapshot snapshot_;
  metrics::MeshMetrics metrics_{metrics::Roles()};
  std::map<std::string, Taken> taken_;  // by service
  std::uint64_t pages_ = 0;
};

class Churn : public ::testing::Test {
 protected:
  // False: something was wrong, and what follows would only repeat it.
  bool LookAtMetrics(base::MonotonicTime now) {
    ServiceSeries series = SeriesOfServices(readers_.Page(now));
    for (const std::string& line : Contradictions(series, mesh_)) ADD_FAILURE() << line;
    for (const std::string& line : WentDown(series_, series, mesh_)) ADD_FAILURE() << line;
    series_ = std::move(series);
    return !HasFailure();
  }

  bool LookAtTheAnalyzer() {
    for (const auto& [name, taken] : readers_.taken()) {
      SCOPED_TRACE(name);
      const ChurningMesh::Service& service = mesh_.services().at(name);
      const auto& callers = mesh_.callers().Of(name);
      for (const std::string subset : {"primary", "canary"}) {
        SCOPED_TRACE(subset);
        const auto found = callers.find(subset);
        ExpectSubset(service, found == callers.end() ? churn::Counted() : found->second,
                     subset == "canary" ? taken.sums.canary : taken.sums.primary);
      }
      const auto& instances = mesh_.instances().Of(name);
      const auto primary = instances.find("primary");
      const Outcome attempts = primary == instances.end() ? Outcome() : primary->second.outcome;
      ExpectInstances(service, attempts, taken.instances);
    }
    return !HasFailure();
  }

  static void ExpectSubset(const ChurningMesh::Service& service, const Counted& counted,
                           const rollout::SubsetTick& taken) {
    const rollout::OutcomeView view = SpecOf(service).outcomes;
    const stats::Counts truth = InView(view, counted.outcome);
    if (service.kind == ChurningMesh::Kind::kMixedGrpc) {
      ExpectBounds(counted.outcome, truth, taken);
    } else if (service.kind == ChurningMesh::Kind::kDoubtful &&
               view == rollout::OutcomeView::kFirstTry) {
      EXPECT_EQ(taken.low.completed, truth.completed);
      EXPECT_LE(taken.low.failures, truth.failures);
      EXPECT_GE(taken.high.failures, truth.failures);
    } else {
      EXPECT_EQ(Text(taken.low), Text(truth));
      EXPECT_EQ(Text(taken.high), Text(truth));
    }
    if (counted.times.count > 0 || taken.latency.timed > 0) {
      const stats::LatencyCounts times = ToLatency(counted.times);
      EXPECT_EQ(taken.latency.timed, times.timed);
      EXPECT_EQ(taken.latency.slower, times.slower);
    }
  }

  // Calls with a status and a 5xx may count twice.
  static void ExpectBounds(const Outcome& outcome, const stats::Counts& truth,
                           const rollout::SubsetTick& taken) {
    const auto twice = static_cast<std::int64_t>(outcome.status_errors);
    EXPECT_EQ(taken.low.completed, taken.high.completed);
    EXPECT_GE(taken.high.completed, truth.completed);
    EXPECT_LE(taken.high.completed, truth.completed + twice);
    EXPECT_LE(taken.low.failures, truth.failures);
    EXPECT_GE(taken.high.failures, truth.failures);
  }

  static void ExpectInstances(const ChurningMesh::Service& service, const Outcome& attempts,
                              const stats::Counts& taken) {
    const stats::Counts truth = InView(rollout::OutcomeView::kAttempts, attempts);
    const auto twice = static_cast<std::int64_t>(attempts.status_errors);
    if (service.kind == ChurningMesh::Kind::kMixedGrpc) {
      EXPECT_GE(taken.completed, truth.completed);
      EXPECT_LE(taken.completed, truth.completed + twice);
      EXPECT_EQ(taken.failures - truth.failures, taken.completed - truth.completed);
    } else {
      EXPECT_EQ(Text(taken), Text(truth));
    }
  }

  // At the end of a calm time.
  void Weigh(base::seconds since_begin) {
    calm_bytes_.push_back(benchmarks::BytesOnHeap());
    calm_entries_.push_back(readers_.Entries());
    fmt::print("hour {:2}: {} bytes when calm, {} at most before, {} entries\n",
               since_begin / base::seconds(3600), calm_bytes_.back(), benchmarks::PeakBytesOnHeap(),
               calm_entries_.back());
    benchmarks::ForgetPeak();
  }

  void PrintMishaps() const {
    const Mishaps& mishaps = mesh_.mishaps();
    fmt::print(
        "{} ticks, {} pages read, {} missed, {} without a subset; {} restarts, {} rebuilt "
        "clusters; {} sidecars and {} services ({} under a name that had been there), {} sidecars "
        "away for a while, {} moves of an instance to the other subset; {} requests ({} streams), "
        "{} "
        "of them counted\n",
        kDay / kTick, readers_.pages(), mishaps.missed_pages, mishaps.pages_without_a_subset,
        mishaps.restarts, mishaps.rebuilt_clusters, mishaps.sidecars, mishaps.services,
        mishaps.services_back, mishaps.sidecars_away, mishaps.moved_instances, mishaps.requests,
        mishaps.streams, Counted());
  }

  [[nodiscard]] std::uint64_t Counted() const {
    std::uint64_t requests = mesh_.mishaps().counted_of_gone;
    for (const auto& [name, service] : mesh_.services()) requests += mesh_.CountedOf(name);
    return requests;
  }

  ChurningMesh mesh_{Setting("CONSUL_CANARY_CHURN_SEED", 6),
                     {.services = Setting("CONSUL_CANARY_CHURN_SERVICES", 8),
                      .callers = Setting("CONSUL_CANARY_CHURN_CALLERS", 5)}};
  Readers readers_;
  ServiceSeries series_;  // at the last look
  std::vector<std::size_t> calm_bytes_, calm_entries_;
};

TEST_F(Churn, ADayLeavesEverySumExactAndMemoryAsItWas) {
  for (base::seconds time = kTick; time <= kDay; time += kTick) {
    const base::MonotonicTime now = base::MonotonicTime{} + base::seconds(1000000) + time;
    const base::seconds of_shift = time % kShift;
    mesh_.Step(now, of_shift > kShift - kCalm || of_shift.count() == 0);
    readers_.Tick(mesh_, now);
    mesh_.EndTick();
    const bool is_look = (time % kLook).count() == 0;
    ASSERT_TRUE(!is_look || (LookAtMetrics(now) && LookAtTheAnalyzer()))
        << time.count() << " s after the begin";
    if (of_shift.count() == 0) Weigh(time);
  }
  PrintMishaps();
  EXPECT_GT(Counted(), mesh_.mishaps().requests / 2);
  EXPECT_GT(mesh_.mishaps().restarts, 100U);
  EXPECT_GT(mesh_.mishaps().rebuilt_clusters, 20U);
  EXPECT_GT(mesh_.mishaps().moved_instances, 100U);
  EXPECT_GT(mesh_.mishaps().streams, 1000U);
  EXPECT_LE(calm_bytes_.back(), calm_bytes_.front() + kAllowedGrowthBytes);
  EXPECT_EQ(calm_entries_.back(), calm_entries_.front());
}

}  // namespace
}  // namespace consul_canary::churn
