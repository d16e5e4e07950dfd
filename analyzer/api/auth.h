// Who may do what over HTTP. A file names bearer tokens by their hashes; without it nobody may
// write, except, where the administrator chose so, callers on the loopback interface.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/base/http_server.h"
#include "exporter/base/result.h"

namespace consul_canary::api {

enum class Role { kViewer, kOperator, kHook };

struct Token {
  Role role = Role::kViewer;
  std::string name;  // for logs and the decision log
  std::string hash;  // "sha256:<64 hex digits>" or a bcrypt hash ("$2y$…")
};

struct AuthOptions {
  std::vector<Token> tokens;
  bool none_on_loopback = false;
};

// One token a line, `role:name:hash`; blank lines and # comments are skipped. kInvalid names file
// and line; a file without any token is wrong too: nobody could write, and everyone might read.
// kUnavailable: as base::ReadWholeFile().
[[nodiscard]] base::Result<std::vector<Token>> ReadTokenFile(const std::string& path);
[[nodiscard]] base::Result<std::vector<Token>> ParseTokens(std::string_view text,
                                                           std::string_view source);

// The caller's name when it may act in `role` (an operator may do all that a viewer and the hook
// may), else an error (kForbidden) that says what is missing. Reading needs a viewer only where
// tokens are configured.
[[nodiscard]] base::Result<std::string> Authorize(const AuthOptions& options,
                                                  const base::ServerRequest& request, Role role);

// The options of now, whose tokens may be replaced while requests are answered. Any thread.
class Auth {
 public:
  explicit Auth(AuthOptions options);

  // For every request that comes from now on.
  void SetTokens(std::vector<Token> tokens);

  // As above.
  [[nodiscard]] base::Result<std::string> Authorize(const base::ServerRequest& request,
                                                    Role role) const;

 private:
  mutable std::mutex mutex_;  // guards the pointer
  std::shared_ptr<const AuthOptions> options_;
};

}  // namespace consul_canary::api
