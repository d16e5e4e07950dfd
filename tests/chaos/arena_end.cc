// What the arena looks at while a round runs, as a person would, and once it is over.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/chaos/arena.h"

namespace consul_canary::testing {
namespace {

using nlohmann::json;

constexpr double kFailing = 0.3;
// Before a margin of 0.05 is proven at 5%, each success multiplies the evidence by less than
// 1 / (1 - 0.05), and ln 20 / -ln 0.95 is 58; what was counted between two looks comes on top.
constexpr std::int64_t kLeastForProof = 50;
// What the callers' sidecars say may be 3.5 s old, and a tick looks back over one second.
constexpr milliseconds kFresh{5000};
constexpr milliseconds kSettling{20'000};
// After the last fault: Consul has a leader again within 5 s; a dead analyzer's session ends within
// 3 s, by its check of one second and that one's patience of two; those who come after it wait 2 s
// for each analyzer before them, 4 s; then come a tick, the warm-up and the requests that show the
// harm, 4 s. Where a Consul server died with the check, its node is known to be dead 5 s later.
constexpr milliseconds kHarmBound{21'000};

MonotonicTime Now() { return std::chrono::steady_clock::now(); }

milliseconds Between(MonotonicTime from, MonotonicTime to) {
  return std::chrono::duration_cast<milliseconds>(to - from);
}

}  // namespace

void Arena::Attend(Plan& plan) {
  std::vector<int> foreign_looks(lanes_.size(), 0);
  while (!plan.over) {
    for (std::size_t i = 0; i < lanes_.size(); ++i) AttendLane(plan, i, foreign_looks[i]);
    Pass(milliseconds(100));
  }
}

void Arena::AttendLane(Plan& plan, std::size_t number, int& foreign_looks) {
  Lane& lane = *lanes_[number];
  RunResult& run = plan.result.runs[number];
  const auto latest = watcher_->Latest(lane.service());
  const bool due = run.turns_bad && Now() >= plan.result.begin + *run.turns_bad;
  if (due && !plan.bad_since[number] && latest && latest->canary > 0) {
    (void)lane.mesh().Control(lane.version(), fmt::format("failure_ratio={}", kFailing));
    plan.bad_since[number] = Now();
  }
  const auto stored = lane.Stored();
  if (!stored || !*stored || !run.phase.empty()) return;
  if ((*stored)->ended() && (*stored)->version == lane.version()) {
    run.phase = (*stored)->phase;
    run.reason = (*stored)->reason;
    run.seconds = std::chrono::duration<double>(Now() - lane.deployed_at()).count();
    ++plan.ended;
  }
  // Not at the first look: the analyzers shall see the edit before a person does.
  constexpr int kLooks = 10;
  foreign_looks = (*stored)->foreign_edit && !(*stored)->ended() ? foreign_looks + 1 : 0;
  if (foreign_looks > 0 && foreign_looks % kLooks == 0) ResumeAnywhere(lane.service());
}

void Arena::ResumeAnywhere(const std::string& service) const {
  for (const auto& analyzer : analyzers_) {
    const auto answer = cluster_->client().http().Call(
        "POST", fmt::format("{}/api/v1/rollouts/{}/resume", analyzer->address(), service), "", {},
        seconds(1));
    if (answer && answer->status == 202) return;
  }
}

void Arena::Conclude(Plan& plan) {
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    Lane& lane = *lanes_[i];
    RunResult& run = plan.result.runs[i];
    CheckEnd(lane, run);
    MeasureHarm(plan, i, run);
    const History history = HistoryOf(lane);
    std::copy_if(history.decisions.begin(), history.decisions.end(),
                 std::back_inserter(run.decisions),
                 [&run](const DecisionSeen& decision) { return decision.version == run.version; });
    // A promotion sets filters; were none seen, nothing was checked of them.
    if (run.phase == "succeeded" && history.resolver_writes.empty()) {
      run.violations.push_back(run.service + ": no write of its resolver passed a proxy");
    }
    for (std::string& violation : CheckAll(history, kLeastForProof, kFresh)) {
      if (reported_.insert(violation).second) run.violations.push_back(std::move(violation));
    }
  }
  for (const AppliedFault& applied : plan.result.faults) {
    if (applied.broken)
      plan.result.violations.push_back(ToString(applied.fault) + ": " + applied.note);
  }
  if (!plan.result.good()) return;  // as it is, for a look at it
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    const auto tidy = lanes_[i]->TidyUp(plan.result.runs[i].phase == "succeeded");
    if (!tidy) plan.result.violations.push_back("tidying up: " + tidy.error().message);
  }
}

void Arena::CheckEnd(Lane& lane, RunResult& run) const {
  const auto blame = [&run](const std::string& what) {
    run.violations.push_back(run.service + ": " + what);
  };
  const std::string due = run.healthy ? "succeeded" : "rolled-back";
  if (run.phase != due) {
    const auto stored = lane.Stored();
    const std::string is = stored && *stored ? fmt::format("{}, {}: {}", (*stored)->phase,
                                                           (*stored)->stage, (*stored)->reason)
                                             : "not known";
    blame(fmt::format("version {} is {} and should be {}; it is {}", run.version,
                      run.healthy ? "healthy" : "bad", due, is));
  }
  if (!WaitUntil([&] { return LeadersOf(run.service) == 1; }, kSettling, milliseconds(200))) {
    blame(fmt::format("{} analyzers say that they lead", LeadersOf(run.service)));
  }
  const ConsulAgent& consul = cluster_->client();
  if (!WaitUntil([&] { return OrdersLeft(consul, run.service).value_or(1) == 0; }, seconds(10))) {
    blame("orders are left that nobody carried out");
  }
  if (ReadLockHolder(consul, run.service).value_or("").empty()) blame("nobody holds its lock");
  const auto stored = lane.Stored();
  const auto latest = watcher_->Latest(run.service);
  if (!stored || !*stored || !latest) return blame("state or splitter cannot be read");
  if ((*stored)->wanted != 0 || latest->canary != 0) {
    blame(fmt::format("at the end the state wants {}% for the canary, the splitter has {}%",
                      (*stored)->wanted, latest->canary));
  }
  const auto decisions = ReadDecisions(consul, run.service);
  if (!decisions || decisions->size() != (*stored)->decisions) {
    blame(fmt::format("the state counts {} decisions, the log {}", (*stored)->decisions,
                      decisions ? decisions->size() : 0));
  }
  const auto entry = consul.ReadEntry("service-resolver", run.service);
  const json resolver = entry && *entry ? json::parse(**entry, nullptr, false) : json::object();
  for (const auto& [subset, wanted] :
       {std::pair("primary", (*stored)->primary_filter), {"canary", (*stored)->canary_filter}}) {
    const std::string is = resolver["Subsets"][subset].value("Filter", "");
    if (!wanted.empty() && is != wanted) {
      blame(
          fmt::format("the state wants {} for subset {}, the resolver has {}", wanted, subset, is));
    }
  }
}

// The longest time in which the failing canary had a weight in Consul.
void Arena::MeasureHarm(const Plan& plan, std::size_t lane, RunResult& run) const {
  const auto bad_since = plan.bad_since[lane];
  if (!bad_since) return;
  MonotonicTime last_fault = *bad_since;
  for (const AppliedFault& applied : plan.result.faults) {
    last_fault = std::max(last_fault, applied.end);
  }
  const auto note = [&](MonotonicTime from, MonotonicTime to) {
    run.harm = std::max(run.harm.value_or(milliseconds(0)), Between(from, to));
    const MonotonicTime quiet = std::max(from, last_fault);
    if (to > quiet) {
      run.harm_in_quiet = std::max(run.harm_in_quiet.value_or(milliseconds(0)), Between(quiet, to));
    }
  };
  const std::vector<SplitterSeen> splitters = watcher_->Of(run.service);
  const SplitterSeen* with_traffic = nullptr;  // the first since the canary had none
  for (const SplitterSeen& seen : splitters) {
    if (seen.canary > 0 && with_traffic == nullptr) with_traffic = &seen;
    if (seen.canary == 0 && with_traffic != nullptr) {
      const MonotonicTime from = std::max(with_traffic->at, *bad_since);
      if (seen.at > from) note(from, seen.at);
      with_traffic = nullptr;
    }
  }
  if (with_traffic != nullptr) note(std::max(with_traffic->at, *bad_since), Now());
  if (run.harm_in_quiet && *run.harm_in_quiet > kHarmBound) {
    run.violations.push_back(
        fmt::format("{}: the failing canary had traffic for {} ms after the "
                    "last fault, {} are allowed",
                    run.service, run.harm_in_quiet->count(), kHarmBound.count()));
  }
}

History Arena::HistoryOf(const Lane& lane) const {
  History history{.service = lane.service(),
                  .splitters = watcher_->Of(lane.service()),
                  .edits = lane.Edits(),
                  .requests = lane.Requests()};
  history.decisions =
      ReadDecisions(cluster_->client(), lane.service()).value_or(std::vector<DecisionSeen>());
  for (std::size_t i = 0; i < kAnalyzers; ++i) {
    const std::vector<ProxiedWrite> writes = links_.at(i)->Writes();
    AddTimes(writes, lane.service(), history.decisions);
    for (SplitterWrite& write :
         SplitterWrites(writes, lane.service(), fmt::format("analyzer-{}", i + 1))) {
      history.writes.push_back(std::move(write));
    }
    const auto resolver = ResolverWrites(writes, lane.service(), fmt::format("analyzer-{}", i + 1));
    history.resolver_writes.insert(history.resolver_writes.end(), resolver.begin(), resolver.end());
  }
  std::sort(history.writes.begin(), history.writes.end(),
            [](const auto& a, const auto& b) { return a.forwarded < b.forwarded; });
  return history;
}

WriteTotals Arena::Writes() const {
  WriteTotals totals;
  for (const auto& lane : lanes_) {
    const History history = HistoryOf(*lane);
    std::set<std::uint64_t> epochs;
    for (const SplitterSeen& seen : history.splitters) epochs.insert(seen.epoch);
    epochs.erase(0);
    totals.leaders += static_cast<int>(epochs.size());
    for (const SplitterWrite& write : history.writes) {
      ++(write.accepted ? totals.accepted : write.answered ? totals.refused : totals.unanswered);
      if (write.forwarded - write.received > seconds(1)) ++totals.held;
      if (IsOfADeposedLeader(history, write)) ++totals.deposed;
    }
  }
  return totals;
}

std::size_t Arena::LeadersOf(const std::string& service) const {
  std::size_t leaders = 0;
  for (const auto& analyzer : analyzers_) {
    const auto body =
        cluster_->client().http().Get(analyzer->address() + "/api/v1/rollouts/" + service);
    const json rollout = json::parse(body.value_or("{}"), nullptr, false);
    if (rollout.is_object() && rollout.value("leader", false)) ++leaders;
  }
  return leaders;
}

std::vector<std::string> Arena::KeepLogs() {
  cluster_->KeepLogs();
  std::vector<std::string> folders;
  for (std::size_t i = 0; i < Cluster::kServers; ++i) {
    folders.push_back(fmt::format("{} (server {}, analyzer {})",
                                  cluster_->server(i).folder().path().string(), i + 1, i + 1));
  }
  folders.push_back(cluster_->client().folder().path().string() + " (the mesh)");
  return folders;
}

}  // namespace consul_canary::testing
