#include "tests/chaos/faults.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <random>

namespace consul_canary::testing {
namespace {

// What a fault is of.
enum class Part { kAnalyzer, kServer, kLink, kClock, kLane };

struct KindFacts {
  FaultKind kind;
  std::string_view name;
  Part part;
  int shortest_ms;
  int longest_ms;
};

// Stops are long enough for a lock to be lost, and short enough for a round.
constexpr std::array<KindFacts, kFaultKinds> kFacts = {{
    {FaultKind::kAnalyzerKill, "analyzer-kill", Part::kAnalyzer, 300, 6000},
    {FaultKind::kAnalyzerStop, "analyzer-stop", Part::kAnalyzer, 500, 14000},
    {FaultKind::kAnalyzerTerm, "analyzer-restart", Part::kAnalyzer, 300, 4000},
    {FaultKind::kServerKill, "server-kill", Part::kServer, 300, 5000},
    {FaultKind::kServerStop, "server-stop", Part::kServer, 500, 6000},
    {FaultKind::kServerTerm, "server-restart", Part::kServer, 300, 3000},
    {FaultKind::kLeaderKill, "leader-kill", Part::kServer, 300, 5000},
    {FaultKind::kLeaderStop, "leader-stop", Part::kServer, 500, 6000},
    {FaultKind::kQuorumStop, "quorum-stop", Part::kServer, 1000, 6000},
    {FaultKind::kLinkCut, "link-cut", Part::kLink, 0, 0},
    {FaultKind::kLinkRefuse, "link-refuse", Part::kLink, 500, 6000},
    {FaultKind::kLinkHoldRequests, "link-hold-requests", Part::kLink, 500, 14000},
    {FaultKind::kLinkHoldAnswers, "link-hold-answers", Part::kLink, 500, 8000},
    {FaultKind::kLinkBlackhole, "link-blackhole", Part::kLink, 500, 10000},
    {FaultKind::kLinkDelay, "link-delay", Part::kLink, 1000, 8000},
    {FaultKind::kWriteHeld, "write-held-past-kill", Part::kLink, 8000, 16000},
    {FaultKind::kCallerKill, "caller-sidecar-kill", Part::kLane, 200, 2000},
    {FaultKind::kCallerStop, "caller-sidecar-stop", Part::kLane, 500, 4000},
    {FaultKind::kPrimaryKill, "primary-sidecar-kill", Part::kLane, 200, 1500},
    {FaultKind::kCanaryKill, "canary-sidecar-kill", Part::kLane, 200, 1500},
    {FaultKind::kHandEdit, "hand-edit", Part::kLane, 0, 0},
    {FaultKind::kClockSkew, "clock-skew", Part::kClock, 0, 0},
}};

const KindFacts& FactsOf(FaultKind kind) { return kFacts.at(static_cast<std::size_t>(kind)); }

class Drawing {
 public:
  explicit Drawing(const FaultPlan& plan) : plan_(plan), random_(plan.seed) {}

  std::vector<Fault> All() {
    for (std::size_t i = 0; i < plan_.faults; ++i) DrawShared();
    for (std::size_t lane = 0; lane < plan_.healthy.size(); ++lane) DrawOfLane(lane);
    std::stable_sort(drawn_.begin(), drawn_.end(),
                     [](const Fault& a, const Fault& b) { return a.at < b.at; });
    return std::move(drawn_);
  }

 private:
  // Not std's distributions: those differ between libraries, and a seed shall mean one thing.
  std::size_t Below(std::size_t bound) { return static_cast<std::size_t>(random_() % bound); }
  milliseconds Between(int least, int most) {
    return milliseconds(least +
                        static_cast<int>(Below(static_cast<std::size_t>(most - least) + 1)));
  }

  std::vector<FaultKind> Kinds(bool of_lanes) const {
    std::vector<FaultKind> kinds;
    for (const KindFacts& facts : kFacts) {
      const bool wanted = plan_.kinds.empty() || plan_.kinds.contains(facts.kind);
      if (wanted && (facts.part == Part::kLane) == of_lanes) kinds.push_back(facts.kind);
    }
    return kinds;
  }

  void DrawShared() {
    const std::vector<FaultKind> kinds = Kinds(false);
    if (kinds.empty()) return;
    Fault fault{.kind = kinds[Below(kinds.size())]};
    const KindFacts& facts = FactsOf(fault.kind);
    fault.target = Below(facts.part == Part::kServer ? plan_.servers : plan_.analyzers);
    Place(fault);
  }

  void DrawOfLane(std::size_t lane) {
    std::vector<FaultKind> kinds = Kinds(true);
    std::erase(kinds, plan_.healthy[lane] ? FaultKind::kCanaryKill : FaultKind::kPrimaryKill);
    if (kinds.empty()) return;
    Fault fault{.kind = kinds[Below(kinds.size())], .target = lane};
    fault.keeps_meta = Below(2) == 0;
    Place(fault);
  }

  void Place(Fault fault) {
    const KindFacts& facts = FactsOf(fault.kind);
    fault.at = Between(0, static_cast<int>(plan_.length.count()));
    fault.lasts = Between(facts.shortest_ms, facts.longest_ms);
    // Of no step and of no promotion, so that it can be told from them.
    if (fault.kind == FaultKind::kHandEdit)
      fault.value = std::array{0.0, 7.0, 33.0, 77.0}[Below(4)];
    if (fault.kind == FaultKind::kClockSkew) fault.value = static_cast<double>(Below(241)) - 120;
    // Servers count as one target: with two of three away there is no Consul at all, which has a
    // fault of its own.
    const std::size_t target = facts.part == Part::kServer ? 0 : fault.target;
    auto& others = busy_[{facts.part, target}];
    const bool overlaps = std::any_of(others.begin(), others.end(), [&fault](const Fault& other) {
      return fault.at <= other.at + other.lasts + kBreath &&
             other.at <= fault.at + fault.lasts + kBreath;
    });
    if (overlaps) return;
    others.push_back(fault);
    drawn_.push_back(fault);
  }

  static constexpr milliseconds kBreath{500};
  const FaultPlan& plan_;
  std::mt19937_64 random_;
  std::map<std::pair<Part, std::size_t>, std::vector<Fault>> busy_;
  std::vector<Fault> drawn_;
};

}  // namespace

std::string_view ToString(FaultKind kind) { return FactsOf(kind).name; }

std::string ToString(const Fault& fault) {
  const double second = 1000;
  std::string text =
      fmt::format("{:5.1f} s  {} of {}", static_cast<double>(fault.at.count()) / second,
                  ToString(fault.kind), fault.target + 1);
  if (fault.lasts.count() > 0) {
    text += fmt::format(" for {:.1f} s", static_cast<double>(fault.lasts.count()) / second);
  }
  if (fault.kind == FaultKind::kHandEdit) {
    text +=
        fmt::format(" to {:g}%{}", fault.value, fault.keeps_meta ? "" : ", the rest of Meta gone");
  }
  if (fault.kind == FaultKind::kClockSkew) text += fmt::format(" by {:g} s", fault.value);
  return text;
}

std::vector<Fault> DrawFaults(const FaultPlan& plan) { return Drawing(plan).All(); }

}  // namespace consul_canary::testing
