// Keeps the answers to many Consul paths fresh without a blocking query for each: an agent takes
// 200 connections from one client, and a mesh has thousands of proxy services. The first paths are
// watched; the others are read when somebody who watches a list of all says that they may have
// changed. Lives on the IoLoop's thread alone.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "exporter/consul/client.h"

namespace consul_canary::collect {

struct PathSetOptions {
  // Together with the queries on lists, no more than 50 connections to one agent.
  std::size_t max_watches = 32;
  std::size_t max_reads = 4;             // at the same time
  base::milliseconds min_interval{100};  // between two queries of one watch
  std::size_t near = 64;  // so many of those without a watch come before the rest, each time
  // Between the starts of two reads of paths that have been read before. New paths do not wait.
  base::milliseconds read_gap{5};
  // After a failed read: this long, then twice as long, until one succeeds or it is the longest.
  base::milliseconds first_back_off{500};
  base::milliseconds longest_back_off{10000};
  // In which every path without a watch is read once, should no change of it have been announced.
  base::milliseconds turn{600000};
};

// What a path's body says: instances, or names.
using PathValue = std::variant<std::vector<consul::Instance>, std::vector<std::string>>;

class PathSet {
 public:
  using Read = base::Result<PathValue> (*)(std::string_view path, std::string_view body);
  using OnAnswer = std::function<void(const std::string& path, base::Result<PathValue> answer)>;

  // `client` must outlive this. `on_answer` may call every member.
  PathSet(consul::Client& client, PathSetOptions options, Read read, OnAnswer on_answer);
  ~PathSet();
  PathSet(const PathSet&) = delete;
  PathSet& operator=(const PathSet&) = delete;

  // The paths that are wanted from now on, the most important first. New ones are asked at once.
  void Sync(const std::vector<std::string>& paths);

  // These paths have changed: those without a watch are read before others. Unknown ones are
  // ignored.
  void Mark(const std::set<std::string>& paths);

  // Any path may have changed: those without a watch are read once, in the order of importance.
  void MarkAll();

 private:
  // Shared with requests under way, which hold it weakly: they cannot be taken back.
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace consul_canary::collect
