#include "analyzer/control/maintenance.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <utility>

namespace consul_canary::control {
namespace {

struct Task {
  consul::Client& client;
  std::vector<InstanceAddress> instances;
  std::string reason;
  std::function<void(std::string)> done;
  std::size_t next = 0;
  std::vector<std::string> put;
  std::vector<std::string> failed{};
};

std::string Summary(const Task& task) {
  if (task.instances.empty()) {
    return "maintenance: no instance of the canary subset is left to put into it";
  }
  std::string text;
  if (!task.put.empty()) {
    text = fmt::format("maintenance: put {} into it; `consul maint -disable -service=ID` ends it",
                       fmt::join(task.put, ", "));
  }
  if (!task.failed.empty()) {
    text += fmt::format("{}warning: not in maintenance mode: {}", text.empty() ? "" : "; ",
                        fmt::join(task.failed, "; "));
  }
  return text;
}

void Next(const std::shared_ptr<Task>& task);

void Note(const std::shared_ptr<Task>& task, const base::Result<void>& result) {
  const std::string& id = task->instances[task->next].id;
  if (result) {
    task->put.push_back(id);
  } else {
    task->failed.push_back(id + ": " + result.error().message);
  }
  ++task->next;
  Next(task);
}

void AskItsOwnAgent(const std::shared_ptr<Task>& task, const base::Error& refused) {
  const InstanceAddress& instance = task->instances[task->next];
  consul::Settings settings = task->client.settings();
  const std::string here =
      std::exchange(settings.address, AgentAt(settings.address, instance.node_address));
  if (settings.address == here) return Note(task, tl::unexpected(refused));
  auto other = std::make_shared<consul::Client>(task->client.loop(), settings);
  other->SetMaintenance(instance.id, true, task->reason,
                        [task, other](const base::Result<void>& result) {
                          // The client must not end inside its own reply.
                          task->client.loop().Post([other] {});
                          Note(task, result);
                        });
}

void Next(const std::shared_ptr<Task>& task) {
  if (task->next == task->instances.size()) return task->done(Summary(*task));
  task->client.SetMaintenance(task->instances[task->next].id, true, task->reason,
                              [task](const base::Result<void>& result) {
                                if (!result && result.error().code == base::ErrorCode::kNotFound) {
                                  return AskItsOwnAgent(task, result.error());
                                }
                                Note(task, result);
                              });
}

}  // namespace

std::string AgentAt(const std::string& address, const std::string& node_address) {
  const std::size_t host = address.find("://");
  if (host == std::string::npos || address.starts_with("unix") || node_address.empty()) {
    return address;
  }
  const std::size_t begin = host + 3;
  // An IPv6 address stands in brackets.
  const std::size_t after = address.find(']', begin) == std::string::npos
                                ? address.find_first_of(":/", begin)
                                : address.find(']', begin) + 1;
  const std::string rest = after == std::string::npos ? "" : address.substr(after);
  const bool is_ipv6 = node_address.find(':') != std::string::npos;
  return address.substr(0, begin) + (is_ipv6 ? "[" + node_address + "]" : node_address) + rest;
}

void BeginMaintenance(consul::Client& client, std::vector<InstanceAddress> instances,
                      std::string reason, std::function<void(std::string)> done) {
  Next(std::make_shared<Task>(
      Task{client, std::move(instances), std::move(reason), std::move(done)}));
}

}  // namespace consul_canary::control
