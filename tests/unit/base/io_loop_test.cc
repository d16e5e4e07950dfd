#include "exporter/base/io_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <stdlib.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "exporter/base/http_server.h"
#include "tests/unit/base/raw_server.h"

namespace consul_canary::base {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

HttpRequest To(std::string url) {
  HttpRequest request;
  request.url = std::move(url);
  return request;
}

// A loop that the test runs itself, so that it can look between two callbacks.
struct LoopRun {
  IoLoop loop;
  std::stop_source stop;
  bool too_long = false;

  void Run() {
    const IoLoop::Id limit = loop.After(seconds{20}, [this] {
      too_long = true;
      stop.request_stop();
    });
    loop.Run(stop.get_token());
    loop.Cancel(limit);
    EXPECT_FALSE(too_long);
  }

  Result<HttpResponse> Get(HttpRequest request) {
    std::optional<Result<HttpResponse>> answer;
    loop.Start(std::move(request), [&](Result<HttpResponse> result) {
      EXPECT_FALSE(answer.has_value()) << "called back twice";
      answer = std::move(result);
      // A second call would come in one of the next rounds.
      loop.After(milliseconds{1}, [this] { stop.request_stop(); });
    });
    EXPECT_FALSE(answer.has_value()) << "called back from inside Start()";
    Run();
    return answer.value_or(Fail(ErrorCode::kInvalid, "not called back"));
  }
};

std::unique_ptr<HttpServer> Serve(HttpServer::Handler handler) {
  auto server =
      HttpServer::Start({.listen_addresses = {"127.0.0.1:0"}, .threads = 4}, std::move(handler));
  EXPECT_TRUE(server.has_value());
  return *std::move(server);
}

std::string Url(const HttpServer& server, std::string_view path) {
  return "http://127.0.0.1:" + std::to_string(server.ports()[0]) + std::string(path);
}

TEST(IoLoop, TakesAnyStatusForAResponse) {
  const auto server = Serve([](const ServerRequest&) {
    return ServerResponse{.status = 503, .body = "no leader", .headers = {{"X-Index", " 7 "}}};
  });
  const auto response = LoopRun().Get(To(Url(*server, "/")));
  ASSERT_TRUE(response.has_value()) << response.error().message;
  EXPECT_EQ(response->status, 503);
  EXPECT_EQ(response->body, "no leader");
  EXPECT_EQ(response->headers.at("x-index"), "7");
}

TEST(IoLoop, SendsMethodHeadersAndBody) {
  const auto server = Serve([](const ServerRequest& request) {
    const auto type = request.headers.find("content-type");
    return ServerResponse{.body = request.method + " " + request.path + " " +
                                  request.headers.at("x-token") + " " + request.body + " " +
                                  (type == request.headers.end() ? "untyped" : type->second)};
  });
  for (const std::string method : {"PUT", "POST", "DELETE", "PATCH"}) {
    HttpRequest request = To(Url(*server, "/a"));
    request.method = method;
    request.headers = {"X-Token: t"};
    request.body = std::string("b\0c", 3);
    const auto response = LoopRun().Get(request);
    ASSERT_TRUE(response.has_value()) << response.error().message;
    EXPECT_EQ(response->body, method + " /a t " + std::string("b\0c", 3) + " untyped");
  }
}

TEST(IoLoop, FollowsNoRedirect) {
  const auto server = Serve([](const ServerRequest&) {
    return ServerResponse{.status = 302, .headers = {{"Location", "/elsewhere"}}};
  });
  const auto response = LoopRun().Get(To(Url(*server, "/")));
  ASSERT_TRUE(response.has_value()) << response.error().message;
  EXPECT_EQ(response->status, 302);
}

TEST(IoLoop, CallsBackOnceWhenTheServerClosesEarly) {
  const RawServer server([](int socket) {
    if (ReadRequest(socket)) WriteAll(socket, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
  });
  const auto response = LoopRun().Get(To(server.Url("/page?token=secret")));
  ASSERT_FALSE(response.has_value());
  EXPECT_EQ(response.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(response.error().message, StartsWith("GET " + server.Url("/page") + ": "));
  EXPECT_THAT(response.error().message, Not(HasSubstr("secret")));
}

TEST(IoLoop, GivesUpOnASilentServerAfterTheTimeout) {
  const RawServer server([](int socket) {
    while (ReadRequest(socket)) {
    }
  });
  HttpRequest request = To(server.Url("/"));
  request.timeout = milliseconds{50};
  const auto response = LoopRun().Get(request);
  ASSERT_FALSE(response.has_value());
  EXPECT_EQ(response.error().code, ErrorCode::kUnavailable);
}

TEST(IoLoop, IsUnavailableWhereNobodyListens) {
  std::string url;
  {
    url = RawServer([](int) {}).Url("/");
  }
  const auto response = LoopRun().Get(To(url));
  ASSERT_FALSE(response.has_value());
  EXPECT_EQ(response.error().code, ErrorCode::kUnavailable);
}

TEST(IoLoop, RefusesABodyWithoutEndAtItsLimit) {
  const RawServer server([](int socket) {
    const std::string block(1024, 'x');
    if (!ReadRequest(socket) || !WriteAll(socket, "HTTP/1.1 200 OK\r\n\r\n")) return;
    while (WriteAll(socket, block)) {
    }
  });
  HttpRequest request = To(server.Url("/"));
  request.max_response_bytes = 5000;
  const auto response = LoopRun().Get(request);
  ASSERT_FALSE(response.has_value());
  EXPECT_EQ(response.error(),
            (Error{ErrorCode::kInvalid,
                   "GET " + server.Url("/") + ": the answer is larger than 5000 bytes"}));
}

TEST(IoLoop, TakesABodyOfExactlyTheLimit) {
  const auto server = Serve([](const ServerRequest&) { return ServerResponse{.body = "12345"}; });
  HttpRequest request = To(Url(*server, "/"));
  request.max_response_bytes = 5;
  EXPECT_TRUE(LoopRun().Get(request).has_value());
}

TEST(IoLoop, CallsUnusableUrlsInvalid) {
  for (const char* url : {"", "http://", "http://a b/", "ftp://127.0.0.1/x", "file:///etc/passwd",
                          "http://127.0.0.1:99999/"}) {
    const auto response = LoopRun().Get(To(url));
    ASSERT_FALSE(response.has_value()) << url;
    EXPECT_EQ(response.error().code, ErrorCode::kInvalid) << url << response.error().message;
  }
}

TEST(IoLoop, ForgetsTheHeadersOfAnInterimAnswer) {
  const RawServer server([](int socket) {
    if (!ReadRequest(socket)) return;
    WriteAll(socket,
             "HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n"
             "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Late: 1\r\n\r\n");
  });
  const auto response = LoopRun().Get(To(server.Url("/")));
  ASSERT_TRUE(response.has_value()) << response.error().message;
  EXPECT_EQ(response->headers.count("x-early"), 0u);
  EXPECT_EQ(response->headers.count("x-late"), 1u);
}

TEST(IoLoop, UsesAConnectionAgain) {
  const RawServer server([](int socket) {
    while (ReadRequest(socket) &&
           WriteAll(socket, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) {
    }
  });
  LoopRun run;
  std::vector<int> statuses;
  std::function<void()> ask = [&] {
    run.loop.Start(To(server.Url("/")), [&](Result<HttpResponse> response) {
      statuses.push_back(response ? response->status : 0);
      if (statuses.size() == 3) return void(run.stop.request_stop());
      run.loop.After(milliseconds{0}, ask);
    });
  };
  ask();
  run.Run();
  EXPECT_THAT(statuses, ElementsAre(200, 200, 200));
  EXPECT_EQ(server.connections(), 1);
}

TEST(IoLoop, IgnoresTheProxyOfTheEnvironment) {
  const auto server = Serve([](const ServerRequest&) { return ServerResponse{.body = "direct"}; });
  ASSERT_EQ(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
  const auto response = LoopRun().Get(To(Url(*server, "/")));
  ASSERT_EQ(unsetenv("http_proxy"), 0);
  ASSERT_TRUE(response.has_value()) << response.error().message;
  EXPECT_EQ(response->body, "direct");
}

TEST(IoLoop, CallsNobodyAfterCancel) {
  const RawServer server([](int socket) {
    while (ReadRequest(socket)) {
    }
  });
  LoopRun run;
  bool called = false;
  const IoLoop::Id transfer =
      run.loop.Start(To(server.Url("/")), [&](const Result<HttpResponse>&) { called = true; });
  const IoLoop::Id timer = run.loop.After(milliseconds{5}, [&] { called = true; });
  run.loop.Cancel(transfer);
  run.loop.Cancel(timer);
  run.loop.Cancel(timer);  // known no more
  run.loop.Cancel(12345);  // never known
  run.loop.After(milliseconds{10}, [&] { run.stop.request_stop(); });
  run.Run();
  EXPECT_FALSE(called);
}

TEST(IoLoop, CancelsFromInsideCallbacks) {
  LoopRun run;
  std::vector<int> calls;
  std::string url;
  {
    url = RawServer([](int) {}).Url("/");
  }
  // Both finish in the same round; the first one's callback forgets the second.
  IoLoop::Id ids[2] = {0, 0};
  for (int i = 0; i < 2; ++i) {
    ids[i] = run.loop.Start(To(url), [&, i](const Result<HttpResponse>&) {
      calls.push_back(i);
      run.loop.Cancel(ids[1 - i]);
      run.loop.After(milliseconds{20}, [&] { run.stop.request_stop(); });
    });
  }
  run.Run();
  EXPECT_EQ(calls.size(), 1u);
}

TEST(IoLoop, RunsTimersInTheOrderOfTheirTimes) {
  LoopRun run;
  std::vector<int> order;
  run.loop.After(milliseconds{30}, [&] {
    order.push_back(3);
    run.stop.request_stop();
  });
  run.loop.After(milliseconds{10}, [&] { order.push_back(2); });
  run.loop.After(milliseconds{0}, [&] { order.push_back(1); });
  run.Run();
  EXPECT_THAT(order, ElementsAre(1, 2, 3));
}

TEST(IoLoop, NeverUsesAnIdTwice) {
  IoLoop loop;
  const IoLoop::Id first = loop.After(seconds{1}, [] {});
  loop.Cancel(first);
  const IoLoop::Id second = loop.Start(To("http://127.0.0.1:1/"), [](const auto&) {});
  EXPECT_NE(first, 0u);
  EXPECT_NE(second, first);
}

TEST(IoLoop, RunsWhatOtherThreadsPost) {
  LoopRun run;
  std::thread::id ran_on;
  std::thread poster([&] {
    run.loop.Post([&] {
      ran_on = std::this_thread::get_id();
      run.stop.request_stop();
    });
  });
  run.Run();
  poster.join();
  EXPECT_EQ(ran_on, std::this_thread::get_id());
}

TEST(IoLoop, EndsAtOnceWhenStopIsRequestedFromAnotherThread) {
  IoThread thread;
  const auto begin = std::chrono::steady_clock::now();
  thread.Stop();
  thread.Stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds{5});
}

TEST(IoLoop, DropsWhatIsPendingWhenItIsDestroyed) {
  const RawServer server([](int socket) {
    while (ReadRequest(socket)) {
    }
  });
  bool called = false;
  const auto witness = std::make_shared<int>(0);
  {
    IoLoop loop;
    loop.Start(To(server.Url("/")), [&called, witness](const auto&) { called = true; });
    loop.After(milliseconds{0}, [&called, witness] { called = true; });
    loop.Post([&called, witness] { called = true; });
    EXPECT_EQ(witness.use_count(), 4);
  }
  EXPECT_FALSE(called);
  EXPECT_EQ(witness.use_count(), 1);
}

// What a page's callback was told, kept.
struct SeenPage {
  PageOutcome outcome = PageOutcome::kAnswered;
  int status = 0;
  std::string content_type;
  std::string content_encoding;
  std::string body;
  std::string reason;
};

SeenPage ReadPage(LoopRun& run, const HttpRequest& request) {
  std::optional<SeenPage> seen;
  run.loop.Read(request, [&](const Page& page) {
    EXPECT_FALSE(seen.has_value()) << "called back twice";
    seen = {page.outcome,
            page.status,
            std::string(page.content_type),
            std::string(page.content_encoding),
            std::string(page.body),
            std::string(page.reason)};
    run.loop.After(milliseconds{1}, [&run] { run.stop.request_stop(); });
  });
  EXPECT_FALSE(seen.has_value()) << "called back from inside Read()";
  run.stop = std::stop_source();
  run.Run();
  return seen.value_or(SeenPage{.reason = "not called back"});
}

TEST(ReadPage, TellsStatusTypeAndBody) {
  const RawServer server([](int socket) {
    if (!ReadRequest(socket)) return;
    WriteAll(socket,
             "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nContent-Type: text/plain; x=y\r\n"
             "Content-Encoding: br\r\n\r\nbody");
  });
  LoopRun run;
  const SeenPage page = ReadPage(run, To(server.Url("/")));
  EXPECT_EQ(page.outcome, PageOutcome::kAnswered);
  EXPECT_EQ(page.status, 404);
  EXPECT_EQ(page.content_type, "text/plain; x=y");
  EXPECT_EQ(page.content_encoding, "br");
  EXPECT_EQ(page.body, "body");
  EXPECT_EQ(page.reason, "");
}

TEST(ReadPage, TellsApartHowAPageFailed) {
  const struct {
    const char* what;
    const char* answer;
    bool closes;
    PageOutcome outcome;
  } kRows[] = {
      {"silent", "", false, PageOutcome::kTimedOut},
      {"slow", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", false, PageOutcome::kTimedOut},
      {"closed before a word", "", true, PageOutcome::kBroken},
      {"truncated", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", true, PageOutcome::kBroken},
      {"no HTTP", "\x16\x03\x01 hello", true, PageOutcome::kBroken},
      {"told to be too large", "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nabc", false,
       PageOutcome::kTooLarge},
      {"too large", "HTTP/1.1 200 OK\r\n\r\n12345678901", false, PageOutcome::kTooLarge},
  };
  for (const auto& row : kRows) {
    const RawServer server([&row](int socket) {
      while (ReadRequest(socket) && WriteAll(socket, row.answer) && !row.closes) {
      }
    });
    HttpRequest request = To(server.Url("/"));
    request.timeout = milliseconds{100};
    request.max_response_bytes = 10;
    LoopRun run;
    const SeenPage page = ReadPage(run, request);
    EXPECT_EQ(page.outcome, row.outcome) << row.what << ": " << page.reason;
    EXPECT_NE(page.reason, "") << row.what;
  }
}

TEST(ReadPage, TellsThatNobodyTookTheConnection) {
  std::string url;
  {
    url = RawServer([](int) {}).Url("/");
  }
  LoopRun run;
  EXPECT_EQ(ReadPage(run, To(url)).outcome, PageOutcome::kNotConnected);
  EXPECT_EQ(ReadPage(run, To("http://a b/")).outcome, PageOutcome::kBadUrl);
  EXPECT_EQ(ReadPage(run, To("http://name.invalid/")).outcome, PageOutcome::kNotConnected);
}

TEST(ReadPage, ShowsNothingOfThePageBefore) {
  int asked = 0;
  const RawServer server([&asked](int socket) {
    while (ReadRequest(socket)) {
      ++asked;
      WriteAll(socket, asked == 1 ? "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: a/b\r\n"
                                    "Content-Encoding: gzip\r\n\r\nfirst"
                                  : "HTTP/1.1 204 No Content\r\n\r\n");
    }
  });
  LoopRun run;
  EXPECT_EQ(ReadPage(run, To(server.Url("/"))).body, "first");
  const SeenPage second = ReadPage(run, To(server.Url("/")));
  EXPECT_EQ(second.status, 204);
  EXPECT_EQ(second.body, "");
  EXPECT_EQ(second.content_type, "");
  EXPECT_EQ(second.content_encoding, "");
  EXPECT_EQ(server.connections(), 1);
}

TEST(ReadPage, IsNotSpoiltByTheRequestThatUsedTheHandleBefore) {
  const auto server = Serve([](const ServerRequest& request) {
    return ServerResponse{.body = request.method + " " + request.body +
                                  (request.headers.contains("x-token") ? " with token" : "")};
  });
  LoopRun run;
  HttpRequest put = To(Url(*server, "/"));
  put.method = "PUT";
  put.headers = {"X-Token: t"};
  put.body = "b";
  ASSERT_EQ(run.Get(put)->body, "PUT b with token");
  EXPECT_EQ(ReadPage(run, To(Url(*server, "/"))).body, "GET ");
}

TEST(IoLoop, ClosesAnIdlePool) {
  std::atomic<int> closed = 0;
  const RawServer server([&closed](int socket) {
    while (ReadRequest(socket) &&
           WriteAll(socket, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) {
    }
    ++closed;
    closed.notify_all();
  });
  LoopRun run;
  HttpRequest request = To(server.Url("/"));
  request.pool = 3;
  EXPECT_EQ(ReadPage(run, request).body, "ok");
  EXPECT_EQ(ReadPage(run, request).body, "ok");
  EXPECT_EQ(server.connections(), 1);
  run.loop.ClosePool(3);
  run.loop.ClosePool(77);  // never used
  closed.wait(0);
  EXPECT_EQ(ReadPage(run, request).body, "ok");
  EXPECT_EQ(server.connections(), 2);
}

// A descriptor's number is soon another connection's: what was registered for the first must not
// stand for the second.
TEST(IoLoop, GoesOnWhereServersCloseAfterEachAnswer) {
  const auto serve = [](int socket) {
    if (ReadRequest(socket)) WriteAll(socket, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  };
  const RawServer one(serve);
  const RawServer other(serve);
  LoopRun run;
  for (int i = 0; i < 10; ++i) {
    HttpRequest request = To((i % 2 == 0 ? one : other).Url("/"));
    request.pool = static_cast<std::uint32_t>(i % 3);
    ASSERT_EQ(ReadPage(run, request).body, "ok") << i;
  }
  EXPECT_EQ(one.connections() + other.connections(), 10);
}

TEST(IoLoop, ServesManyTransfersInManyPools) {
  const auto server = Serve(
      [](const ServerRequest& request) { return ServerResponse{.body = request.query.at("n")}; });
  LoopRun run;
  int left = 200;
  for (int i = 0; i < 200; ++i) {
    HttpRequest request = To(Url(*server, "/?n=" + std::to_string(i)));
    request.timeout = seconds{20};
    request.connect_timeout = seconds{20};
    request.pool = static_cast<std::uint32_t>(i % 7);
    run.loop.Read(request, [&, i](const Page& page) {
      EXPECT_EQ(page.body, std::to_string(i)) << page.reason;
      if (--left == 0) run.stop.request_stop();
    });
  }
  run.Run();
  EXPECT_EQ(left, 0);
}

std::size_t BytesInUse() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

// What is in use more than before, after so many large pages were read side by side.
std::size_t KeptAfterLargePages(std::size_t expected_bytes) {
  constexpr int kPages = 60;
  const std::string body(std::size_t{1} << 20u, 'x');
  const auto server =
      Serve([&body](const ServerRequest& /*request*/) { return ServerResponse{.body = body}; });
  LoopRun run;
  EXPECT_EQ(ReadPage(run, To(Url(*server, "/"))).body.size(), body.size());
  const std::size_t before = BytesInUse();
  run.stop = std::stop_source();
  int left = kPages;
  for (int i = 0; i < kPages; ++i) {
    HttpRequest request = To(Url(*server, "/"));
    request.timeout = request.connect_timeout = seconds{20};
    request.expected_bytes = expected_bytes;
    run.loop.Read(request, [&](const Page& page) {
      EXPECT_EQ(page.body.size(), body.size()) << page.reason;
      // Once this one has been put away as well.
      if (--left == 0) run.loop.After(milliseconds{1}, [&run] { run.stop.request_stop(); });
    });
  }
  run.Run();
  const std::size_t after = BytesInUse();
  return after > before ? after - before : 0;
}

TEST(ReadPage, KeepsNoMemoryOfALargePageThatWasNotExpected) {
  EXPECT_LT(KeptAfterLargePages(0), std::size_t{8} << 20u);
}

TEST(ReadPage, KeepsMemoryForLargePagesOnlyUpToALimit) {
  // 16 MiB of pages, and curl's own buffers.
  EXPECT_LT(KeptAfterLargePages(std::size_t{1} << 20u), std::size_t{36} << 20u);
}

TEST(Fetch, WaitsForTheAnswer) {
  const auto server = Serve([](const ServerRequest&) { return ServerResponse{.body = "hello"}; });
  IoThread thread;
  const auto response = Fetch(thread.loop(), To(Url(*server, "/")));
  ASSERT_TRUE(response.has_value()) << response.error().message;
  EXPECT_EQ(response->body, "hello");
}

TEST(Fetch, GivesUpWhenTheLoopEnds) {
  std::atomic<bool> asked = false;
  const RawServer server([&](int socket) {
    while (ReadRequest(socket)) {
      asked = true;
      asked.notify_all();
    }
  });
  IoThread thread;
  std::thread stopper([&] {
    asked.wait(false);
    thread.Stop();
  });
  HttpRequest request = To(server.Url("/"));
  request.timeout = seconds{30};
  const auto response = Fetch(thread.loop(), request);
  stopper.join();
  ASSERT_FALSE(response.has_value());
  EXPECT_EQ(response.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(response.error().message, HasSubstr("stopped"));
}

TEST(Fetch, IsUnavailableWhenTheLoopHasEnded) {
  IoThread thread;
  thread.Stop();
  const auto response = Fetch(thread.loop(), To("http://127.0.0.1:1/"));
  ASSERT_FALSE(response.has_value());
  EXPECT_EQ(response.error().code, ErrorCode::kUnavailable);
}

TEST(Describe, NamesMethodHostAndPathOnly) {
  const struct {
    const char* url;
    const char* expected;
  } kRows[] = {
      {"http://h:1/p?q=1", "GET http://h:1/p"},
      {"http://h:1/p#f", "GET http://h:1/p"},
      {"http://h", "GET http://h"},
      {"http://h?token=1", "GET http://h"},
      {"http://user:pass@h/p", "GET http://h/p"},
      {"https://[::1]:8501/v1/kv/a%20b", "GET https://[::1]:8501/v1/kv/a%20b"},
      {"", "GET "},
  };
  for (const auto& row : kRows) EXPECT_EQ(Describe(To(row.url)), row.expected) << row.url;
}

TEST(UrlEncode, LeavesOnlyUnreservedCharacters) {
  const struct {
    std::string_view text;
    const char* expected;
  } kRows[] = {
      {"", ""},
      {"aZ09-._~", "aZ09-._~"},
      {"a b+c/d", "a%20b%2Bc%2Fd"},
      {"Service.Meta.version == \"v2\"", "Service.Meta.version%20%3D%3D%20%22v2%22"},
      {"\xC3\xA9", "%C3%A9"},
      {std::string_view("\0", 1), "%00"},
  };
  for (const auto& row : kRows) EXPECT_EQ(UrlEncode(row.text), row.expected) << row.text;
}

}  // namespace
}  // namespace consul_canary::base
