// What the arena does for each kind of fault, at its begin and at its end.
#include <fmt/format.h>
#include <signal.h>

#include <filesystem>
#include <system_error>

#include "tests/chaos/arena.h"

namespace consul_canary::testing {

using base::Result;

void Arena::Begin(AppliedFault& applied) {
  const Fault& fault = applied.fault;
  applied.done = true;
  switch (fault.kind) {
    case FaultKind::kAnalyzerKill:
      return KillAnalyzer(fault.target);
    case FaultKind::kAnalyzerStop:
      return analyzers_.at(fault.target)->process().Signal(SIGSTOP);
    case FaultKind::kAnalyzerTerm:
      return analyzers_.at(fault.target)->process().Signal(SIGTERM);
    case FaultKind::kLinkCut:
      return links_.at(fault.target)->Cut();
    case FaultKind::kLinkRefuse:
      return links_.at(fault.target)->Cut({.refuses = true});
    case FaultKind::kLinkHoldRequests:
      return links_.at(fault.target)->Behave({.holds_requests = true});
    case FaultKind::kLinkHoldAnswers:
      return links_.at(fault.target)->Behave({.holds_answers = true});
    case FaultKind::kLinkBlackhole:
      return links_.at(fault.target)->Behave({.holds_requests = true, .holds_answers = true});
    case FaultKind::kLinkDelay:
      return links_.at(fault.target)->Behave({.delay = milliseconds(300)});
    case FaultKind::kWriteHeld:
      applied.note = "no entry was written";
      return links_.at(fault.target)->Behave({.holds_entries = true});
    case FaultKind::kClockSkew:
      return SkewClock(fault.target, fault.value);
    case FaultKind::kServerKill:
    case FaultKind::kServerStop:
    case FaultKind::kServerTerm:
    case FaultKind::kLeaderKill:
    case FaultKind::kLeaderStop:
    case FaultKind::kQuorumStop:
      return BeginOfServer(applied);
    default:
      return BeginOfLane(applied);
  }
}

// Its successor writes before the held write arrives.
void Arena::KillWhoseWriteIsHeld(AppliedFault& applied) {
  if (applied.fault.kind != FaultKind::kWriteHeld || applied.note.empty()) return;
  if (!links_.at(applied.fault.target)->HoldsEntry()) return;
  KillAnalyzer(applied.fault.target);
  applied.note.clear();
}

void Arena::BeginOfServer(AppliedFault& applied) {
  Fault& fault = applied.fault;
  const bool of_leader =
      fault.kind == FaultKind::kLeaderKill || fault.kind == FaultKind::kLeaderStop;
  if (of_leader) {
    const auto leader = cluster_->Leader();
    applied.note = leader ? fmt::format("server {}", *leader + 1) : "no server says that it leads";
    fault.target = leader.value_or(fault.target);
  }
  ConsulAgent& server = cluster_->server(fault.target);
  if (fault.kind == FaultKind::kQuorumStop) AfterIt(fault.target).Pause();
  if (fault.kind == FaultKind::kServerTerm) return server.process().Signal(SIGTERM);
  const bool kills = fault.kind == FaultKind::kServerKill || fault.kind == FaultKind::kLeaderKill;
  return kills ? server.Kill() : server.Pause();
}

ConsulAgent& Arena::AfterIt(std::size_t server) {
  return cluster_->server((server + 1) % Cluster::kServers);
}

void Arena::BeginOfLane(AppliedFault& applied) {
  const Fault& fault = applied.fault;
  Lane& lane = *lanes_.at(fault.target);
  switch (fault.kind) {
    case FaultKind::kCallerKill:
      return lane.SignalCaller(SIGKILL);
    case FaultKind::kCallerStop:
      return lane.SignalCaller(SIGSTOP);
    case FaultKind::kPrimaryKill:
      return lane.KillSidecarOf(false);
    case FaultKind::kCanaryKill:
      return lane.KillSidecarOf(true);
    default:
      break;
  }
  // A weight by hand while the canary has no routable instance yet is an outage of the hand's own.
  const auto stored = lane.Stored();
  const bool stepping = stored && *stored && (*stored)->version == lane.version() &&
                        !(*stored)->ended() && (*stored)->stage != "preparing" &&
                        (*stored)->phase != "rolling-back";
  if (!stepping) {
    applied.done = false;
    applied.note = "not done: no step was under way";
    return;
  }
  if (!lane.EditByHand(fault.value, fault.keeps_meta)) applied.note = "Consul gave no answer to it";
}

void Arena::End(AppliedFault& applied) {
  const Fault& fault = applied.fault;
  Result<void> begun;
  switch (fault.kind) {
    case FaultKind::kAnalyzerKill:
    case FaultKind::kAnalyzerTerm:
      begun = analyzers_.at(fault.target)->BeginAgain();
      break;
    case FaultKind::kAnalyzerStop:
      return analyzers_.at(fault.target)->process().Signal(SIGCONT);
    case FaultKind::kLinkRefuse:
    case FaultKind::kLinkHoldRequests:
    case FaultKind::kLinkHoldAnswers:
    case FaultKind::kLinkDelay:
      return links_.at(fault.target)->Behave({});
    case FaultKind::kLinkBlackhole:
      return links_.at(fault.target)->Cut();
    case FaultKind::kWriteHeld:
      links_.at(fault.target)->Behave({});
      if (!analyzers_.at(fault.target)->process().Running()) {
        begun = analyzers_.at(fault.target)->BeginAgain();
      }
      break;
    case FaultKind::kServerKill:
    case FaultKind::kServerTerm:
    case FaultKind::kLeaderKill:
      begun = cluster_->server(fault.target).BeginAgain();
      break;
    case FaultKind::kQuorumStop:
      AfterIt(fault.target).Continue();
      return cluster_->server(fault.target).Continue();
    case FaultKind::kServerStop:
    case FaultKind::kLeaderStop:
      return cluster_->server(fault.target).Continue();
    case FaultKind::kCallerKill:
      begun = lanes_.at(fault.target)->RestartCaller();
      break;
    case FaultKind::kCallerStop:
      return lanes_.at(fault.target)->SignalCaller(SIGCONT);
    case FaultKind::kPrimaryKill:
    case FaultKind::kCanaryKill:
      begun = lanes_.at(fault.target)->RestartSidecarOf(fault.kind == FaultKind::kCanaryKill);
      break;
    case FaultKind::kLinkCut:
    case FaultKind::kHandEdit:
    case FaultKind::kClockSkew:
      return;
  }
  if (begun) return;
  applied.note = begun.error().message;
  applied.broken = true;
}

// libfaketime reads the file again each second.
void Arena::SkewClock(std::size_t analyzer, double by_seconds) const {
  cluster_->server(analyzer).folder().Write(kClockFile, fmt::format("{:+g}\n", by_seconds));
}

// What libfaketime shares with the children of a process outlives one that is killed.
void Arena::KillAnalyzer(std::size_t analyzer) {
  const pid_t pid = analyzers_.at(analyzer)->process().pid();
  analyzers_.at(analyzer)->Kill();
  std::error_code ignored;
  std::filesystem::remove(fmt::format("/dev/shm/faketime_shm_{}", pid), ignored);
  std::filesystem::remove(fmt::format("/dev/shm/sem.faketime_sem_{}", pid), ignored);
}

}  // namespace consul_canary::testing
