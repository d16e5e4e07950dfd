#include "tests/chaos/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace consul_canary::testing {
namespace {

// Consul keeps weights in hundredths of a percent.
bool Same(double a, double b) { return std::abs(a - b) < 0.005; }

// The last one that was stored before `index`.
const DecisionSeen* DecisionBefore(const History& history, std::uint64_t index) {
  const DecisionSeen* last = nullptr;
  for (const DecisionSeen& decision : history.decisions) {
    if (decision.index < index) last = &decision;
  }
  return last;
}

bool IsHandEdit(const History& history, const SplitterSeen& seen) {
  return std::any_of(history.edits.begin(), history.edits.end(), [&seen](const HandEdit& edit) {
    return edit.mark == seen.hand && Same(edit.canary, seen.canary);
  });
}

std::int64_t CompletedAt(const History& history, const std::string& version, MonotonicTime when) {
  std::int64_t completed = 0;
  for (const CanaryRequests& requests : history.requests) {
    if (requests.at > when) break;
    const auto found = requests.completed_by_version.find(version);
    if (found != requests.completed_by_version.end()) completed = found->second;
  }
  return completed;
}

// When Consul was first seen to hold the weight that `decision` set.
MonotonicTime HeldSince(const History& history, const DecisionSeen& decision) {
  for (const SplitterSeen& seen : history.splitters) {
    if (seen.index > decision.index && Same(seen.canary, decision.weight)) return seen.at;
  }
  return MonotonicTime::max();
}

void CheckAdvance(const History& history, const DecisionSeen& first, const DecisionSeen& decision,
                  std::int64_t least, base::milliseconds fresh_for, Violations& found) {
  const std::string what =
      fmt::format("{}: decision {} ({} to {}% on \"{}\")", history.service, decision.sequence,
                  decision.action, decision.weight, decision.reason);
  if (!decision.decided) {
    found.push_back(what + " was in no transaction that a proxy let pass");
    return;
  }
  const std::int64_t now = CompletedAt(history, decision.version, *decision.decided);
  const std::int64_t then = CompletedAt(history, decision.version, HeldSince(history, first));
  if (now - then < least) {
    found.push_back(fmt::format("{} had {} requests of the canary behind it, a proof needs {}",
                                what, now - then, least));
  }
  if (now == CompletedAt(history, decision.version, *decision.decided - fresh_for)) {
    found.push_back(fmt::format("{} came when the canary had answered nothing for {} ms", what,
                                fresh_for.count()));
  }
}

// Whether `write` was let through after one of a later epoch had been answered with `true`. All are
// of one entry.
template <class Write>
bool ComesAfterALater(const std::vector<Write>& writes, const Write& write) {
  return std::any_of(writes.begin(), writes.end(), [&](const Write& other) {
    return other.accepted && other.epoch > write.epoch && other.answered &&
           *other.answered < write.forwarded;
  });
}

}  // namespace

Violations WeightsSumTo100(const History& history) {
  Violations found;
  for (const SplitterSeen& seen : history.splitters) {
    if (!Same(seen.sum, 100)) {
      found.push_back(fmt::format("{}: the splitter of index {} sums to {}", history.service,
                                  seen.index, seen.sum));
    }
  }
  for (const SplitterWrite& write : history.writes) {
    if (!Same(write.sum, 100)) {
      found.push_back(fmt::format("{}: {} wrote weights that sum to {}", history.service,
                                  write.analyzer, write.sum));
    }
  }
  return found;
}

Violations WeightsAreDecided(const History& history) {
  Violations found;
  for (const SplitterSeen& seen : history.splitters) {
    if (Same(seen.canary, 0) || IsHandEdit(history, seen)) continue;
    const DecisionSeen* decision = DecisionBefore(history, seen.index);
    if (decision != nullptr && Same(decision->weight, seen.canary)) continue;
    found.push_back(fmt::format(
        "{}: the splitter of index {} gives the canary {}%, {}", history.service, seen.index,
        seen.canary,
        decision == nullptr ? "and nothing was decided before"
                            : fmt::format("the last decision before it, {} ({}), says {}%",
                                          decision->sequence, decision->action, decision->weight)));
  }
  return found;
}

Violations EvidenceWasFresh(const History& history, std::int64_t least,
                            base::milliseconds fresh_for) {
  Violations found;
  const DecisionSeen* first = nullptr;  // that gave this version any traffic
  double weight = 0;
  for (const DecisionSeen& decision : history.decisions) {
    if (first != nullptr && first->version != decision.version) first = nullptr;
    if (first != nullptr && decision.cause == "proven" && decision.weight > weight) {
      CheckAdvance(history, *first, decision, least, fresh_for, found);
    }
    if (first == nullptr && decision.weight > 0) first = &decision;
    weight = decision.weight;
  }
  return found;
}

bool IsOfADeposedLeader(const History& history, const SplitterWrite& write) {
  return ComesAfterALater(history.writes, write);
}

Violations DeposedLeadersAreRefused(const History& history) {
  Violations found;
  for (const SplitterWrite& write : history.writes) {
    if (!write.accepted || !IsOfADeposedLeader(history, write)) continue;
    found.push_back(
        fmt::format("{}: Consul took a write of {}, {}% and epoch {}, after one of a "
                    "later epoch",
                    history.service, write.analyzer, write.canary, write.epoch));
  }
  for (const ResolverWrite& write : history.resolver_writes) {
    if (!write.accepted || !ComesAfterALater(history.resolver_writes, write)) continue;
    found.push_back(
        fmt::format("{}: Consul took a write of the resolver by {}, epoch {}, after one of a "
                    "later epoch",
                    history.service, write.analyzer, write.epoch));
  }
  std::uint64_t highest = 0;
  for (const SplitterSeen& seen : history.splitters) {
    if (seen.epoch != 0 && seen.epoch < highest) {
      found.push_back(fmt::format("{}: the epoch went back from {} to {} with index {}",
                                  history.service, highest, seen.epoch, seen.index));
    }
    highest = std::max(highest, seen.epoch);
  }
  return found;
}

Violations LogIsWhole(const History& history) {
  Violations found;
  std::uint64_t expected = 1;
  for (const DecisionSeen& decision : history.decisions) {
    if (decision.sequence != expected) {
      found.push_back(fmt::format("{}: decision {} is followed by {}", history.service,
                                  expected - 1, decision.sequence));
    }
    expected = decision.sequence + 1;
  }
  return found;
}

Violations CheckAll(const History& history, std::int64_t least, base::milliseconds fresh_for) {
  Violations all;
  for (const Violations& some : {WeightsSumTo100(history), WeightsAreDecided(history),
                                 EvidenceWasFresh(history, least, fresh_for),
                                 DeposedLeadersAreRefused(history), LogIsWhole(history)}) {
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

}  // namespace consul_canary::testing
