#include "exporter/base/web_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <vector>

#include "exporter/base/read_file.h"
#include "exporter/config/document.h"

namespace consul_canary::base {
namespace {

using config::Node;
using config::NodeKind;

constexpr std::size_t kLargestBytes = 1u << 20u;
constexpr std::size_t kHashSize = 60;

// Beyond it, one sign-in takes longer than the time-out of a scrape.
constexpr int kLargestCost = 16;

// Those that exporter-toolkit lets be set.
constexpr std::array<std::string_view, 5> kHeaders{
    "Content-Security-Policy", "Strict-Transport-Security", "X-Content-Type-Options",
    "X-Frame-Options", "X-XSS-Protection"};

class Reader {
 public:
  explicit Reader(std::string_view source) : source_(source) {}

  void ReadRoot(const Node& root) {
    ForEach(root, "", [this](const std::string& key, const Node& value) {
      if (key == "basic_auth_users") {
        ForEach(value, key,
                [this](const std::string& name, const Node& hash) { ReadUser(name, hash); });
      } else if (key == "http_server_config") {
        ForEach(value, key, [this](const std::string& name, const Node& setting) {
          ReadServerSetting(name, setting);
        });
      } else if (key == "tls_server_config") {
        if (value.kind != NodeKind::kNull && !IsEmpty(value)) {
          Complain(value, key,
                   "TLS is not served here (Debian's civetweb crashes on TLS with OpenSSL 3): let "
                   "the mesh or a proxy in front do it");
        }
      } else {
        Complain(value, key,
                 "not known; basic_auth_users and http_server_config (http2, headers) are");
      }
    });
  }

  [[nodiscard]] Result<WebConfig> Take() {
    if (problems_.empty()) return std::move(config_);
    return Fail(ErrorCode::kInvalid, fmt::format("{}", fmt::join(problems_, "; ")));
  }

  void Complain(int line, std::string_view key, std::string_view problem) {
    problems_.push_back(key.empty() ? fmt::format("{}:{}: {}", source_, line, problem)
                                    : fmt::format("{}:{}: {}: {}", source_, line, key, problem));
  }

 private:
  void Complain(const Node& node, std::string_view key, std::string_view problem) {
    Complain(node.line, key, problem);
  }

  static bool IsEmpty(const Node& node) {
    return node.kind != NodeKind::kScalar && node.children.empty();
  }

  // work(key, value); `where` names the map.
  template <class Work>
  void ForEach(const Node& map, const std::string& where, const Work& work) {
    if (map.kind == NodeKind::kNull) return;
    if (map.kind != NodeKind::kMap) return Complain(map, where, "must be keys and values");
    std::set<std::string> seen;
    for (const Node& item : map.children) {
      if (!seen.insert(item.key).second) {
        Complain(item, where.empty() ? item.key : where + "." + item.key, "is there twice");
      } else {
        work(item.key, item);
      }
    }
  }

  void ReadUser(const std::string& name, const Node& hash) {
    const std::string where = "basic_auth_users." + name;
    if (name.empty() || name.find(':') != std::string::npos) {
      return Complain(hash, where, "a name must neither be empty nor hold a colon");
    }
    if (hash.kind != NodeKind::kScalar) return Complain(hash, where, "must be a bcrypt hash");
    if (const auto problem = ProblemOf(hash.text)) return Complain(hash, where, *problem);
    config_.users.emplace(name, hash.text);
  }

  // Says nothing of the hash itself: it is a secret.
  static std::optional<std::string> ProblemOf(const std::string& hash) {
    constexpr std::string_view kAlphabet =
        "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    const bool is_bcrypt =
        hash.size() == kHashSize && hash.starts_with("$2") &&
        std::string_view("aby").find(hash[2]) != std::string_view::npos && hash[3] == '$' &&
        std::isdigit(static_cast<unsigned char>(hash[4])) != 0 &&
        std::isdigit(static_cast<unsigned char>(hash[5])) != 0 && hash[6] == '$' &&
        std::string_view(hash).substr(7).find_first_not_of(kAlphabet) == std::string_view::npos;
    if (!is_bcrypt) return "must be a bcrypt hash ($2y$…), as `htpasswd -nBC 10 \"\"` prints it";
    const int cost = (hash[4] - '0') * 10 + (hash[5] - '0');
    if (cost < 4 || cost > kLargestCost) {
      return fmt::format("the hash's cost is {}; it must be 4 to {}", cost, kLargestCost);
    }
    return std::nullopt;
  }

  void ReadServerSetting(const std::string& name, const Node& setting) {
    const std::string where = "http_server_config." + name;
    if (name == "http2") {
      // Without TLS nobody serves it, so the usual `true` asks for nothing that we leave out.
      const bool is_flag = setting.kind == NodeKind::kScalar && !setting.quoted &&
                           (setting.text == "true" || setting.text == "false");
      if (!is_flag) {
        Complain(setting, where, "must be true or false");
      }
    } else if (name == "headers") {
      ForEach(setting, where,
              [this](const std::string& header, const Node& value) { ReadHeader(header, value); });
    } else {
      Complain(setting, where, "not known; http2 and headers are");
    }
  }

  void ReadHeader(const std::string& name, const Node& value) {
    const std::string where = "http_server_config.headers." + name;
    if (std::find(kHeaders.begin(), kHeaders.end(), name) == kHeaders.end()) {
      return Complain(value, where, fmt::format("only {} may be set", fmt::join(kHeaders, ", ")));
    }
    if (value.kind != NodeKind::kScalar || value.text.find_first_of("\r\n") != std::string::npos) {
      return Complain(value, where, "must be one line of text");
    }
    config_.headers.emplace(name, value.text);
  }

  std::string source_;
  WebConfig config_;
  std::vector<std::string> problems_;
};

}  // namespace

Result<WebConfig> ParseWebConfig(std::string_view yaml, std::string_view source) {
  Reader reader(source);
  const config::Documents documents = config::ReadDocuments(yaml, kLargestBytes);
  if (documents.roots.size() > 1) reader.Complain(1, "", "must be one document");
  if (!documents.roots.empty()) reader.ReadRoot(documents.roots.front());
  // An empty file asks for nothing.
  const bool is_blank = yaml.find_first_not_of(" \t\r\n") == std::string_view::npos;
  if (documents.error && !is_blank) {
    reader.Complain(documents.error->line, documents.error->field, documents.error->problem);
  }
  return reader.Take();
}

Result<WebConfig> ReadWebConfig(const std::string& path) {
  return ReadWholeFile(path, kLargestBytes).and_then([&path](const std::string& text) {
    return ParseWebConfig(text, path);
  });
}

}  // namespace consul_canary::base
