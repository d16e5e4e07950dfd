#include "exporter/collect/path_set.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <tuple>
#include <utility>

namespace consul_canary::collect {
namespace {

using base::milliseconds;
using Clock = std::chrono::steady_clock;

// Why a path waits for its turn; the first first.
enum class Urgency { kUnknown, kChanged, kMayHaveChanged };

// A path that nobody watches.
struct Reading {
  std::size_t rank = 0;
  bool known = false;              // read once, or watched before
  bool under_way = false;
  std::optional<Urgency> waiting;  // nullopt: nothing new is expected
};

}  // namespace

struct PathSet::State : std::enable_shared_from_this<PathSet::State> {
  State(consul::Client& consul_client, PathSetOptions path_options, PathSet::Read reader,
        OnAnswer callback)
      : client(consul_client),
        options(path_options),
        read(reader),
        on_answer(std::move(callback)) {}

  ~State() {
    client.loop().Cancel(pace_timer);
    client.loop().Cancel(turn_timer);
  }

  void Sync(const std::vector<std::string>& paths) {
    if (paths == wanted) return;
    wanted = paths;
    const std::size_t watched = std::min(paths.size(), options.max_watches);
    const auto border = paths.begin() + static_cast<std::ptrdiff_t>(watched);
    const std::set<std::string> to_watch(paths.begin(), border);
    // Those that lose their watch first: at no moment are there more than max_watches.
    std::set<std::string> were_watched;
    for (const auto& [path, watch] : watches) were_watched.insert(path);
    std::erase_if(watches, [&](const auto& watch) { return !to_watch.contains(watch.first); });
    for (const std::string& path : to_watch) {
      if (!watches.contains(path)) Watch(path);
    }
    std::map<std::string, Reading> now;
    queue.clear();
    for (auto it = border; it != paths.end(); ++it) {
      const auto before = readings.find(*it);
      Reading reading = before == readings.end() ? Reading() : before->second;
      reading.rank = static_cast<std::size_t>(it - paths.begin());
      if (before == readings.end()) {
        reading.known = were_watched.contains(*it);
        reading.waiting = reading.known ? Urgency::kMayHaveChanged : Urgency::kUnknown;
      }
      if (reading.waiting && !reading.under_way) queue.emplace(*reading.waiting, reading.rank, *it);
      now.emplace(*it, reading);
    }
    readings = std::move(now);
    Pace();
    if (turn_timer == 0) BeginTurn();
  }

  void Watch(const std::string& path) {
    watches[path] = client.WatchValue<PathValue>(
        "health", path, options.min_interval,
        [reader = read, path](std::string_view body) { return reader(path, body); },
        [weak = weak_from_this(), path](base::Result<PathValue> answer) {
          const std::shared_ptr<State> self = weak.lock();
          if (self) self->on_answer(path, std::move(answer));
        });
  }

  // One that is being read may have been read too early: it is read again.
  void Mark(const std::string& path, Urgency urgency) {
    const auto it = readings.find(path);
    if (it == readings.end()) return;
    Reading& reading = it->second;
    if (reading.waiting && *reading.waiting <= urgency) return;
    if (reading.waiting) queue.erase({*reading.waiting, reading.rank, path});
    reading.waiting = urgency;
    if (!reading.under_way) queue.emplace(urgency, reading.rank, path);
  }

  void MarkAll() {
    for (const auto& [path, reading] : readings) Mark(path, Urgency::kMayHaveChanged);
    Pace();
  }

  void BeginTurn() {
    turn_timer = client.loop().After(options.turn, [weak = weak_from_this()] {
      const std::shared_ptr<State> self = weak.lock();
      if (!self) return;
      self->MarkAll();
      self->BeginTurn();
    });
  }

  // Starts what may be started now, and sees to it that the rest gets its turn.
  void Pace() {
    while (!queue.empty() && under_way < options.max_reads) {
      const bool hurry = std::get<0>(*queue.begin()) == Urgency::kUnknown;
      const Clock::time_point due =
          last_start + (back_off.count() > 0 ? back_off : hurry ? milliseconds(0)
                                                                : options.read_gap);
      const auto wait = std::chrono::ceil<milliseconds>(due - Clock::now());
      if (wait.count() > 0) {
        PaceAfter(wait);
        return;
      }
      Start(std::get<2>(*queue.begin()));
    }
  }

  void PaceAfter(milliseconds wait) {
    client.loop().Cancel(std::exchange(pace_timer, 0));
    pace_timer = client.loop().After(wait, [weak = weak_from_this()] {
      const std::shared_ptr<State> self = weak.lock();
      if (!self) return;
      self->pace_timer = 0;
      self->Pace();
    });
  }

  void Start(std::string path) {
    queue.erase(queue.begin());
    Reading& reading = readings.at(path);
    reading.waiting.reset();
    reading.under_way = true;
    ++under_way;
    last_start = Clock::now();
    client.ReadValue<PathValue>(
        "health", path, [reader = read, path](std::string_view body) { return reader(path, body); },
        [weak = weak_from_this(), path](base::Result<PathValue> answer) {
          if (const auto self = weak.lock()) self->OnRead(path, std::move(answer));
        });
  }

  void OnRead(const std::string& path, base::Result<PathValue> answer) {
    --under_way;
    back_off = answer ? milliseconds(0)
                      : std::clamp(2 * back_off, options.first_back_off, options.longest_back_off);
    const auto it = readings.find(path);
    const bool wanted_still = it != readings.end() && it->second.under_way;
    if (wanted_still) {
      Reading& reading = it->second;
      reading.under_way = false;
      reading.known = true;
      // What failed is asked again, after all others.
      if (!answer && !reading.waiting) reading.waiting = Urgency::kMayHaveChanged;
      if (reading.waiting) {
        if (!answer) reading.rank += readings.size() + options.max_watches;
        queue.emplace(*reading.waiting, reading.rank, path);
      }
    }
    Pace();
    if (wanted_still) on_answer(path, std::move(answer));
  }

  consul::Client& client;
  PathSetOptions options;
  PathSet::Read read;
  OnAnswer on_answer;
  std::vector<std::string> wanted;
  std::map<std::string, std::unique_ptr<consul::Watch>> watches;
  std::map<std::string, Reading> readings;
  // Those of `readings` that wait and are not under way.
  std::set<std::tuple<Urgency, std::size_t, std::string>> queue;
  std::size_t under_way = 0;
  milliseconds back_off{0};
  Clock::time_point last_start{};
  base::IoLoop::Id pace_timer = 0;
  base::IoLoop::Id turn_timer = 0;
};

PathSet::PathSet(consul::Client& client, PathSetOptions options, Read read, OnAnswer on_answer)
    : state_(std::make_shared<State>(client, options, read, std::move(on_answer))) {}

PathSet::~PathSet() = default;

void PathSet::Sync(const std::vector<std::string>& paths) { state_->Sync(paths); }

void PathSet::Mark(const std::set<std::string>& paths) {
  for (const std::string& path : paths) state_->Mark(path, Urgency::kChanged);
  // What is being read now may be what it was before.
  for (const auto& [path, reading] : state_->readings) {
    if (reading.under_way) state_->Mark(path, Urgency::kChanged);
  }
  state_->Pace();
}

void PathSet::MarkAll() { state_->MarkAll(); }

}  // namespace consul_canary::collect
