#include "exporter/consul/client.h"

#include <fmt/format.h>

#include <utility>

#include "exporter/consul/answers.h"
#include "exporter/consul/client_impl.h"

namespace consul_canary::consul {
namespace {

using base::ErrorCode;
using base::HttpResponse;
using base::Result;
using base::UrlEncode;

// Slashes separate folders in keys and stay what they are.
std::string EncodeKey(std::string_view key) {
  std::string encoded;
  while (!key.empty()) {
    const std::size_t slash = std::min(key.find('/'), key.size());
    encoded += UrlEncode(key.substr(0, slash));
    if (slash < key.size()) encoded += '/';
    key.remove_prefix(std::min(slash + 1, key.size()));
  }
  return encoded;
}

std::string KvPath(std::string_view key) { return "/v1/kv/" + EncodeKey(key); }

std::string EntryPath(std::string_view kind, std::string_view name) {
  return fmt::format("/v1/config/{}/{}", UrlEncode(kind), UrlEncode(name));
}

Result<void> Nothing(const HttpResponse& /*response*/) { return {}; }
Result<bool> Truth(const HttpResponse& response) { return ParseTruth(response.body); }
Result<std::vector<KvPair>> Pairs(const HttpResponse& response) {
  if (response.status == 404) return std::vector<KvPair>{};
  return ParseKvPairs(response.body);
}

Call Put(std::string_view operation, std::string path, std::string body = {}) {
  Call call;
  call.operation = operation;
  call.method = "PUT";
  call.path = std::move(path);
  call.body = std::move(body);
  return call;
}

Call Delete(std::string_view operation, std::string path) {
  Call call;
  call.operation = operation;
  call.method = "DELETE";
  call.path = std::move(path);
  return call;
}

Call Read(std::string_view operation, std::string path, bool absence_is_an_answer = false) {
  Call call;
  call.operation = operation;
  call.path = std::move(path);
  call.absence_is_an_answer = absence_is_an_answer;
  return call;
}

}  // namespace

Client::Client(base::IoLoop& loop, Settings settings, Observer observer)
    : impl_(std::make_shared<Impl>(loop, std::move(settings), std::move(observer))) {}

Client::~Client() = default;

base::IoLoop& Client::loop() const { return impl_->loop; }

const Settings& Client::settings() const { return impl_->settings; }

std::set<std::string> Client::LeftOut() const { return impl_->refusals.LeftOut(); }

std::vector<Refusal> Client::Refused() const {
  return impl_->refusals.Lately(std::chrono::steady_clock::now());
}

void Client::ReadEntry(std::string_view kind, std::string_view name, bool consistent,
                       Reply<std::optional<std::string>> reply) {
  impl_->Ask<std::optional<std::string>>(
      Read("config", EntryPath(kind, name) + (consistent ? "?consistent" : ""), true),
      [](const HttpResponse& response) -> Result<std::optional<std::string>> {
        if (response.status == 404) return std::nullopt;
        return response.body;
      },
      std::move(reply));
}

void Client::WriteEntry(std::string_view entry_json, std::uint64_t cas_index, Reply<bool> reply) {
  Call call = Put("config", fmt::format("/v1/config?cas={}", cas_index), std::string(entry_json));
  Result<std::string> target = EntryTarget(entry_json);
  // What is no entry is sent all the same: Consul refuses it, and errors take one way only.
  if (target) call.target = *std::move(target);
  impl_->Ask<bool>(std::move(call), Truth, std::move(reply));
}

void Client::DeleteEntry(std::string_view kind, std::string_view name, Reply<void> reply) {
  impl_->Ask<void>(Delete("config", EntryPath(kind, name)), Nothing, std::move(reply));
}

void Client::DeleteEntryAt(std::string_view kind, std::string_view name, std::uint64_t cas_index,
                           Reply<bool> reply) {
  impl_->Ask<bool>(Delete("config", fmt::format("{}?cas={}", EntryPath(kind, name), cas_index)),
                   Truth, std::move(reply));
}

void Client::ReadProtocol(std::string_view service, Reply<std::string> reply) {
  impl_->Ask<std::string>(
      Read("discovery-chain", "/v1/discovery-chain/" + UrlEncode(service)),
      [](const HttpResponse& response) { return ParseProtocol(response.body); }, std::move(reply));
}

void Client::ReadDatacenter(std::string_view service, Reply<std::string> reply) {
  impl_->Ask<std::string>(
      Read("discovery-chain", "/v1/discovery-chain/" + UrlEncode(service)),
      [](const HttpResponse& response) { return ParseDatacenter(response.body); },
      std::move(reply));
}

void Client::MayAccess(std::string_view resource, std::string_view segment, std::string_view access,
                       Reply<bool> reply) {
  Call call;
  call.operation = "authorize";
  call.method = "POST";
  call.path = "/v1/internal/acl/authorize";
  call.body = AuthorizeBody(resource, segment, access);
  call.target = fmt::format("{} {}:{}", segment, resource, access);
  const std::string name = Name(call);
  impl_->Send(std::move(call), [impl = impl_.get(), name,
                                reply = std::move(reply)](Result<HttpResponse> response) {
    Result<bool> allowed =
        response ? ParseAllowed(response->body) : Result<bool>(tl::unexpected(response.error()));
    if (response && !allowed) allowed.error().message.insert(0, name + ": ");
    if (!allowed && allowed.error().message.find("ACL support disabled") != std::string::npos) {
      allowed = true;
    }
    impl->Observe("authorize", allowed ? nullptr : &allowed.error());
    if (!allowed) allowed.error().code = ErrorCode::kUnavailable;
    reply(std::move(allowed));
  });
}

void Client::KvGet(std::string_view key, Reply<std::optional<KvPair>> reply) {
  impl_->Ask<std::optional<KvPair>>(
      Read("kv", KvPath(key), true),
      [](const HttpResponse& response) -> Result<std::optional<KvPair>> {
        Result<std::vector<KvPair>> pairs = Pairs(response);
        if (!pairs) return tl::unexpected(pairs.error());
        if (pairs->empty()) return std::nullopt;
        return std::move(pairs->front());
      },
      std::move(reply));
}

void Client::KvList(std::string_view prefix, Reply<std::vector<KvPair>> reply) {
  impl_->Ask<std::vector<KvPair>>(Read("kv", KvPrefixPath(prefix), true), Pairs, std::move(reply));
}

void Client::KvPut(std::string_view key, std::string_view value, std::optional<std::uint64_t> cas,
                   Reply<bool> reply) {
  std::string path = KvPath(key);
  if (cas) path += fmt::format("?cas={}", *cas);
  impl_->Ask<bool>(Put("kv", std::move(path), std::string(value)), Truth, std::move(reply));
}

void Client::KvDelete(std::string_view prefix, bool recurse, Reply<void> reply) {
  impl_->Ask<void>(Delete("kv", KvPath(prefix) + (recurse ? "?recurse" : "")), Nothing,
                   std::move(reply));
}

void Client::KvAcquire(std::string_view key, std::string_view value, std::string_view session,
                       Reply<bool> reply) {
  impl_->Ask<bool>(Put("kv", KvPath(key) + "?acquire=" + UrlEncode(session), std::string(value)),
                   Truth, std::move(reply));
}

void Client::KvRelease(std::string_view key, std::string_view value, std::string_view session,
                       Reply<bool> reply) {
  impl_->Ask<bool>(Put("kv", KvPath(key) + "?release=" + UrlEncode(session), std::string(value)),
                   Truth, std::move(reply));
}

void Client::Txn(const std::vector<TxnOp>& operations, Reply<std::vector<KvPair>> reply) {
  impl_->Ask<std::vector<KvPair>>(
      Put("txn", "/v1/txn", TxnBody(operations)),
      [](const HttpResponse& response) { return ParseTxnResults(response.body); },
      std::move(reply));
}

void Client::SessionCreate(std::string_view name, base::seconds ttl, std::string_view service_check,
                           Reply<std::string> reply) {
  impl_->Ask<std::string>(
      Put("session", "/v1/session/create", SessionBody(name, ttl, service_check)),
      [](const HttpResponse& response) { return ParseSessionId(response.body); }, std::move(reply));
}

void Client::SessionRenew(std::string_view id, Reply<void> reply) {
  impl_->Ask<void>(Put("session", "/v1/session/renew/" + UrlEncode(id)), Nothing, std::move(reply));
}

void Client::SessionDestroy(std::string_view id, Reply<void> reply) {
  impl_->Ask<void>(Put("session", "/v1/session/destroy/" + UrlEncode(id)), Nothing,
                   std::move(reply));
}

void Client::SessionList(Reply<std::vector<SessionInfo>> reply) {
  impl_->Ask<std::vector<SessionInfo>>(
      Read("session", "/v1/session/list"),
      [](const HttpResponse& response) { return ParseSessions(response.body); }, std::move(reply));
}

void Client::RegisterService(std::string_view service_json, Reply<void> reply) {
  impl_->Ask<void>(Put("agent", "/v1/agent/service/register?replace-existing-checks=true",
                       std::string(service_json)),
                   Nothing, std::move(reply));
}

void Client::DeregisterService(std::string_view id, Reply<void> reply) {
  impl_->Ask<void>(Put("agent", "/v1/agent/service/deregister/" + UrlEncode(id)), Nothing,
                   std::move(reply));
}

void Client::HasService(std::string_view id, Reply<bool> reply) {
  impl_->Ask<bool>(
      Read("agent", "/v1/agent/service/" + UrlEncode(id), true),
      [](const HttpResponse& response) -> Result<bool> { return response.status != 404; },
      std::move(reply));
}

void Client::SetMaintenance(std::string_view id, bool on, std::string_view reason,
                            Reply<void> reply) {
  impl_->Ask<void>(Put("agent", fmt::format("/v1/agent/service/maintenance/{}?enable={}&reason={}",
                                            UrlEncode(id), on, UrlEncode(reason))),
                   Nothing, std::move(reply));
}

void Client::Get(std::string_view operation, std::string_view path, Reply<HttpResponse> reply) {
  impl_->Ask<HttpResponse>(
      Read(operation, std::string(path)),
      [](const HttpResponse& response) -> Result<HttpResponse> { return response; },
      std::move(reply));
}

void Client::GetChecked(std::string_view operation, std::string_view path, Taker taker) {
  Call call = Read(operation, std::string(path));
  const std::string name = Name(call);
  // The pointer is valid: Send() does not call back once this object is gone, and holds it
  // meanwhile.
  impl_->Send(std::move(call), [impl = impl_.get(), operation = std::string(operation), name,
                                taker = std::move(taker)](Result<HttpResponse> response) {
    base::Error error = response ? base::Error() : response.error();
    if (response) {
      const Result<void> taken = taker(std::move(response));
      if (taken) return impl->Observe(operation, nullptr);
      error = {taken.error().code, name + ": " + taken.error().message};
    }
    impl->Observe(operation, &error);
    (void)taker(tl::unexpected(std::move(error)));
  });
}

std::string Client::EntriesPath(std::string_view kind) { return "/v1/config/" + UrlEncode(kind); }

std::string Client::ConnectPath(std::string_view service, std::string_view filter) {
  std::string path = fmt::format("/v1/health/connect/{}?merge-central-config", UrlEncode(service));
  if (!filter.empty()) path += "&filter=" + UrlEncode(filter);
  return path;
}

std::string Client::HealthPath(std::string_view service) {
  return fmt::format("/v1/health/service/{}?merge-central-config", UrlEncode(service));
}

std::string Client::ProxyServicesPath() {
  return "/v1/catalog/services?filter=" + UrlEncode("ServiceKind == \"connect-proxy\"");
}

std::string Client::KvPrefixPath(std::string_view prefix) { return KvPath(prefix) + "?recurse"; }

}  // namespace consul_canary::consul
