// The environment variables that Consul's own tools read.
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "exporter/consul/client.h"

namespace consul_canary::consul {
namespace {

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// As Go's strconv.ParseBool, which Consul's tools use.
std::optional<bool> ParseBool(std::string_view text) {
  for (const std::string_view word : {"1", "t", "T", "TRUE", "true", "True"}) {
    if (text == word) return true;
  }
  for (const std::string_view word : {"0", "f", "F", "FALSE", "false", "False"}) {
    if (text == word) return false;
  }
  return std::nullopt;
}

// `fallback` where the variable is not set; a complaint where it is no truth value.
bool BoolVariable(const char* name, bool fallback, std::vector<std::string>& complaints) {
  const std::string text = Variable(name);
  if (text.empty()) return fallback;
  const std::optional<bool> value = ParseBool(text);
  if (!value) complaints.push_back(fmt::format("{}: \"{}\" is not true or false", name, text));
  return value.value_or(fallback);
}

// As Consul's own client: TLS that was asked for is not taken back by a scheme of http.
std::string Address(std::string text, bool use_tls, std::vector<std::string>& complaints) {
  if (text.empty()) text = "127.0.0.1:8500";
  while (text.ends_with('/')) text.pop_back();
  const std::size_t separator = text.find("://");
  const std::string scheme = separator == std::string::npos ? "http" : text.substr(0, separator);
  const std::string rest = separator == std::string::npos ? text : text.substr(separator + 3);
  if ((scheme != "http" && scheme != "https") || rest.empty()) {
    complaints.push_back(
        fmt::format("CONSUL_HTTP_ADDR: \"{}\" is not an http or https address", text));
  }
  return (use_tls || scheme == "https" ? "https://" : "http://") + rest;
}

// The path that the variable holds, of which the program must be able to read the file or folder.
std::string PathVariable(const char* name, std::vector<std::string>& complaints) {
  std::string path = Variable(name);
  if (!path.empty() && access(path.c_str(), R_OK) != 0) {
    complaints.push_back(
        fmt::format("{}: {}: {}", name, path, std::generic_category().message(errno)));
  }
  return path;
}

}  // namespace

base::Result<Settings> SettingsFromEnvironment() {
  std::vector<std::string> complaints;
  Settings settings;
  const bool use_tls = BoolVariable("CONSUL_HTTP_SSL", false, complaints);
  settings.address = Address(Variable("CONSUL_HTTP_ADDR"), use_tls, complaints);
  settings.token = Variable("CONSUL_HTTP_TOKEN");
  settings.token_file = Variable("CONSUL_HTTP_TOKEN_FILE");
  settings.namespace_name = Variable("CONSUL_NAMESPACE");
  settings.partition = Variable("CONSUL_PARTITION");
  settings.tls.ca_file = PathVariable("CONSUL_CACERT", complaints);
  settings.tls.cert_file = PathVariable("CONSUL_CLIENT_CERT", complaints);
  settings.tls.key_file = PathVariable("CONSUL_CLIENT_KEY", complaints);
  settings.tls.ca_folder = PathVariable("CONSUL_CAPATH", complaints);
  settings.tls.server_name = Variable("CONSUL_TLS_SERVER_NAME");
  settings.tls.verify = BoolVariable("CONSUL_HTTP_SSL_VERIFY", true, complaints);
  if (settings.tls.cert_file.empty() != settings.tls.key_file.empty()) {
    complaints.emplace_back("CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY: one needs the other");
  }
  if (!complaints.empty()) {
    return base::Fail(base::ErrorCode::kInvalid, fmt::format("{}", fmt::join(complaints, "; ")));
  }
  return settings;
}

}  // namespace consul_canary::consul
