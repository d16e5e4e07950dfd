#include "exporter/collect/page_check.h"

#include <fmt/format.h>

namespace consul_canary::collect {
namespace {

using base::Page;
using base::PageOutcome;

constexpr std::size_t kLargePage = 64u << 10u;
// On every whole page, and never let through by the filter.
constexpr std::string_view kUnasked = "\nenvoy_server_";

std::string_view ReasonOf(PageOutcome outcome) {
  switch (outcome) {
    case PageOutcome::kNotConnected:
    case PageOutcome::kBadUrl:
      return "connect";
    case PageOutcome::kTimedOut:
      return "timeout";
    case PageOutcome::kTooLarge:
      return "size";
    case PageOutcome::kBroken:
    case PageOutcome::kAnswered:
      break;
  }
  return "broken";
}

bool IsText(std::string_view content_type) {
  return content_type.empty() || content_type.starts_with("text/plain") ||
         content_type.starts_with("application/openmetrics-text");
}

}  // namespace

std::optional<PageFailure> FailureOf(const Page& page) {
  if (page.outcome != PageOutcome::kAnswered) {
    return PageFailure{ReasonOf(page.outcome), std::string(page.reason)};
  }
  if (page.status != 200) return PageFailure{"status", fmt::format("status {}", page.status)};
  if (!page.content_encoding.empty() && page.content_encoding != "identity") {
    return PageFailure{"content-type", fmt::format("content encoding {}, which was not asked for",
                                                   page.content_encoding)};
  }
  return std::nullopt;
}

std::optional<PageFailure> FailureOf(const envoy::SidecarPage& page,
                                     std::string_view content_type) {
  if (!page.subsets.empty() || page.local_app || !page.route_reloads.empty()) {
    if (!page.cut_off) return std::nullopt;
    // A series that is missing means 0, and would come back with its whole past as news.
    return PageFailure{"broken", "the page is cut off"};
  }
  if (!IsText(content_type)) {
    return PageFailure{"content-type",
                       fmt::format("not a page of Envoy's, content type {}", content_type)};
  }
  if (page.bad_line_count == 0) return std::nullopt;
  return PageFailure{"parse", "not a page of Envoy's, " + page.bad_lines.front()};
}

bool IsUnfiltered(std::string_view body) {
  return body.size() > kLargePage && body.find(kUnasked) != std::string_view::npos;
}

}  // namespace consul_canary::collect
