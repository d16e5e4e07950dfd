#include "analyzer/control/loop.h"

#include <algorithm>
#include <future>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "analyzer/control/contained.h"
#include "analyzer/control/gone_callers.h"
#include "analyzer/control/mailbox.h"
#include "analyzer/control/maintenance.h"
#include "analyzer/control/managed.h"
#include "analyzer/control/observe.h"
#include "analyzer/control/record.h"
#include "analyzer/control/store.h"
#include "analyzer/control/take_counts.h"
#include "analyzer/control/tick_clock.h"
#include "analyzer/rollout/decide.h"
#include "exporter/base/log.h"

namespace consul_canary::control {
namespace {

using base::LogLevel;
using base::MonotonicTime;
using rollout::Observation;
using rollout::State;
using Clock = std::chrono::steady_clock;

// More wait for the next tick: a Consul transaction holds 64 operations.
constexpr std::size_t kOrdersPerTick = 16;
// A write is read back within milliseconds; after this long what is seen is acted upon, but nothing
// is widened or ended.
constexpr base::milliseconds kReadBack{2000};

double WallNow() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// A fleet's pause that nobody has read yet may be there.
constexpr const char* kPauseNotKnown = "whether the fleet is paused is not known yet";

double Seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

struct Loop::Impl {
  Impl(base::IoLoop& loop, consul::Client& consul_client, collect::Collector& mesh,
       LoopOptions loop_options)
      : io(loop),
        client(consul_client),
        collector(mesh),
        options(std::move(loop_options)),
        store(consul_client, options.membership, Events()),
        view(std::make_shared<const FleetView>()) {
    if (!options.record_folder.empty()) recorder.emplace(options.record_folder);
  }

  base::IoLoop& io;
  consul::Client& client;
  collect::Collector& collector;
  LoopOptions options;
  Store store;                       // lives on the I/O thread
  std::optional<Recorder> recorder;  // the same

  Mailbox<std::function<void(Impl&)>> mailbox;
  std::mutex mutex;  // guards view
  std::shared_ptr<const FleetView> view;

  // The tick thread's own.
  std::map<std::string, Managed> rollouts;
  LoopCounters counters;
  bool counted = false;             // since they were shown
  std::set<std::string> concerned;  // by news since the last look
  bool all_concerned = false;
  bool specs_moved = false;                  // since the services were followed
  std::string fleet_pause = kPauseNotKnown;  // in words; empty: none
  std::optional<MonotonicTime> consul_away_at;
  bool round_over = false;
  std::uint64_t last_change = 0;
  std::jthread thread;

  // --- mailbox

  void Tell(std::function<void(Impl&)> news) { mailbox.Put(std::move(news)); }

  // For the store to call on its thread: `take` is called with the same on the thread of ticks.
  template <class... Params>
  auto ToTicks(void (Impl::*take)(Params...)) {
    return [this, take](std::decay_t<Params>... news) {
      Tell([take, ... news = std::move(news)](Impl& self) { (self.*take)(news...); });
    };
  }

  StoreEvents Events() {
    return {.on_spec = ToTicks(&Impl::TakeSpec),
            .on_orders = ToTicks(&Impl::TakeOrders),
            .on_leading = ToTicks(&Impl::TakeLead),
            .on_lost = ToTicks(&Impl::LoseLead),
            .on_holder = ToTicks(&Impl::TakeHolder),
            .on_fleet_pause = ToTicks(&Impl::TakeFleetPause),
            .on_changed = ToTicks(&Impl::TakeResult)};
  }

  // The rollout that news are about; added where it is new.
  Managed& Concerning(const std::string& id) {
    concerned.insert(id);
    return rollouts[id];
  }

  void TakeSpec(const std::string& id, const std::optional<consul::KvPair>& stored) {
    if (!stored) {
      if (rollouts.contains(id)) NoteSpecDeleted(Concerning(id));
      return ForgetDeleted();
    }
    Managed& managed = Concerning(id);
    ReadSpec(managed, *stored);
    base::Log(managed.spec_problem.empty() ? LogLevel::kInfo : LogLevel::kError,
              "specification read", {{"service", id}, {"problem", managed.spec_problem}});
    specs_moved = true;
  }

  // They may come before the specification; after it, only their end does.
  void TakeOrders(const std::string& id, const std::vector<consul::KvPair>& orders) {
    if (!orders.empty() || rollouts.contains(id)) ReadOrders(Concerning(id), orders);
  }

  void TakeHolder(const std::string& id, const std::string& analyzer) {
    Concerning(id).holder = analyzer;
  }

  void ForgetDeleted() {
    const auto is_over = [this](const auto& rollout) {
      const auto& [id, managed] = rollout;
      if (!IsOver(managed)) return false;
      base::Log(LogLevel::kInfo, "rollout deleted", {{"service", id}});
      io.Post([this, id = id] { store.Forget(id); });
      return true;
    };
    if (std::erase_if(rollouts, is_over) > 0) specs_moved = true;
  }

  // One attempt at a time; how it went comes with the next look.
  void MaintainIfDue(const std::string& id, Managed& managed, const rollout::Spec& spec,
                     const collect::ServiceSnapshot* service) {
    if (!managed.state.maintenance_due || managed.maintaining || managed.maintained) return;
    if (managed.state.phase != rollout::Phase::kRolledBack || service == nullptr) return;
    managed.maintaining = true;
    io.Post([this, id, instances = CanaryInstances(spec, managed.state.canary_version, *service),
             reason = "consul-canary: " + managed.state.reason] {
      BeginMaintenance(client, instances, reason, [this, id](std::string outcome) {
        Tell([id, outcome = std::move(outcome)](Impl& self) {
          if (!self.rollouts.contains(id)) return;
          Managed& asked = self.Concerning(id);
          asked.maintaining = false;
          asked.maintained = outcome;
        });
      });
    });
  }

  void TakeFleetPause(const std::string& stored) {
    std::string words = FleetPauseInWords(stored);
    if (words == fleet_pause) return;
    all_concerned = true;
    const bool begins = fleet_pause == kPauseNotKnown;
    fleet_pause = std::move(words);
    if (begins && fleet_pause.empty()) return;
    base::Log(LogLevel::kWarn, fleet_pause.empty() ? "the fleet goes on" : "the fleet is paused",
              {{"why", fleet_pause}});
  }

  void FollowServices() {
    std::set<std::string> services;
    for (const auto& [id, managed] : rollouts) {
      if (!managed.service.empty()) services.insert(managed.service);
    }
    collector.Follow(std::move(services));
  }

  void TakeLead(const std::string& id, std::uint64_t epoch,
                const std::optional<consul::KvPair>& stored) {
    Managed& managed = Concerning(id);
    BeginLead(managed, epoch, stored);
    LogLead(id, managed);
    // The state may tell what a specification that cannot be read was for.
    if (!managed.spec) specs_moved = true;
  }

  void LoseLead(const std::string& id, const std::string& why) {
    if (!rollouts.contains(id)) return;
    EndLead(Concerning(id));
    base::Log(LogLevel::kWarn, "not leading any more", {{"service", id}, {"why", why}});
  }

  void TakeResult(const ChangeResult& result) {
    for (const WriteResult& write : result.writes) NoteWrite(result.id, write);
    if (!rollouts.contains(result.id)) return;
    Managed& managed = Concerning(result.id);
    if (managed.in_flight != result.number) return;
    for (const rollout::Decision& decision : TakeCommitted(managed, result)) {
      counted = true;
      ++counters.decisions[{result.id, decision.action, decision.cause}];
      LogDecision(result.id, decision);
    }
  }

  // Before the outcome is committed, so that whoever goes on from it finds it recorded.
  void Record(const std::string& id, Managed& managed, const rollout::Spec& given,
              const Observation& seen, const rollout::Outcome& outcome) {
    if (!recorder) return;
    auto piece = RecordLook(id, {given, managed.state, seen, outcome}, managed.recorded);
    if (!piece) return;
    io.Post([this, piece = std::move(*piece)] { recorder->Append(piece); });
  }

  // Logged when it succeeds and when its trouble changes, not at each try.
  void NoteWrite(const std::string& id, const WriteResult& write) {
    auto [outcome, trouble] = OutcomeOf(write);
    counted = true;
    ++counters.writes[outcome];
    const auto found = rollouts.find(id);
    if (found == rollouts.end()) return;
    Managed& managed = found->second;
    NoteReplaced(managed, write, Clock::now());
    if (trouble.empty() || trouble != managed.write_trouble) {
      base::Log(write.result ? LogLevel::kInfo : LogLevel::kError, "entry written",
                {{"service", id}, {"what", write.what}, {"result", outcome}, {"trouble", trouble}});
    }
    managed.write_trouble = std::move(trouble);
  }

  // --- ticks

  // Whether the service's instances may be believed: not while Consul is away nor until its checks
  // have run again.
  [[nodiscard]] bool InstancesSettled(MonotonicTime now) const {
    return !consul_away_at || now - *consul_away_at > options.settle;
  }

  // Nothing that one rollout holds may end the others' ruling.
  void RuleOrSay(const std::string& id, Managed& managed, const collect::MeshSnapshot& mesh,
                 bool with_counts) {
    std::string trouble = Contained([&] { Rule(id, managed, mesh, with_counts); });
    if (!trouble.empty()) trouble = "a look at this rollout failed: " + trouble;
    if (trouble == managed.look_trouble) return;
    if (!trouble.empty()) {
      base::Log(LogLevel::kError, "rollout not ruled", {{"service", id}, {"error", trouble}});
    }
    managed.look_trouble = std::move(trouble);
  }

  void Rule(const std::string& id, Managed& managed, const collect::MeshSnapshot& mesh,
            bool with_counts) {
    const rollout::Spec* given = SpecToRuleBy(managed.spec, managed.state);
    if (!managed.leading || !managed.loaded || given == nullptr || managed.in_flight) return;
    const MonotonicTime now = Clock::now();
    const auto found = mesh.services.find(given->service);
    const collect::ServiceSnapshot* service =
        found == mesh.services.end() ? nullptr : found->second.get();
    const rollout::Spec& spec = rollout::RulingSpec(*given, managed.state);
    MaintainIfDue(id, managed, spec, service);
    const bool outdated = service != nullptr && IsOutdated(managed, *service);
    if (outdated && now - managed.written_at < kReadBack) return;
    State next = managed.state;
    Observation seen = Observe(spec, mesh, service, now);
    seen.spec_deleted = managed.spec_deleted;
    seen.maintenance = std::exchange(managed.maintained, std::nullopt);
    const bool away = mesh.consul_error.has_value();
    AddDoubts(managed, {InstancesSettled(now), away, outdated}, now, seen);
    seen.fleet_pause = fleet_pause;
    seen.wall_seconds = WallNow();
    if (with_counts) AddTime(managed, Seconds(options.interval), now, seen);
    if (service != nullptr) {
      const bool catalog_known = mesh.ready && InstancesSettled(now);
      LogForgotten(id, ForgetCallers(managed, *service, catalog_known, now, next));
    }
    if (with_counts && service != nullptr) {
      seen.counts = TakeCounts(spec, *service, next);
      seen.counts_known = true;
      NoteRate(managed, seen);
    }
    seen.orders.assign(managed.orders.begin(),
                       managed.orders.begin() +
                           std::min<std::ptrdiff_t>(std::ssize(managed.orders), kOrdersPerTick));
    rollout::Outcome outcome = rollout::Decide(*given, std::move(next), seen);
    managed.verdict = outcome.verdict;
    managed.waits = outcome.waits;
    Record(id, managed, *given, seen, outcome);
    managed.previous_tick = managed.last_tick;
    if (with_counts) managed.last_tick = now;
    Settle(id, managed, std::move(outcome), std::move(seen), service, now, with_counts);
  }

  // Commits what was decided, or keeps it in memory until the next checkpoint; posts the writes
  // that are due.
  void Settle(const std::string& id, Managed& managed, rollout::Outcome outcome, Observation seen,
              const collect::ServiceSnapshot* service, MonotonicTime now, bool with_counts) {
    Change change{.id = id};
    AddDoneOrders(managed, seen, outcome.state, change);
    change.state_index = managed.state_index;
    if (service != nullptr) {
      PreparedWrites prepared = PrepareWrites(managed, outcome.state, seen, *service);
      for (const WriteResult& refused : prepared.refused) NoteWrite(id, refused);
      change.writes = std::move(prepared.writes);
    }
    const bool commit =
        MustStore(managed.state, outcome) || !change.taken_orders.empty() ||
        !change.refused_orders.empty() ||
        (IsActive(outcome.state.phase) && (seen.unknown.empty() || seen.entries_known) &&
         IsCheckpointDue(managed, now, options.checkpoint_every));
    managed.seen = std::move(seen);
    if (!commit) managed.state = std::move(outcome.state);
    // A write that failed or is not seen yet is tried again with the next tick, not with every
    // piece of news.
    if (!commit && (change.writes.empty() || !with_counts)) return;
    if (commit) {
      managed.last_checkpoint = now;
      managed.pending = outcome.state;
      managed.pending_decisions = outcome.decisions;
      change.state = std::move(outcome.state);
      change.decisions = std::move(outcome.decisions);
    }
    managed.in_flight = ++last_change;
    change.number = last_change;
    io.Post([this, change = std::move(change)]() mutable { store.Apply(std::move(change)); });
  }

  // At all rollouts, or at those that news concern: each commit's result comes by itself, and of a
  // thousand rollouts some hundred are committed each second.
  void Look(bool with_counts) {
    const MonotonicTime start = Clock::now();
    const auto mesh = collector.Latest();
    if (mesh->consul_error) consul_away_at = start;
    const bool at_all = with_counts || all_concerned;
    for (auto& [id, managed] : rollouts) {
      if (at_all || concerned.contains(id)) RuleOrSay(id, managed, *mesh, with_counts);
    }
    ForgetDeleted();
    if (std::exchange(specs_moved, false)) FollowServices();
    if (at_all) {
      counters.tick_duration.Observe(Seconds(Clock::now() - start));
      counted = true;
    }
    Publish(*mesh, at_all);
    concerned.clear();
    all_concerned = false;
  }

  void Publish(const collect::MeshSnapshot& mesh, bool all) {
    auto fleet = std::make_shared<FleetView>();
    for (const auto& [id, managed] : rollouts) {
      // Orders may come before the specification, or after it was deleted.
      if (!managed.spec && managed.spec_problem.empty()) continue;
      const auto shown = view->rollouts.find(id);
      if (!all && shown != view->rollouts.end() && !concerned.contains(id)) {
        fleet->rollouts.insert(fleet->rollouts.end(), *shown);
        continue;
      }
      auto rollout = std::make_shared<RolloutView>(ViewOf(id, managed));
      if (rollout->problem.empty()) rollout->problem = MissingPermission(*rollout, mesh);
      rollout->outcomes_age_seconds = OutcomesAge(managed, mesh, Clock::now());
      fleet->rollouts[id] = std::move(rollout);
    }
    fleet->counters = view->counters;
    if (std::exchange(counted, false)) fleet->counters = std::make_shared<LoopCounters>(counters);
    fleet->fleet_pause = fleet_pause;
    const std::scoped_lock lock(mutex);
    view = std::move(fleet);
  }

  void Take(const std::function<void(Impl&)>& item) {
    const std::string trouble = Contained([&] { item(*this); });
    if (!trouble.empty())
      base::Log(LogLevel::kError, "the loop's work failed", {{"error", trouble}});
  }

  // The only place that waits: for news or for the next tick. News are acted upon at once, but
  // carry no counts, so that what happens does not choose the ticks' boundaries.
  void Run(const std::stop_token& stop) {
    TickClock ticks(options.interval, Clock::now());
    while (!stop.stop_requested()) {
      round_over = false;
      for (const auto& item : mailbox.Take(stop, ticks.overdue_at())) Take(item);
      const auto lateness = ticks.Begin(Clock::now(), round_over);
      if (lateness) counters.tick_lateness.Observe(Seconds(*lateness));
      all_concerned = all_concerned || round_over;
      if (!stop.stop_requested()) Take([&](Impl& self) { self.Look(lateness.has_value()); });
    }
  }
};

Loop::Loop(base::IoLoop& io, consul::Client& client, collect::Collector& collector,
           LoopOptions options)
    : impl_(std::make_shared<Impl>(io, client, collector, std::move(options))) {}

Loop::~Loop() { Stop(); }

void Loop::Start() {
  impl_->collector.OnConsulChange([weak = std::weak_ptr<Impl>(impl_)] {
    if (const auto impl = weak.lock()) {
      impl->Tell([](Impl& self) { self.all_concerned = true; });
    }
  });
  impl_->collector.OnRound([weak = std::weak_ptr<Impl>(impl_)] {
    if (const auto impl = weak.lock()) impl->Tell([](Impl& self) { self.round_over = true; });
  });
  impl_->io.Post([impl = impl_] { impl->store.Start(); });
  impl_->thread =
      std::jthread([impl = impl_.get()](const std::stop_token& stop) { impl->Run(stop); });
}

void Loop::Stop() {
  if (!impl_->thread.joinable()) return;
  impl_->thread.request_stop();
  impl_->thread.join();
  auto gone = std::make_shared<std::promise<void>>();
  auto done = gone->get_future();
  impl_->io.Post([impl = impl_, gone] {
    impl->store.Release([] { base::Log(LogLevel::kInfo, "locks given back", {}); },
                        [gone] { gone->set_value(); });
  });
  constexpr base::seconds kDeadline{4};
  done.wait_for(kDeadline);
}

std::shared_ptr<const FleetView> Loop::Latest() const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->view;
}

}  // namespace consul_canary::control
