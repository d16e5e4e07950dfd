#include "exporter/base/web_gate.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "exporter/base/clock.h"
#include "exporter/base/web_config.h"

namespace consul_canary::base {
namespace {

using Digest = std::array<unsigned char, 32>;

// A wrong password takes a hash too, so that guessing cannot be told from knowing a name. Of a
// random password that nobody wrote down.
constexpr const char* kNobodysHash = "$2b$10$PugS/yOYEEhsGfIH3CW0C.A2byVxErJWjcjnge0ntW.NEL7fGnEQO";

// Who guesses passwords gets these, and no more of the server's workers for longer than that.
constexpr int kHashesAtOnce = 2;
constexpr milliseconds kPatience{1000};
constexpr std::size_t kLargestCache = 100;

struct Credentials {
  std::string user;
  std::string password;
};

std::optional<std::string> DecodeBase64(std::string_view text) {
  std::string decoded(text.size() / 4 * 3, '\0');
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(decoded.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()));
  if (size < 0) return std::nullopt;
  // What padding stands for is decoded to zeros.
  const auto padding = text.ends_with("==") ? 2u : text.ends_with('=') ? 1u : 0u;
  decoded.resize(static_cast<std::size_t>(size) - padding);
  return decoded;
}

std::optional<Credentials> CredentialsOf(const ServerRequest& request) {
  constexpr std::string_view kBasic = "basic ";
  const auto header = request.headers.find("authorization");
  if (header == request.headers.end() || header->second.size() < kBasic.size()) return std::nullopt;
  const std::string_view value = header->second;
  const bool is_basic = std::equal(kBasic.begin(), kBasic.end(), value.begin(), [](char a, char b) {
    return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b);
  });
  if (!is_basic) return std::nullopt;
  const auto text = DecodeBase64(value.substr(kBasic.size()));
  const std::size_t colon = text ? text->find(':') : std::string::npos;
  if (colon == std::string::npos) return std::nullopt;
  // crypt() would end the password at a zero byte, and let more than one in.
  if (text->find('\0') != std::string::npos) return std::nullopt;
  return Credentials{text->substr(0, colon), text->substr(colon + 1)};
}

bool HasHash(const std::string& password, const std::string& hash) {
  auto data = std::make_unique<crypt_data>();
  const char* hashed = crypt_r(password.c_str(), hash.c_str(), data.get());
  const std::string_view made = hashed == nullptr ? "" : hashed;
  const bool same =
      made.size() == hash.size() && CRYPTO_memcmp(made.data(), hash.data(), hash.size()) == 0;
  OPENSSL_cleanse(data.get(), sizeof(crypt_data));
  return same;
}

ServerResponse Plain(int status, std::string_view text) {
  ServerResponse response;
  response.status = status;
  response.content_type = "text/plain; charset=utf-8";
  response.body = text;
  return response;
}

}  // namespace

struct WebGate::Impl {
  enum class Verdict { kYes, kNo, kBusy };

  std::string path;
  Digest salt{};
  std::atomic<std::size_t> hashed = 0;

  std::mutex config_mutex;
  std::shared_ptr<const WebConfig> config = std::make_shared<WebConfig>();

  std::mutex check_mutex;  // guards what follows
  std::condition_variable slot_free;
  int hashing = 0;
  // Apart, so that guesses cannot push out those who know.
  std::set<Digest> right;
  std::set<Digest> wrong;

  std::shared_ptr<const WebConfig> Config() {
    const std::lock_guard lock(config_mutex);
    return config;
  }

  // Of the user, the hash that is asked for and the password; with a salt of this process.
  [[nodiscard]] Digest KeyOf(const Credentials& credentials, const std::string& hash) const {
    Digest digest{};
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                          &EVP_MD_CTX_free);
    EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
    EVP_DigestUpdate(context.get(), salt.data(), salt.size());
    for (const std::string* part : {&credentials.user, &hash, &credentials.password}) {
      const std::uint64_t size = part->size();
      EVP_DigestUpdate(context.get(), &size, sizeof size);
      EVP_DigestUpdate(context.get(), part->data(), part->size());
    }
    EVP_DigestFinal_ex(context.get(), digest.data(), nullptr);
    return digest;
  }

  std::optional<Verdict> Known(const Digest& key) const {
    if (right.contains(key)) return Verdict::kYes;
    if (wrong.contains(key)) return Verdict::kNo;
    return std::nullopt;
  }

  // Wrong passwords are remembered too: a scraper that has one comes every second.
  Verdict Check(const WebConfig& web, const Credentials& credentials) {
    const auto user = web.users.find(credentials.user);
    const std::string hash = user == web.users.end() ? kNobodysHash : user->second;
    const Digest key = KeyOf(credentials, hash);
    std::unique_lock lock(check_mutex);
    if (const auto verdict = Known(key)) return *verdict;
    const auto may_go_on = [&] { return hashing < kHashesAtOnce || Known(key); };
    if (!slot_free.wait_for(lock, kPatience, may_go_on)) return Verdict::kBusy;
    if (const auto verdict = Known(key)) return *verdict;
    ++hashing;
    lock.unlock();
    ++hashed;
    const bool may = HasHash(credentials.password, hash) && user != web.users.end();
    lock.lock();
    --hashing;
    std::set<Digest>& known = may ? right : wrong;
    if (known.size() >= kLargestCache) known.clear();
    known.insert(key);
    slot_free.notify_all();
    return may ? Verdict::kYes : Verdict::kNo;
  }
};

Result<std::unique_ptr<WebGate>> WebGate::Open(const std::string& path) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  if (RAND_bytes(impl->salt.data(), static_cast<int>(impl->salt.size())) != 1) {
    return Fail(ErrorCode::kUnavailable, "no random numbers from the system");
  }
  std::unique_ptr<WebGate> gate(new WebGate(std::move(impl)));
  if (const Result<void> read = gate->Reload(); !read) return tl::unexpected(read.error());
  return gate;
}

WebGate::WebGate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

WebGate::~WebGate() = default;

Result<void> WebGate::Reload() {
  if (impl_->path.empty()) return {};
  Result<WebConfig> read = ReadWebConfig(impl_->path);
  if (!read) return tl::unexpected(read.error());
  auto config = std::make_shared<const WebConfig>(*std::move(read));
  const std::lock_guard lock(impl_->config_mutex);
  impl_->config = std::move(config);
  return {};
}

ServerResponse WebGate::AnswerUnchecked(const ServerRequest& request,
                                        const HttpServer::Handler& handler) const {
  ServerResponse response = handler(request);
  for (const auto& [name, value] : impl_->Config()->headers) {
    response.headers.insert_or_assign(name, value);
  }
  return response;
}

ServerResponse WebGate::Answer(const ServerRequest& request,
                               const HttpServer::Handler& handler) const {
  const auto config = impl_->Config();
  if (config->users.empty() || request.path == "/-/healthy") {
    return AnswerUnchecked(request, handler);
  }
  const auto credentials = CredentialsOf(request);
  const auto verdict = credentials ? impl_->Check(*config, *credentials) : Impl::Verdict::kNo;
  return AnswerUnchecked(request, [&](const ServerRequest& checked) {
    if (verdict == Impl::Verdict::kYes) return handler(checked);
    if (verdict == Impl::Verdict::kBusy) {
      ServerResponse busy = Plain(503, "too many others are signing in\n");
      busy.headers["Retry-After"] = "1";
      return busy;
    }
    ServerResponse refused = Plain(401, "a user name and a password are needed\n");
    refused.headers["WWW-Authenticate"] = R"(Basic realm="consul-canary", charset="UTF-8")";
    return refused;
  });
}

std::size_t WebGate::hashed() const { return impl_->hashed; }

}  // namespace consul_canary::base
