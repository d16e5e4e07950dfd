// Keeps the answers to many Consul paths fresh without a blocking query for each: an agent takes
// 200 connections from one client, and a mesh has thousands of proxy services. The first paths are
// watched; the others are read in turn, one at a time. Lives on the IoLoop's thread alone.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "exporter/consul/client.h"

namespace consul_canary::collect {

struct PathSetOptions {
  std::size_t max_watches = 48;
  base::milliseconds min_interval{100};  // between two queries of one watch
  base::milliseconds turn{30000};        // in which every path without a watch is read once
};

class PathSet {
 public:
  using OnAnswer = std::function<void(const std::string& path, base::Result<base::HttpResponse>)>;

  // `client` must outlive this. `on_answer` may call Sync().
  PathSet(consul::Client& client, PathSetOptions options, OnAnswer on_answer);
  ~PathSet();
  PathSet(const PathSet&) = delete;
  PathSet& operator=(const PathSet&) = delete;

  // The paths that are wanted from now on, the most important first. New ones are asked at once.
  void Sync(const std::vector<std::string>& paths);

 private:
  // Shared with requests under way, which hold it weakly: they cannot be taken back.
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace consul_canary::collect
