// consul-canary-chaos: rollouts on a real cluster and a real mesh while parts of both are killed,
// stopped, cut off and edited by hand, held against what docs/safety.md promises.
//
//   consul-canary-chaos [--runs N] [--lanes N] [--seed N] [--faults N] [--kinds LIST] [--decisions]
//
// The same seed has the same faults at the same times; what they meet is the machine's. Exits with
// 0 when nothing that is promised was broken.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/wait.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>

#include "tests/chaos/arena.h"

namespace consul_canary::testing {
namespace {

struct Options {
  std::size_t runs = 12;
  std::size_t lanes = 4;
  std::uint64_t seed = 1;
  std::size_t faults = 10;
  std::vector<std::string> kinds;
  bool decisions = false;
};

struct Totals {
  std::map<std::string, int> by_fault;
  std::map<std::string, int> by_outcome;
  std::vector<milliseconds> harm;
  std::vector<milliseconds> harm_in_quiet;
  WriteTotals writes;
  std::size_t good = 0;
  std::size_t bad = 0;
};

void Say(const std::string& line) {
  std::fputs((line + "\n").c_str(), stdout);
  std::fflush(stdout);
}

std::string Describe(const RunResult& run) {
  std::string canary = run.healthy ? "healthy" : "bad";
  if (run.turns_bad) {
    canary = fmt::format("bad after {:.1f} s", static_cast<double>(run.turns_bad->count()) / 1000);
  }
  std::string text = fmt::format("  {} {:4} {:16} -> {:11} in {:4.1f} s", run.service, run.version,
                                 canary, run.phase.empty() ? "?" : run.phase, run.seconds);
  if (run.harm)
    text += fmt::format(", had traffic while bad for {:.1f} s",
                        static_cast<double>(run.harm->count()) / 1000);
  return text;
}

std::string Quantiles(std::vector<milliseconds> values) {
  if (values.empty()) return "none";
  std::sort(values.begin(), values.end());
  const auto at = [&values](double quantile) {
    const auto last = static_cast<double>(values.size() - 1);
    return static_cast<double>(values[static_cast<std::size_t>(quantile * last)].count()) / 1000;
  };
  return fmt::format(
      "least {:.1f} s, median {:.1f} s, 90% within {:.1f} s, most {:.1f} s ({} runs)", at(0),
      at(0.5), at(0.9), at(1), values.size());
}

void Add(const RoundResult& round, Totals& totals) {
  for (const AppliedFault& applied : round.faults) {
    if (applied.done) ++totals.by_fault[std::string(ToString(applied.fault.kind))];
  }
  for (const RunResult& run : round.runs) {
    ++totals.by_outcome[run.phase.empty() ? "not ended" : run.phase];
    if (run.harm) totals.harm.push_back(*run.harm);
    if (run.harm_in_quiet) totals.harm_in_quiet.push_back(*run.harm_in_quiet);
    ++(run.violations.empty() ? totals.good : totals.bad);
  }
  if (!round.violations.empty()) ++totals.bad;
}

void Add(const WriteTotals& writes, WriteTotals& totals) {
  totals.accepted += writes.accepted;
  totals.refused += writes.refused;
  totals.unanswered += writes.unanswered;
  totals.held += writes.held;
  totals.deposed += writes.deposed;
  totals.leaders += writes.leaders;
}

void PrintDecisions(const RoundResult& round, const RunResult& run) {
  Say(fmt::format("decisions of {}:", run.service));
  for (const DecisionSeen& decision : run.decisions) {
    const std::string at =
        decision.decided
            ? fmt::format("{:5.1f} s",
                          std::chrono::duration<double>(*decision.decided - round.begin).count())
            : "      ?";
    Say(fmt::format("  {} {:3} index {} {} ({}) to {}, {:g}%: {}", at, decision.sequence,
                    decision.index, decision.action, decision.cause, decision.to, decision.weight,
                    decision.reason));
  }
}

void Explain(const RoundResult& round, Arena& arena) {
  Say(fmt::format("seed {} broke what is promised:", round.seed));
  for (const std::string& violation : round.violations) Say("  " + violation);
  for (const RunResult& run : round.runs) {
    for (const std::string& violation : run.violations) Say("  " + violation);
  }
  for (const RunResult& run : round.runs) {
    if (!run.violations.empty()) PrintDecisions(round, run);
  }
  Say("logs, which stay:");
  for (const std::string& folder : arena.KeepLogs()) Say("  " + folder);
}

void Print(const RoundResult& round) {
  Say(fmt::format("seed {}", round.seed));
  for (const AppliedFault& applied : round.faults) {
    Say(fmt::format("  {}{}", ToString(applied.fault),
                    applied.note.empty() ? "" : "; " + applied.note));
  }
  for (const RunResult& run : round.runs) Say(Describe(run));
}

void Summarize(const Options& options, const Totals& totals) {
  Say(fmt::format("summary: {} runs from seed {}, {} at once: {} as promised, {} not",
                  totals.good + totals.bad, options.seed, options.lanes, totals.good, totals.bad));
  for (const auto& [outcome, count] : totals.by_outcome)
    Say(fmt::format("  {:4} {}", count, outcome));
  Say("faults:");
  for (const auto& [kind, count] : totals.by_fault) Say(fmt::format("  {:4} {}", count, kind));
  const WriteTotals& writes = totals.writes;
  Say(fmt::format(
      "writes of splitters: {} taken by Consul, {} refused, {} without an answer; {} were "
      "held for more than a second, {} came from a deposed leader; {} leaders",
      writes.accepted, writes.refused, writes.unanswered, writes.held, writes.deposed,
      writes.leaders));
  Say("traffic of a failing canary, until Consul held 0% again:");
  Say("  in all: " + Quantiles(totals.harm));
  Say("  after the last fault: " + Quantiles(totals.harm_in_quiet));
}

std::set<FaultKind> KindsOf(const std::vector<std::string>& names) {
  std::set<FaultKind> kinds;
  for (std::size_t i = 0; i < kFaultKinds; ++i) {
    const auto kind = static_cast<FaultKind>(i);
    if (std::find(names.begin(), names.end(), ToString(kind)) != names.end()) kinds.insert(kind);
  }
  return kinds;
}

int RunAll(const Options& options) {
  Totals totals;
  std::unique_ptr<Arena> arena;
  const std::set<FaultKind> kinds = KindsOf(options.kinds);
  for (std::size_t done = 0; done < options.runs; done += options.lanes) {
    if (!arena) {
      auto started = Arena::Start(options.lanes);
      if (!started) {  // that a mesh comes up at all is the matter of other tests
        Say("once more, since the arena does not stand: " + started.error().message);
        started = Arena::Start(options.lanes);
      }
      if (!started) {
        Say("the arena does not stand: " + started.error().message);
        return 1;
      }
      arena = std::move(*started);
    }
    const RoundResult round =
        arena->Round(options.seed + done / options.lanes, kinds, options.faults);
    Print(round);
    Add(round, totals);
    if (options.decisions) {
      for (const RunResult& run : round.runs) PrintDecisions(round, run);
    }
    if (round.good()) continue;
    Explain(round, *arena);
    Add(arena->Writes(), totals.writes);
    arena.reset();  // the next round begins in a new one
  }
  if (arena) Add(arena->Writes(), totals.writes);
  arena.reset();
  Summarize(options, totals);
  if (waitpid(-1, nullptr, WNOHANG) != -1) {
    Say("a child is left");
    return 1;
  }
  return totals.bad == 0 ? 0 : 1;
}

}  // namespace
}  // namespace consul_canary::testing

int main(int argc, char** argv) {
  using consul_canary::testing::Options;
  Options options;
  CLI::App app("Rollouts under faults");
  app.add_option("--runs", options.runs, "Rollouts in all")->capture_default_str();
  app.add_option("--lanes", options.lanes, "Of them at once")->capture_default_str();
  app.add_option("--seed", options.seed, "Of the first round; each has the next")
      ->capture_default_str();
  app.add_option("--faults", options.faults, "Drawn for each round; 0: none at all")
      ->capture_default_str();
  app.add_option("--kinds", options.kinds, "Only these kinds of fault")->delimiter(',');
  app.add_flag("--decisions", options.decisions,
               "Shows those of each run, and not of bad ones alone");
  CLI11_PARSE(app, argc, argv);
  return consul_canary::testing::RunAll(options);
}
