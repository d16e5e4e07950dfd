#include "tests/states/digest.h"

#include <algorithm>
#include <cmath>
#include <string_view>

namespace consul_canary::states {
namespace {

using rollout::Evidence;
using rollout::Spec;
using rollout::State;

// A burst of failures of both subsets sets a proof back, which then comes nearer tick by tick.
constexpr double kSafeUnit = 10;

class Digest {
 public:
  // FNV-1a over eight bytes at a time, stirred.
  void Add(std::uint64_t value) {
    hash_ = (hash_ ^ value) * 0x100000001b3ULL;
    hash_ ^= hash_ >> 29;
    hash_ *= 0xbf58476d1ce4e5b9ULL;
    hash_ ^= hash_ >> 32;
  }
  void Add(bool value) { Add(std::uint64_t{value ? 1U : 2U}); }
  void Add(int value) { Add(static_cast<std::uint64_t>(value)); }
  void Add(double value) { Add(static_cast<std::uint64_t>(std::llround(value * 100))); }
  void Add(std::string_view text) {
    Add(static_cast<std::uint64_t>(text.size()));
    for (const char c : text) Add(static_cast<std::uint64_t>(c));
  }
  void Add(const std::string& text) { Add(std::string_view(text)); }
  template <class T>
  void Add(const std::optional<T>& value) {
    Add(value.has_value());
    if (value) Add(*value);
  }
  [[nodiscard]] std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325ULL;
};

void AddSorted(Digest& digest, std::vector<std::string> names) {
  std::ranges::sort(names);
  for (const std::string& name : names) digest.Add(name);
  digest.Add(names.size());
}

// What the canary will be held against once it has all traffic, or is.
void AddLimit(Digest& digest, const Evidence& evidence) {
  constexpr double kUnit = 0.05;
  const stats::Counts& primary = evidence.rollout_primary;
  const auto rounded = [](double ratio) { return std::round(ratio / kUnit); };
  digest.Add(rounded(evidence.failure_limit));
  digest.Add(primary.completed == 0 ? -1.0
                                    : rounded(static_cast<double>(primary.failures) /
                                              static_cast<double>(primary.completed)));
}

void AddEvidence(Digest& digest, const Spec& spec, const Evidence& evidence) {
  const double harm_bound = -std::log(spec.false_rollback);
  const double harm = stats::LogHarm(evidence.harm);
  digest.Add(harm >= harm_bound ? 2 : (harm >= harm_bound / 2 ? 1 : 0));
  const double safe_bound = -std::log(spec.false_advance);
  if (spec.judge != rollout::JudgeMode::kThresholds) {
    digest.Add(std::floor(std::min(stats::LogSafe(evidence.safe), safe_bound) / kSafeUnit));
  }
  if (spec.after_promotion.count() > 0) AddLimit(digest, evidence);
  digest.Add(evidence.proven);
  digest.Add(evidence.metrics_fixed);
  digest.Add(evidence.share_applied);
  digest.Add(evidence.share.seconds > 0);
  digest.Add(evidence.share.untrusted);
  if (evidence.share.untrusted) digest.Add(evidence.share.seconds);
  digest.Add(evidence.silent_requests > 0);
  digest.Add(evidence.step_canary.completed > 0);
  digest.Add(2 * evidence.stage_canary.failures > evidence.stage_canary.completed);
  for (const rollout::ThresholdState& threshold : evidence.thresholds) {
    digest.Add(threshold.seconds);
    digest.Add(threshold.failed);
    digest.Add(static_cast<int>(threshold.last));
    digest.Add(threshold.canary_low.completed > 0);
    digest.Add(threshold.canary_high.failures > 0);
  }
}

// Who of the callers is waited for.
void AddAwaited(Digest& digest, const State& state, const std::vector<Caller>& callers) {
  const auto awaited = [](const auto& baseline, const std::string& id, std::uint64_t now) {
    const auto found = baseline.find(id);
    return found == baseline.end() ? 0 : (found->second == now ? 1 : 2);
  };
  for (const Caller& caller : callers) {
    digest.Add(awaited(state.reload_baseline, caller.id, caller.reloads));
    digest.Add(awaited(state.membership_baseline, caller.id, caller.canary_changes));
    digest.Add(awaited(state.membership_baseline, caller.id, caller.primary_changes));
  }
}

void AddState(Digest& digest, const Model& model, const State& state) {
  const Spec& spec = *model.spec;
  const double longest = std::max(spec.deadline, spec.ready_deadline).count() + 1;
  digest.Add(static_cast<int>(state.phase));
  digest.Add(static_cast<int>(state.stage));
  digest.Add(state.step);
  digest.Add(state.canary_version);
  digest.Add(state.primary_version);
  digest.Add(state.old_primary_filter);
  AddSorted(digest, state.past_versions);
  AddSorted(digest, state.rolled_back_versions);
  digest.Add(state.wanted.canary_percent);
  digest.Add(state.wanted.canary_filter);
  digest.Add(state.wanted.primary_filter);
  digest.Add(state.settled_percent);
  digest.Add(state.foreign_edit);
  digest.Add(static_cast<int>(state.wanted.routes));
  digest.Add(static_cast<int>(state.settled_routes));
  digest.Add(state.foreign_routes);
  digest.Add(state.unwritable);
  digest.Add(std::min(state.stage_seconds, longest));
  digest.Add(std::min(state.confirmed_seconds, longest));
  digest.Add(state.confirmed);
  digest.Add(state.deadline_passed);
  digest.Add(state.proven_wait);
  digest.Add(std::min(state.watched_seconds, spec.after_promotion.count()));
  digest.Add(state.stranded);
  digest.Add(state.spec && *state.spec == spec);
  digest.Add(state.new_spec_said);
  digest.Add(state.await_reload);
  digest.Add(state.await_membership);
  digest.Add(state.handled_alerts.size());
  AddAwaited(digest, state, model.callers);
  AddEvidence(digest, spec, state.evidence);
}

void AddEntries(Digest& digest, const Model& model, const Entries& entries) {
  digest.Add(entries.splitter.has_value());
  if (entries.splitter) {
    digest.Add(entries.splitter->canary_percent);
    digest.Add(entries.splitter->epoch == model.epoch);
    digest.Add(entries.splitter->index <= model.replaced_splitter);
    digest.Add(entries.splitter->owned);
  }
  digest.Add(entries.router.has_value());
  if (entries.router) {
    digest.Add(static_cast<int>(entries.router->ours));
    digest.Add(entries.router->owners);
    digest.Add(entries.router->epoch == model.epoch ? 2 : (entries.router->epoch != 0 ? 1 : 0));
    digest.Add(entries.router->index <= model.replaced_router);
  }
  digest.Add(entries.resolver.canary_filter);
  digest.Add(entries.resolver.primary_filter);
  digest.Add(entries.resolver.epoch == model.epoch);
  digest.Add(entries.resolver.index <= model.replaced_resolver);
  digest.Add(entries.resolver.owned);
}

bool Fits(const Model& model, const Put& put) {
  if (put.what == rollout::Write::kRoutes) {
    return put.cas_index == (model.truth.router ? model.truth.router->index : 0);
  }
  return put.what == rollout::Write::kSplitter
             ? model.truth.splitter && put.cas_index == model.truth.splitter->index
             : put.cas_index == model.truth.resolver.index;
}

void AddMesh(Digest& digest, const Model& model) {
  AddEntries(digest, model, model.truth);
  digest.Add(model.spec->steps.size());
  digest.Add(model.unreadable);
  digest.Add(model.view_lags);
  digest.Add(model.consul_away);
  if (!model.IsWhole()) AddEntries(digest, model, model.view);
  digest.Add(model.IsWhole());
  digest.Add(model.unsettled_ticks);
  digest.Add(model.doubtful_ticks);
  for (const Instance& instance : model.instances) digest.Add(instance.passing);
  digest.Add(model.instances.size());
  for (const Caller& caller : model.callers) {
    digest.Add(caller.passing);
    digest.Add(caller.fresh);
    digest.Add(caller.follows);
    digest.Add(caller.applied_percent);
    digest.Add(caller.has_routes);
    digest.Add(caller.canary_members);
    digest.Add(caller.primary_members);
    digest.Add(caller.reloads >= kRanForLong);
    if (caller.fresh) continue;
    digest.Add(caller.read.applied_canary_percent);
    digest.Add(caller.read.canary_healthy > 0);
    digest.Add(caller.read.primary_healthy > 0);
  }
}

void AddAnalyzer(Digest& digest, const Model& model) {
  AddState(digest, model, model.memory);
  AddState(digest, model, model.stored);
  digest.Add(model.memory_outdated);
  digest.Add(model.unsure_ticks);
  digest.Add(model.checkpoint_due);
  digest.Add(static_cast<int>(model.write_fate));
  digest.Add(static_cast<int>(model.commit_fate));
  digest.Add(model.unruled_seconds > 0);
  for (const Put& put : model.in_flight) {
    digest.Add(Fits(model, put));
    digest.Add(put.epoch == model.epoch ? put.ticks_left : -1);
    if (!Fits(model, put)) continue;
    digest.Add(static_cast<int>(put.what));
    digest.Add(put.canary_percent);
    digest.Add(put.filter);
    digest.Add(put.router.has_value());
    if (put.router) digest.Add(static_cast<int>(put.router->ours));
  }
  for (const rollout::Order& order : model.orders) {
    digest.Add(order.sequence > model.memory.last_order);
    if (order.sequence <= model.memory.last_order) continue;
    digest.Add(static_cast<int>(order.kind));
    digest.Add(order.full);
    digest.Add(order.alert_started_wall_seconds < model.memory.started_wall_seconds);
    digest.Add(std::ranges::find(model.memory.handled_alerts, order.alert_key) !=
               model.memory.handled_alerts.end());
  }
}

}  // namespace

std::uint64_t DigestOf(const Model& model) {
  Digest digest;
  AddMesh(digest, model);
  AddAnalyzer(digest, model);
  for (const std::string& version : model.ledger.rolled_back) digest.Add(version);
  digest.Add(model.ledger.primary_filter);
  return digest.value();
}

}  // namespace consul_canary::states
