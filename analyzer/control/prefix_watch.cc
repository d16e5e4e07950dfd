#include "analyzer/control/prefix_watch.h"

#include <string>
#include <utility>

namespace consul_canary::control {
namespace {

constexpr base::milliseconds kInterval{50};

std::optional<std::vector<consul::KvPair>> PairsOf(const base::Result<base::HttpResponse>& answer) {
  if (!answer || (answer->status != 200 && answer->status != 404)) return std::nullopt;
  if (answer->status == 404) return std::vector<consul::KvPair>();
  auto pairs = consul::ParseKvPairs(answer->body);
  if (!pairs) return std::nullopt;
  return *std::move(pairs);
}

}  // namespace

std::unique_ptr<consul::Watch> WatchPrefix(
    consul::Client& client, std::string_view prefix,
    std::function<void(std::vector<consul::KvPair>)> on_pairs) {
  return client.WatchPath("kv", consul::Client::KvPrefixPath(prefix), kInterval,
                          [&client, place = std::string(prefix), on_pairs = std::move(on_pairs)](
                              const base::Result<base::HttpResponse>& answer) {
                            auto pairs = PairsOf(answer);
                            if (!pairs) return;
                            const auto is_place = [&place](const consul::KvPair& pair) {
                              return pair.key == place && pair.value.empty();
                            };
                            const bool has_place = std::erase_if(*pairs, is_place) > 0;
                            const bool has_key = !pairs->empty() && pairs->front().key == place;
                            if (!has_place && !has_key)
                              client.KvPut(place, "", 0, [](const base::Result<bool>&) {});
                            on_pairs(*std::move(pairs));
                          });
}

}  // namespace consul_canary::control
