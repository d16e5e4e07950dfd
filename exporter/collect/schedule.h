// When one of many sidecars is read: at which moment of each interval, and how long not at all.
// Pure.
#pragma once

#include <string_view>

#include "exporter/base/clock.h"

namespace consul_canary::collect {

// Part of an interval, 0 up to 1, at which the sidecar is read where many are: the same in every
// process, and evenly spread over ids.
[[nodiscard]] double PhaseOf(std::string_view id);

// How long one that takes no connection is left alone after its n-th failure in a row: 1, 2, 4, 8
// and then 10 seconds.
[[nodiscard]] base::milliseconds BackOff(int failures);

}  // namespace consul_canary::collect
