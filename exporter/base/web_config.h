// The file behind --web.config.file, in the format of Prometheus' exporter-toolkit: who may see the
// daemon's pages, and headers for all answers. What we cannot do is refused by name, above all
// tls_server_config: Debian's civetweb crashes on its first TLS request with OpenSSL 3.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "exporter/base/result.h"

namespace consul_canary::base {

struct WebConfig {
  std::map<std::string, std::string> users{};    // name → bcrypt hash; empty: everyone may
  std::map<std::string, std::string> headers{};  // sent with every answer
};

// kInvalid lists everything that is wrong, each as `source:line: key: problem`; kUnavailable: as
// ReadWholeFile().
[[nodiscard]] Result<WebConfig> ParseWebConfig(std::string_view yaml, std::string_view source);
[[nodiscard]] Result<WebConfig> ReadWebConfig(const std::string& path);

}  // namespace consul_canary::base
