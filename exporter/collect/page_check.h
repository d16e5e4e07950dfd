// Whether what a sidecar answered is what it was asked for. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "exporter/base/io_loop.h"
#include "exporter/envoy/sidecar_page.h"

namespace consul_canary::collect {

struct PageFailure {
  std::string_view reason;  // a literal: the label of sidecar_scrape_errors_total
  std::string text;         // without what was asked
};

// Why `page` cannot be read; nullopt: it is complete, has status 200 and no encoding. Redirects are
// failures by their status: what a catalog names is what is read, and nothing that it points to.
[[nodiscard]] std::optional<PageFailure> FailureOf(const base::Page& page);

// Why `page`, of that content type, is none of Envoy's; nullopt: it is one, or is text that holds
// nothing, as that of an Envoy without traffic.
[[nodiscard]] std::optional<PageFailure> FailureOf(const envoy::SidecarPage& page,
                                                   std::string_view content_type);

// Whether the page holds what the filter does not let through: from an Envoy that does not know
// `filter=`, or from behind something that drops the query. Told of pages that are large for it.
[[nodiscard]] bool IsUnfiltered(std::string_view body);

}  // namespace consul_canary::collect
