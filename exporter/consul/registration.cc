#include "exporter/consul/registration.h"

#include <fmt/format.h>

#include <future>
#include <memory>
#include <utility>

#include "exporter/base/log.h"
#include "exporter/consul/json_fields.h"

namespace consul_canary::consul {
namespace {

using base::LogLevel;
using base::Result;

// An agent that has forgotten us is rare, and asking it costs one small answer on the same host: a
// blocking query for it would need the hash of /v1/agent/service in place of an index.
constexpr base::milliseconds kLookAgain{5000};

bool IsEverywhere(std::string_view host) {
  return host.empty() || host == "0.0.0.0" || host == "[::]";
}

bool IsLoopback(std::string_view address) {
  return address.starts_with("127.") || address == "::1" || address == "localhost";
}

// Consul keeps IPv6 addresses bare.
std::string Bare(std::string_view host) {
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return std::string(host);
}

std::string InUrl(std::string_view address) {
  return address.find(':') == std::string_view::npos ? std::string(address)
                                                     : fmt::format("[{}]", address);
}

}  // namespace

OwnService DescribeDaemon(std::string_view name, std::string_view address,
                          std::string_view listen_address, int port,
                          std::string_view telemetry_path, std::string_view version) {
  const std::string_view listens_at =
      listen_address.substr(0, std::min(listen_address.rfind(':'), listen_address.size()));
  OwnService service;
  service.name = name;
  service.port = port;
  service.meta = {{"metrics_path", std::string(telemetry_path)}, {"version", std::string(version)}};
  if (!address.empty()) {
    service.address = Bare(address);
  } else if (!IsEverywhere(listens_at)) {
    service.address = Bare(listens_at);
  }
  const std::string checked_at = service.address.empty() ? "127.0.0.1" : service.address;
  service.health_url = fmt::format("http://{}:{}/-/healthy", InUrl(checked_at), port);
  return service;
}

std::string IdOf(const OwnService& service) {
  return service.address.empty()
             ? fmt::format("{}-{}", service.name, service.port)
             : fmt::format("{}-{}-{}", service.name, service.address, service.port);
}

std::string CheckIdOf(const OwnService& service) { return "service:" + IdOf(service); }

std::string RegistrationJson(const OwnService& service) {
  Json json = {{"ID", IdOf(service)},
               {"Name", service.name},
               {"Port", service.port},
               {"Meta", service.meta},
               {"Check",
                {{"CheckID", CheckIdOf(service)},
                 {"Name", "answers"},
                 {"HTTP", service.health_url},
                 {"Interval", fmt::format("{}s", service.check_every.count())},
                 {"Timeout", fmt::format("{}s", service.check_timeout.count())},
                 // Of a daemon that was killed: Prometheus shall not look for it for ever.
                 {"DeregisterCriticalServiceAfter", "10m"}}}};
  if (!service.address.empty()) json["Address"] = service.address;
  if (service.starts_passing) json["Check"]["Status"] = "passing";
  return Dump(json);
}

Registration::Registration(Client& client, OwnService service,
                           std::function<void(const Result<void>&)> on_outcome)
    : client_(client),
      service_(std::move(service)),
      on_outcome_(std::move(on_outcome)),
      id_(IdOf(service_)) {}

Registration::~Registration() { client_.loop().Cancel(timer_); }

void Registration::Start() {
  if (IsLoopback(service_.address)) {
    base::Log(
        service_.is_for_others ? LogLevel::kWarn : LogLevel::kInfo,
        "to be registered with an address that only this host can reach",
        {{"address", service_.address},
         {"instead", "--web.listen-address of another interface, or --consul.register-address"}});
  }
  Register();
}

void Registration::Register() {
  waits_for_agent_ = true;
  client_.RegisterService(RegistrationJson(service_), [this](const Result<void>& outcome) {
    if (outcome && !registered_) {
      base::Log(LogLevel::kInfo, "registered in Consul", {{"service", service_.name}, {"id", id_}});
    }
    registered_ = outcome.has_value();
    After(outcome);
  });
}

void Registration::Look() {
  waits_for_agent_ = true;
  client_.HasService(id_, [this](const Result<bool>& known) {
    if (!known || *known || on_end_) {
      After(known ? Result<void>() : tl::unexpected(known.error()));
      return;
    }
    base::Log(LogLevel::kWarn, "Consul's agent has forgotten this service", {{"id", id_}});
    registered_ = false;
    Register();
  });
}

void Registration::After(Result<void> outcome) {
  waits_for_agent_ = false;
  const std::string complaint = outcome ? std::string() : outcome.error().message;
  if (!complaint.empty() && complaint != complaint_) {
    base::Log(LogLevel::kWarn, "cannot register in Consul; will try again",
              {{"service", service_.name}, {"error", complaint}});
  }
  complaint_ = complaint;
  if (on_end_) {
    Deregister();
    return;
  }
  timer_ = client_.loop().After(kLookAgain, [this] { registered_ ? Look() : Register(); });
  if (on_outcome_) on_outcome_(outcome);
}

void Registration::LookNow() {
  if (waits_for_agent_ || on_end_) return;
  client_.loop().Cancel(timer_);
  registered_ ? Look() : Register();
}

void Registration::End(std::function<void()> done) {
  on_end_ = std::move(done);
  client_.loop().Cancel(timer_);
  // A request that is under way might otherwise register after this.
  if (!waits_for_agent_) Deregister();
}

void Registration::Deregister() {
  if (!registered_) return on_end_();
  client_.DeregisterService(id_, [this](const Result<void>& outcome) {
    if (!outcome) {
      base::Log(LogLevel::kWarn, "cannot take this service out of Consul",
                {{"id", id_}, {"error", outcome.error().message}});
    }
    registered_ = false;
    on_end_();
  });
}

void EndAndWait(base::IoLoop& loop, const std::unique_ptr<Registration>& registration,
                base::milliseconds limit) {
  // Shared: the agent may answer after the limit.
  const auto ended = std::make_shared<std::promise<void>>();
  loop.Post([&registration, ended] {
    if (registration) {
      registration->End([ended] { ended->set_value(); });
    } else {
      ended->set_value();
    }
  });
  (void)ended->get_future().wait_for(limit);
}

}  // namespace consul_canary::consul
