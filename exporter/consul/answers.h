// What Consul's answers hold, as values. Pure. Errors give the reason only; who made the request
// adds its name. For the .cc of this folder; what others may use is declared in client.h.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "exporter/base/result.h"
#include "exporter/consul/client.h"

namespace consul_canary::consul {

// `true` or `false`, as writes with ?cas and ?acquire answer.
[[nodiscard]] base::Result<bool> ParseTruth(std::string_view body);

// Chain.Protocol of /v1/discovery-chain/<service>.
[[nodiscard]] base::Result<std::string> ParseProtocol(std::string_view json);
// Chain.Datacenter of the same answer.
[[nodiscard]] base::Result<std::string> ParseDatacenter(std::string_view json);

// Allow of the only element that /v1/internal/acl/authorize answers for one question.
[[nodiscard]] base::Result<bool> ParseAllowed(std::string_view json);

// Results of /v1/txn.
[[nodiscard]] base::Result<std::vector<KvPair>> ParseTxnResults(std::string_view json);

// The reasons in the answer to a transaction that did not hold, joined by "; "; empty when the
// answer names none.
[[nodiscard]] std::string TxnErrors(std::string_view json);

// ID of /v1/session/create.
[[nodiscard]] base::Result<std::string> ParseSessionId(std::string_view json);
[[nodiscard]] base::Result<std::vector<Client::SessionInfo>> ParseSessions(std::string_view json);

// Bodies of requests.
[[nodiscard]] std::string AuthorizeBody(std::string_view resource, std::string_view segment,
                                        std::string_view access);
[[nodiscard]] std::string SessionBody(std::string_view name, base::seconds ttl,
                                      std::string_view service_check);
[[nodiscard]] std::string TxnBody(const std::vector<TxnOp>& operations);

// `service-splitter/api`; kInvalid when the text is no entry.
[[nodiscard]] base::Result<std::string> EntryTarget(std::string_view entry_json);

}  // namespace consul_canary::consul
