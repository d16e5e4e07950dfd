// Consul's HTTP API, typed, on an IoLoop. Every call is asynchronous: it must be started on the
// loop's thread, and the callback runs there. Errors name the request (`GET /v1/kv/…: 503 …`) and
// carry kNotFound for 404 where absence is not a value, kForbidden for 403, kConflict for 409,
// kUnavailable for 429, 5xx and no answer (but kInvalid for a 500 that says that an entry is
// invalid). Error texts include Consul's own words, shortened, never the token.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "exporter/base/io_loop.h"
#include "exporter/base/result.h"
#include "exporter/consul/config_entries.h"
#include "exporter/consul/remedies.h"

namespace consul_canary::consul {

struct Settings {
  std::string address = "http://127.0.0.1:8500";  // scheme added where the variable has none
  std::string token{};
  std::string token_file{};  // wins over token; read at each request whose file changed
  std::string datacenter{};  // empty: the agent's own
  std::string namespace_name{};
  std::string partition{};
  base::TlsOptions tls{};
};

// From CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE, CONSUL_HTTP_SSL, CONSUL_CACERT,
// CONSUL_CAPATH, CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY, CONSUL_TLS_SERVER_NAME,
// CONSUL_HTTP_SSL_VERIFY, CONSUL_NAMESPACE, CONSUL_PARTITION. kInvalid names every variable that is
// wrong, files that cannot be read included.
[[nodiscard]] base::Result<Settings> SettingsFromEnvironment();

// One service instance (or proxy) as /v1/health/{service,connect}/… answers it.
struct Instance {
  std::string node{};
  std::string node_address{};
  std::string id{};       // Service.ID
  std::string service{};  // Service.Service
  std::string kind{};     // "", connect-proxy, ingress-gateway, …
  std::string address{};  // Service.Address, else the node's
  int port = 0;
  std::vector<std::string> tags{};
  std::map<std::string, std::string> meta{};
  std::uint64_t create_index = 0;
  bool passing = false;               // every check is passing (warning counts as passing)
  std::string destination_service{};  // Proxy.DestinationServiceName
  std::string destination_id{};       // Proxy.DestinationServiceID
  // Proxy.Upstreams' DestinationName: services only, and only those in the proxy's own namespace,
  // partition and datacenter, since others may bear the same names.
  std::vector<std::string> upstreams{};
  // Of these, whose failing instances the proxy ejects, with the MaxFailures (at least 1) of the
  // PassiveHealthCheck, as merged. (Without one, Envoy's defaults eject hardly ever.)
  std::map<std::string, int> ejecting_upstreams{};
  bool transparent = false;  // Proxy.Mode, as merged: it may call what it does not declare
  std::string prometheus_bind_addr{};  // Proxy.Config.envoy_prometheus_bind_addr, as merged

  bool operator==(const Instance&) const = default;
};

[[nodiscard]] base::Result<std::vector<Instance>> ParseInstances(std::string_view json);

struct KvPair {
  std::string key{};
  std::string value{};
  std::uint64_t modify_index = 0;
  std::uint64_t lock_index = 0;
  std::string session{};  // that holds the lock; empty: none

  bool operator==(const KvPair&) const = default;
};

// One operation of a KV transaction.
struct TxnOp {
  std::string verb{};  // set, cas, delete, check-session, …: Consul's own words
  std::string key{};
  std::string value{};
  std::uint64_t index = 0;
  std::string session{};
};

template <class T>
using Reply = std::function<void(base::Result<T>)>;

// A running blocking query; it ends when this is destroyed (on the loop's thread).
class Watch {
 public:
  virtual ~Watch() = default;
};

class Client {
 public:
  // Told of each finished request, for metrics: operation ("config", "health", "kv", "txn",
  // "session", …) and result ("ok", "unavailable", "not-found", "forbidden", "conflict",
  // "invalid"). Loop's thread.
  using Observer = std::function<void(std::string_view operation, std::string_view result)>;

  // `loop` must outlive the client, and the client its callbacks.
  Client(base::IoLoop& loop, Settings settings, Observer observer = {});
  ~Client();

  [[nodiscard]] base::IoLoop& loop() const;
  [[nodiscard]] const Settings& settings() const;

  // What Consul has refused lately, or leaves out of what it answers, for want of a rule in the
  // token's policy. Loop's thread.
  [[nodiscard]] std::vector<Refusal> Refused() const;
  [[nodiscard]] std::set<std::string> LeftOut() const;  // as Refusals::LeftOut()

  // kind: service-splitter, service-resolver, service-router, service-defaults, proxy-defaults.
  // Absent: nullopt. consistent: asks the leader (`?consistent`) instead of any server's possibly
  // older state.
  void ReadEntry(std::string_view kind, std::string_view name, bool consistent,
                 Reply<std::optional<std::string>> reply);

  // PUT with ?cas=index (0: only if absent). false: the index was not the current one, nothing
  // changed.
  void WriteEntry(std::string_view entry_json, std::uint64_t cas_index, Reply<bool> reply);
  void DeleteEntry(std::string_view kind, std::string_view name, Reply<void> reply);
  // The same with ?cas=index, > 0. false: the index was not the current one, nothing changed.
  void DeleteEntryAt(std::string_view kind, std::string_view name, std::uint64_t cas_index,
                     Reply<bool> reply);

  // The protocol of the service's compiled discovery chain: tcp, http, http2, grpc.
  void ReadProtocol(std::string_view service, Reply<std::string> reply);
  // The datacenter that the chain was compiled in: ours.
  void ReadDatacenter(std::string_view service, Reply<std::string> reply);

  // Whether our token may do `access` (read, write) on `resource` (service, key_prefix, session,
  // node, …) named `segment`. True where ACLs are off. Uses the UI's internal endpoint; where that
  // is missing or refuses to say, kUnavailable, which is no reason to refuse anything. Consul asks
  // for the bare resource, so `key_prefix` is sent as `key`.
  void MayAccess(std::string_view resource, std::string_view segment, std::string_view access,
                 Reply<bool> reply);

  void KvGet(std::string_view key, Reply<std::optional<KvPair>> reply);
  void KvList(std::string_view prefix, Reply<std::vector<KvPair>> reply);
  // nullopt: unconditional; an index: ?cas=index, 0 for "only if absent". false: not written.
  void KvPut(std::string_view key, std::string_view value, std::optional<std::uint64_t> cas,
             Reply<bool> reply);
  void KvDelete(std::string_view prefix, bool recurse, Reply<void> reply);
  // ?acquire=session: true when this session now holds the key. kNotFound: the session is gone.
  void KvAcquire(std::string_view key, std::string_view value, std::string_view session,
                 Reply<bool> reply);
  void KvRelease(std::string_view key, std::string_view value, std::string_view session,
                 Reply<bool> reply);
  // All operations or none; the pairs that the answer's Results name (of what was set or read, with
  // its indexes; Consul leaves the value out after a write), or kConflict with Consul's reasons
  // when one does not hold.
  void Txn(const std::vector<TxnOp>& operations, Reply<std::vector<KvPair>> reply);

  struct SessionInfo {
    std::string id{};
    std::string name{};
  };
  // Behavior release, LockDelay 1 ms. `service_check` is the ID of a service's check at the agent
  // that we speak to, whose failure ends the session at once, besides the TTL and the node's own
  // health; empty: none. kUnavailable, and Consul's words, where that check is not known or is
  // critical.
  void SessionCreate(std::string_view name, base::seconds ttl, std::string_view service_check,
                     Reply<std::string> reply);
  void SessionRenew(std::string_view id,
                    Reply<void> reply);  // kNotFound: it is gone, make a new one
  void SessionDestroy(std::string_view id, Reply<void> reply);
  void SessionList(Reply<std::vector<SessionInfo>> reply);

  // Services of the agent that we speak to. A registration replaces one of the same ID, checks
  // included.
  void RegisterService(std::string_view service_json, Reply<void> reply);
  void DeregisterService(std::string_view id, Reply<void> reply);
  void HasService(std::string_view id, Reply<bool> reply);
  // Maintenance mode: the instance, and its sidecar with it, counts as critical. `reason` is shown
  // by Consul. kNotFound: the agent that we speak to has no such instance; another one may.
  void SetMaintenance(std::string_view id, bool on, std::string_view reason, Reply<void> reply);

  // Any GET, for what has no call of its own. `path` begins with /v1/ and may carry a query.
  void Get(std::string_view operation, std::string_view path, Reply<base::HttpResponse> reply);

  // Blocking query on `path` for as long as the Watch lives: on_answer at first and whenever the
  // index has moved (the body may be equal), and once for each change from answers to an error or
  // from an error of one code to one of another.
  // Index rules: reset to 0 when it goes backwards, never below 1, at most one query each
  // `min_interval`; after errors back-off up to 10 s, and the next answer is delivered whether the
  // index has moved or not. A 404 is delivered as an answer (its status is in the response).
  [[nodiscard]] std::unique_ptr<Watch> WatchPath(std::string_view operation, std::string_view path,
                                                 base::milliseconds min_interval,
                                                 Reply<base::HttpResponse> on_answer);

  // The same for who wants what the body says. `read` gives an error's reason without the request's
  // name. A body that it refuses, and a 404, are failures like any other: counted as such, told
  // once, asked again after the back-off.
  template <class T>
  [[nodiscard]] std::unique_ptr<Watch> WatchValue(
      std::string_view operation, std::string_view path, base::milliseconds min_interval,
      std::function<base::Result<T>(std::string_view body)> read, Reply<T> on_value) {
    return StartWatch(operation, path, min_interval, /*absence_is_an_answer=*/false,
                      TakerOf<T>(std::move(read), std::move(on_value)));
  }

  // Reads once what WatchValue watches.
  template <class T>
  void ReadValue(std::string_view operation, std::string_view path,
                 std::function<base::Result<T>(std::string_view body)> read, Reply<T> on_value) {
    GetChecked(operation, path, TakerOf<T>(std::move(read), std::move(on_value)));
  }

  // Paths for WatchPath and Get; names and filters are encoded.
  [[nodiscard]] static std::string EntriesPath(std::string_view kind);
  [[nodiscard]] static std::string ConnectPath(std::string_view service, std::string_view filter);
  [[nodiscard]] static std::string HealthPath(std::string_view service);  // merge-central-config
  [[nodiscard]] static std::string ProxyServicesPath();  // catalog, ServiceKind connect-proxy
  [[nodiscard]] static std::string KvPrefixPath(std::string_view prefix);  // recurse

 private:
  friend struct BlockingQuery;  // what a Watch runs

  // Takes an answer or an error; of an answer, an error says that its body is of no use, and is
  // given back to it with the request's name.
  using Taker = std::function<base::Result<void>(base::Result<base::HttpResponse>)>;
  [[nodiscard]] std::unique_ptr<Watch> StartWatch(std::string_view operation, std::string_view path,
                                                  base::milliseconds min_interval,
                                                  bool absence_is_an_answer, Taker taker);
  void GetChecked(std::string_view operation, std::string_view path, Taker taker);

  template <class T>
  static Taker TakerOf(std::function<base::Result<T>(std::string_view body)> read,
                       Reply<T> on_value) {
    return [read = std::move(read), on_value = std::move(on_value)](
               base::Result<base::HttpResponse> answer) -> base::Result<void> {
      if (!answer) {
        on_value(tl::unexpected(answer.error()));
        return {};
      }
      base::Result<T> value = read(answer->body);
      if (!value) return tl::unexpected(value.error());
      on_value(std::move(value));
      return {};
    };
  }

  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// Names of services in the answer of `/v1/catalog/services`.
[[nodiscard]] base::Result<std::vector<std::string>> ParseServiceNames(std::string_view json);
[[nodiscard]] base::Result<std::vector<KvPair>> ParseKvPairs(std::string_view json);
// The answer of `/v1/kv/<prefix>?keys`: a list of keys.
[[nodiscard]] base::Result<std::vector<std::string>> ParseKeyList(std::string_view json);

}  // namespace consul_canary::consul
