// One blocking query on all pairs below a prefix of Consul's KV.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "exporter/consul/client.h"

namespace consul_canary::control {

// on_pairs: all pairs, at first and whenever one has changed; not while Consul does not answer or
// answers what is no list. Keeps an empty pair named like the prefix itself, and leaves it out:
// a query on what does not exist would answer at each write anywhere in the KV. For the loop's
// thread; `client` must outlive the watch.
[[nodiscard]] std::unique_ptr<consul::Watch> WatchPrefix(
    consul::Client& client, std::string_view prefix,
    std::function<void(std::vector<consul::KvPair>)> on_pairs);

}  // namespace consul_canary::control
