// What the calls and the watches of the client share: how a request is sent, and what an answer's
// status means. For the .cc of this folder only.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "exporter/base/io_loop.h"
#include "exporter/base/result.h"
#include "exporter/consul/client.h"
#include "exporter/consul/remedies.h"
#include "exporter/consul/token.h"

namespace consul_canary::consul {

// One request, before settings (address, token, datacenter) are added to it.
struct Call {
  std::string operation;  // for the observer
  std::string method = "GET";
  std::string path;  // "/v1/…", encoded, with its query
  std::string body;
  std::string target;  // further words for errors, where the path does not name the thing
  bool absence_is_an_answer = false;  // 404 is a response, not an error
  base::milliseconds timeout{5000};
};

// `PUT /v1/config service-splitter/api`: how errors name a call.
[[nodiscard]] std::string Name(const Call& call);

// The response, or the error that its status stands for. `token` is cut out of Consul's words.
[[nodiscard]] base::Result<base::HttpResponse> CheckStatus(const Call& call,
                                                           base::HttpResponse response,
                                                           std::string_view token);

struct Client::Impl : std::enable_shared_from_this<Client::Impl> {
  Impl(base::IoLoop& io_loop, Settings client_settings, Observer client_observer);

  base::IoLoop& loop;
  Settings settings;
  Observer observer;
  Token token;
  Refusals refusals;

  // Sends and checks the status. The reply comes from the loop, never from inside Send(), and not
  // at all once the client is gone. The id is for IoLoop::Cancel().
  base::IoLoop::Id Send(Call call, Reply<base::HttpResponse> reply);

  // Send, and a value out of the answer's body. `read` returns an error's reason without the
  // request's name, which is added here.
  template <class T>
  void Ask(Call call, std::function<base::Result<T>(const base::HttpResponse&)> read,
           Reply<T> reply) {
    const std::string name = Name(call);
    const std::string operation = call.operation;
    // The pointer is valid: Send() does not call back once this object is gone.
    Send(std::move(call), [this, name, operation, read = std::move(read),
                           reply = std::move(reply)](base::Result<base::HttpResponse> response) {
      base::Result<T> value = response ? read(*response) : tl::unexpected(response.error());
      if (response && !value) value.error().message.insert(0, name + ": ");
      Observe(operation, value ? nullptr : &value.error());
      reply(std::move(value));
    });
  }

  void Observe(std::string_view operation, const base::Error* error) const;

 private:
  // Checks what came of a call, and says what to do about it.
  [[nodiscard]] base::Result<base::HttpResponse> Judge(const Call& call,
                                                       std::string_view sent_token,
                                                       base::Result<base::HttpResponse> response);
  [[nodiscard]] base::HttpRequest ToRequest(const Call& call, const std::string& token_value) const;
};

}  // namespace consul_canary::consul
