#include "exporter/collect/path_set.h"

#include <algorithm>
#include <utility>

namespace consul_canary::collect {

struct PathSet::State : std::enable_shared_from_this<PathSet::State> {
  State(consul::Client& consul_client, PathSetOptions path_options, OnAnswer callback)
      : client(consul_client), options(path_options), on_answer(std::move(callback)) {}

  ~State() { client.loop().Cancel(timer); }

  void Sync(const std::vector<std::string>& paths) {
    const std::size_t watched = std::min(paths.size(), options.max_watches);
    const std::set<std::string> to_watch(paths.begin(),
                                         paths.begin() + static_cast<std::ptrdiff_t>(watched));
    const std::set<std::string> to_read(paths.begin() + static_cast<std::ptrdiff_t>(watched),
                                        paths.end());
    std::erase_if(watches, [&](const auto& watch) { return !to_watch.contains(watch.first); });
    for (const std::string& path : to_watch) {
      if (!watches.contains(path)) Watch(path);
    }
    std::erase_if(queue, [&](const std::string& path) { return !to_read.contains(path); });
    std::erase_if(read_once, [&](const std::string& path) { return !to_read.contains(path); });
    for (const std::string& path : to_read) {
      if (!wanted_reads.contains(path) && path != reading) queue.push_front(path);
    }
    wanted_reads = to_read;
    Pace();
  }

  void Watch(const std::string& path) {
    watches[path] =
        client.WatchPath("health", path, options.min_interval,
                         [weak = weak_from_this(), path](base::Result<base::HttpResponse> answer) {
                           const std::shared_ptr<State> self = weak.lock();
                           if (self) self->on_answer(path, std::move(answer));
                         });
  }

  // Arranges the next read: at once while a path has never been read, else so that all get their
  // turn in time.
  void Pace() {
    if (queue.empty() || !reading.empty()) return;
    const bool hurry = !read_once.contains(queue.front());
    if (timer != 0 && !hurry) return;
    client.loop().Cancel(std::exchange(timer, 0));
    const auto pause = options.turn / static_cast<int>(std::max<std::size_t>(queue.size(), 1));
    timer = client.loop().After(hurry ? base::milliseconds(0) : pause, [weak = weak_from_this()] {
      if (const std::shared_ptr<State> self = weak.lock()) self->Read();
    });
  }

  void Read() {
    timer = 0;
    if (queue.empty() || !reading.empty()) return;
    reading = queue.front();
    queue.pop_front();
    client.Get("health", reading,
               [weak = weak_from_this()](base::Result<base::HttpResponse> answer) {
                 if (const std::shared_ptr<State> self = weak.lock()) {
                   self->OnRead(std::move(answer));
                 }
               });
  }

  void OnRead(base::Result<base::HttpResponse> answer) {
    const std::string path = std::exchange(reading, std::string());
    const bool wanted = wanted_reads.contains(path);
    if (wanted) {
      queue.push_back(path);
      read_once.insert(path);
    }
    Pace();
    if (wanted) on_answer(path, std::move(answer));
  }

  consul::Client& client;
  PathSetOptions options;
  OnAnswer on_answer;
  std::map<std::string, std::unique_ptr<consul::Watch>> watches;
  std::set<std::string> wanted_reads;
  std::deque<std::string> queue;    // to be read, next first; not the one that is being read
  std::set<std::string> read_once;  // of wanted_reads
  std::string reading;              // empty: none
  base::IoLoop::Id timer = 0;
};

PathSet::PathSet(consul::Client& client, PathSetOptions options, OnAnswer on_answer)
    : state_(std::make_shared<State>(client, options, std::move(on_answer))) {}

PathSet::~PathSet() = default;

void PathSet::Sync(const std::vector<std::string>& paths) { state_->Sync(paths); }

}  // namespace consul_canary::collect
