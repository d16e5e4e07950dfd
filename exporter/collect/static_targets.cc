#include "exporter/collect/static_targets.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "exporter/base/read_file.h"
#include "exporter/collect/targets.h"
#include "exporter/config/document.h"
#include "exporter/config/rules.h"

namespace consul_canary::collect {
namespace {

using config::Findings;
using config::Node;
using config::Rule;

// A line for each of some 50,000 sidecars.
constexpr std::size_t kMaxBytes = std::size_t{8} << 20U;

config::TextCheck Address() {
  return {[](std::string_view text) { return IsAddress(text); },
          "an address host:port (a host that can be asked, port 1 to 65535)"};
}

// Consul's own rule for names that work in DNS, and its subsets'.
config::TextCheck Name(std::string_view words) {
  return {[](std::string_view name) {
            constexpr std::string_view kAllowed =
                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
            return !name.empty() && name.size() <= 63 &&
                   name.find_first_not_of(kAllowed) == std::string_view::npos;
          },
          words};
}

config::TextCheck AnyText() {
  return {[](std::string_view text) { return !text.empty() && text.size() <= 512; },
          "the ID of a service instance (1 to 512 bytes)"};
}

Rule Names(std::vector<std::string>& names, std::string_view words) {
  return [&names, words](const Node& node, const std::string& field, Findings& findings) {
    names.assign(node.children.size(), {});
    config::List([&names, words](std::size_t i) { return config::Text(names[i], Name(words)); })(
        node, field, findings);
  };
}

Rule OneTarget(StaticTarget& target) {
  return [&target](const Node& node, const std::string& field, Findings& findings) {
    constexpr std::string_view kService = "a service's name (1 to 63 letters, digits, - and _)";
    config::Map({{"address", config::Text(target.address, Address())},
                 {"admin", config::Flag(target.admin)},
                 {"service", config::Text(target.service, Name(kService))},
                 {"calls", Names(target.calls, kService)},
                 {"subsets", Names(target.subsets,
                                   "a subset's name (1 to 63 letters, digits, - "
                                   "and _)")},
                 {"instance", config::Text(target.instance, AnyText())}})(node, field, findings);
    config::RequireKey(node, field, "address", findings);
    config::RequireKey(node, field, "service", findings);
  };
}

Rule Targets(std::vector<StaticTarget>& targets) {
  return [&targets](const Node& node, const std::string& field, Findings& findings) {
    targets.assign(node.children.size(), {});
    config::List([&targets](std::size_t i) { return OneTarget(targets[i]); })(node, field,
                                                                              findings);
  };
}

StaticTargets ByAddress(std::vector<StaticTarget> targets, Findings& findings) {
  StaticTargets by_address;
  std::map<std::string, std::size_t> first;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const std::string field = fmt::format("targets[{}].address", i);
    if (targets[i].address.empty()) continue;  // reported already
    const auto [at, is_new] = first.emplace(targets[i].address, i);
    if (!is_new) {
      findings.Report(findings.LineOf(field), field,
                      fmt::format("is that of targets[{}] too", at->second));
      continue;
    }
    std::string address = targets[i].address;
    by_address.emplace(std::move(address), std::move(targets[i]));
  }
  return by_address;
}

base::Error Complaint(const std::vector<config::FieldError>& errors) {
  std::string text;
  for (const config::FieldError& error : errors) {
    if (!text.empty()) text += '\n';
    text += config::ToString(error);
  }
  return {base::ErrorCode::kInvalid, std::move(text)};
}

}  // namespace

base::Result<StaticTargets> ParseStaticTargets(std::string_view text) {
  config::Documents documents = config::ReadDocuments(text, kMaxBytes);
  if (documents.error) return tl::unexpected(Complaint({*documents.error}));
  if (documents.roots.empty() || documents.roots[0].kind == config::NodeKind::kNull) {
    return tl::unexpected(Complaint({{1, "", "the file is empty; at least targets is needed"}}));
  }
  Findings findings;
  const Node& root = documents.roots[0];
  std::vector<StaticTarget> targets;
  config::Map({{"targets", Targets(targets)}})(root, "", findings);
  config::RequireKey(root, "", "targets", findings);
  if (documents.roots.size() > 1) {
    findings.Report(documents.roots[1].line, "", "only one document is expected here");
  }
  StaticTargets by_address = ByAddress(std::move(targets), findings);
  const std::vector<config::FieldError> errors = findings.Take();
  if (!errors.empty()) return tl::unexpected(Complaint(errors));
  return by_address;
}

base::Result<StaticTargets> ReadStaticTargets(const std::string& path) {
  const base::Result<std::string> text = base::ReadWholeFile(path, kMaxBytes);
  if (!text) return tl::unexpected(text.error());
  base::Result<StaticTargets> targets = ParseStaticTargets(*text);
  if (!targets) {
    std::string& message = targets.error().message;
    message.insert(0, path + ": ");
    for (std::size_t at = message.find('\n'); at != std::string::npos;
         at = message.find('\n', at + 1)) {
      message.insert(at + 1, path + ": ");
    }
  }
  return targets;
}

consul::Instance ToInstance(const StaticTarget& target) {
  consul::Instance instance;
  instance.node = "static";
  instance.id = target.address;
  instance.kind = "connect-proxy";
  instance.address = target.address.substr(0, target.address.rfind(':'));
  instance.passing = true;
  instance.destination_service = target.service;
  instance.destination_id = target.instance;
  instance.upstreams = target.calls;
  if (target.admin) {
    instance.meta[std::string(kAdminMetaKey)] = target.address;
  } else {
    instance.prometheus_bind_addr = target.address;
  }
  return instance;
}

}  // namespace consul_canary::collect
