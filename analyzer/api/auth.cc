#include "analyzer/api/auth.h"

#include <crypt.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <sstream>
#include <utility>

#include "exporter/base/read_file.h"

namespace consul_canary::api {
namespace {

using base::ErrorCode;

constexpr std::string_view kSha256Prefix = "sha256:";
constexpr std::size_t kSha256Digits = 64;
constexpr std::size_t kLargestBytes = 1u << 20u;

std::optional<Role> RoleFromString(std::string_view name) {
  if (name == "viewer") return Role::kViewer;
  if (name == "operator") return Role::kOperator;
  if (name == "hook") return Role::kHook;
  return std::nullopt;
}

std::string_view ToString(Role role) {
  switch (role) {
    case Role::kViewer:
      return "viewer";
    case Role::kOperator:
      return "operator";
    case Role::kHook:
      return "hook";
  }
  return "unknown";
}

bool IsHash(std::string_view hash) {
  if (hash.starts_with("$2")) return hash.size() == 60;
  if (!hash.starts_with(kSha256Prefix)) return false;
  const std::string_view digits = hash.substr(kSha256Prefix.size());
  return digits.size() == kSha256Digits &&
         digits.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string Sha256Hex(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr);
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

bool SameText(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

bool Matches(const Token& token, const std::string& secret) {
  if (token.hash.starts_with(kSha256Prefix)) {
    return SameText(Sha256Hex(secret), std::string_view(token.hash).substr(kSha256Prefix.size()));
  }
  auto data = std::make_unique<crypt_data>();
  const char* hashed = crypt_r(secret.c_str(), token.hash.c_str(), data.get());
  return hashed != nullptr && SameText(hashed, token.hash);
}

std::string Header(const base::ServerRequest& request, const std::string& name) {
  const auto found = request.headers.find(name);
  return found == request.headers.end() ? "" : found->second;
}

bool NamesLoopback(std::string_view host) {
  const std::size_t port = host.rfind(':');
  if (port != std::string_view::npos && host.find(']', port) == std::string_view::npos) {
    host = host.substr(0, port);
  }
  return host == "localhost" || host == "127.0.0.1" || host == "[::1]";
}

// A page in a browser on this machine reaches loopback too: whatever another site's page sends
// carries its Origin. A site whose name was made to lead to loopback sends its own name as Host.
bool IsCrossSite(const base::ServerRequest& request) {
  const std::string origin = Header(request, "origin");
  if (origin.empty()) return false;
  const std::string host = Header(request, "host");
  return origin != "http://" + host || !NamesLoopback(host);
}

base::Result<Token> ParseLine(std::string_view line) {
  const auto first = line.find(':');
  const auto second = first == std::string_view::npos ? first : line.find(':', first + 1);
  if (second == std::string_view::npos) {
    return base::Fail(ErrorCode::kInvalid, "expected role:name:hash");
  }
  const auto role = RoleFromString(line.substr(0, first));
  if (!role) {
    return base::Fail(
        ErrorCode::kInvalid,
        fmt::format("role \"{}\" is not one of viewer, operator, hook", line.substr(0, first)));
  }
  Token token{*role, std::string(line.substr(first + 1, second - first - 1)),
              std::string(line.substr(second + 1))};
  if (token.name.empty()) return base::Fail(ErrorCode::kInvalid, "the name is empty");
  if (!IsHash(token.hash)) {
    return base::Fail(ErrorCode::kInvalid,
                      "the hash is neither sha256:<64 lower-case hex digits> nor bcrypt ($2y$…)");
  }
  return token;
}

}  // namespace

base::Result<std::vector<Token>> ParseTokens(std::string_view text, std::string_view source) {
  std::vector<Token> tokens;
  std::istringstream lines{std::string(text)};
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (line.empty() || line.front() == '#') continue;
    auto token = ParseLine(line);
    if (!token) {
      return base::Fail(ErrorCode::kInvalid,
                        fmt::format("{}:{}: {}", source, number, token.error().message));
    }
    tokens.push_back(std::move(*token));
  }
  return tokens;
}

base::Result<std::vector<Token>> ReadTokenFile(const std::string& path) {
  const auto text = base::ReadWholeFile(path, kLargestBytes);
  if (!text) return tl::unexpected(text.error());
  auto tokens = ParseTokens(*text, path);
  if (tokens && tokens->empty()) {
    return base::Fail(ErrorCode::kInvalid,
                      path + ": names no token; at least one role:name:hash is expected");
  }
  return tokens;
}

base::Result<std::string> Authorize(const AuthOptions& options, const base::ServerRequest& request,
                                    Role role) {
  constexpr std::string_view kBearer = "Bearer ";
  const std::string header = Header(request, "authorization");
  if (header.starts_with(kBearer)) {
    const std::string secret = header.substr(kBearer.size());
    for (const Token& token : options.tokens) {
      if (!Matches(token, secret)) continue;
      if (token.role == role || token.role == Role::kOperator) return token.name;
      return base::Fail(ErrorCode::kForbidden,
                        fmt::format("token \"{}\" has the role {}, this needs {}", token.name,
                                    ToString(token.role), ToString(role)));
    }
    return base::Fail(ErrorCode::kForbidden, "the bearer token is not known");
  }
  if (options.none_on_loopback && request.from_loopback) {
    if (!IsCrossSite(request)) return "loopback";
    return base::Fail(ErrorCode::kForbidden, "requests from another site's page are refused");
  }
  if (role == Role::kViewer && options.tokens.empty()) return "anyone";
  if (options.tokens.empty()) {
    return base::Fail(ErrorCode::kForbidden,
                      "writing is off: start the analyzer with --auth.file, or with "
                      "--auth.none-on-loopback for callers on the same machine");
  }
  return base::Fail(ErrorCode::kForbidden,
                    fmt::format("a bearer token with the role {} is needed", ToString(role)));
}

Auth::Auth(AuthOptions options)
    : options_(std::make_shared<const AuthOptions>(std::move(options))) {}

void Auth::SetTokens(std::vector<Token> tokens) {
  const std::lock_guard lock(mutex_);
  options_ = std::make_shared<const AuthOptions>(
      AuthOptions{std::move(tokens), options_->none_on_loopback});
}

base::Result<std::string> Auth::Authorize(const base::ServerRequest& request, Role role) const {
  std::shared_ptr<const AuthOptions> options;
  {
    const std::lock_guard lock(mutex_);
    options = options_;
  }
  return api::Authorize(*options, request, role);
}

}  // namespace consul_canary::api
