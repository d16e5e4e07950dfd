#include "exporter/collect/path_set.h"

#include <algorithm>
#include <chrono>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

namespace consul_canary::collect {
namespace {

using base::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kLongestCatchUp{100};

// Why a path waits for its turn; the first first.
enum class Urgency { kUnknown, kChanged, kNear, kFar };

// What waits. Of those that are equally urgent, those of an earlier round come first: who is far
// down must get its turn although the catalog moves all the time.
struct Turn {
  Urgency urgency = Urgency::kUnknown;
  std::uint64_t round = 0;
  std::size_t rank = 0;
  std::string path;

  // NOLINTNEXTLINE(modernize-use-nullptr): a false alarm of clang-tidy 14 about <=>.
  auto operator<=>(const Turn&) const = default;
};

// A path that nobody watches.
struct Reading {
  std::size_t rank = 0;
  bool under_way = false;
  std::optional<Urgency> waiting;  // nullopt: nothing new is expected
  std::uint64_t round = 0;         // since when it waits

  [[nodiscard]] Turn ToTurn(const std::string& path) const {
    return {waiting.value_or(Urgency::kFar), round, rank, path};
  }
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
        const bool known = were_watched.contains(*it);
        reading.waiting = known ? SomeUrgency(reading) : Urgency::kUnknown;
        reading.round = round;
      }
      if (reading.waiting && !reading.under_way) queue.insert(reading.ToTurn(*it));
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

  [[nodiscard]] Urgency SomeUrgency(const Reading& reading) const {
    return reading.rank < options.max_watches + options.near ? Urgency::kNear : Urgency::kFar;
  }

  // One that is being read may have been read too early: it is read again.
  void Mark(const std::string& path, Reading& reading, Urgency urgency) {
    if (reading.waiting && *reading.waiting <= urgency) return;
    queue.erase(reading.ToTurn(path));
    if (!reading.waiting) reading.round = round;
    reading.waiting = urgency;
    if (!reading.under_way) queue.insert(reading.ToTurn(path));
  }

  void Mark(const std::set<std::string>& paths) {
    for (const std::string& path : paths) {
      const auto it = readings.find(path);
      if (it != readings.end()) Mark(path, it->second, Urgency::kChanged);
    }
    // What is being read now may be what it was before.
    for (auto& [path, reading] : readings) {
      if (reading.under_way) Mark(path, reading, Urgency::kChanged);
    }
    Pace();
  }

  void MarkAll() {
    ++round;
    for (auto& [path, reading] : readings) Mark(path, reading, SomeUrgency(reading));
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
      const bool hurry = queue.begin()->urgency == Urgency::kUnknown && back_off.count() == 0;
      const auto wait = std::chrono::ceil<milliseconds>(next_start - Clock::now());
      if (!hurry && wait.count() > 0) {
        PaceAfter(wait);
        return;
      }
      Start(queue.begin()->path);
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
    // What a late timer lost is made good, but not what nobody wanted; and those that did not wait
    // hold nobody up.
    const Clock::time_point now = Clock::now();
    next_start =
        std::clamp(next_start + options.read_gap, now - kLongestCatchUp, now + options.read_gap);
    client.ReadValue<PathValue>(
        "health", path, [reader = read, path](std::string_view body) { return reader(path, body); },
        [weak = weak_from_this(), path](base::Result<PathValue> answer) {
          if (const auto self = weak.lock()) self->OnRead(path, std::move(answer));
        });
  }

  void OnRead(const std::string& path, base::Result<PathValue> answer) {
    --under_way;
    if (answer) {
      back_off = milliseconds(0);
    } else {
      back_off = std::clamp(2 * back_off, options.first_back_off, options.longest_back_off);
      next_start = Clock::now() + back_off;
    }
    const auto it = readings.find(path);
    const bool wanted_still = it != readings.end() && it->second.under_way;
    if (wanted_still) {
      Reading& reading = it->second;
      reading.under_way = false;
      // What failed is asked again, after all others.
      if (!answer && !reading.waiting) {
        reading.waiting = Urgency::kFar;
        reading.round = ++round;
      }
      if (reading.waiting) queue.insert(reading.ToTurn(path));
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
  std::set<Turn> queue;  // those of `readings` that wait and are not under way
  std::uint64_t round = 0;
  std::size_t under_way = 0;
  milliseconds back_off{0};
  Clock::time_point next_start{};
  base::IoLoop::Id pace_timer = 0;
  base::IoLoop::Id turn_timer = 0;
};

PathSet::PathSet(consul::Client& client, PathSetOptions options, Read read, OnAnswer on_answer)
    : state_(std::make_shared<State>(client, options, read, std::move(on_answer))) {}

PathSet::~PathSet() = default;

void PathSet::Sync(const std::vector<std::string>& paths) { state_->Sync(paths); }

void PathSet::Mark(const std::set<std::string>& paths) { state_->Mark(paths); }

void PathSet::MarkAll() { state_->MarkAll(); }

}  // namespace consul_canary::collect
