// Two worlds with the same digest go on alike, whatever happens next; so only one of them is
// explored. Left out is what no later look can tell apart: the wall clock, numbers of decisions and
// orders, how far an index lies from another, elapsed time beyond every deadline. Evidence is
// folded to what it decides (proven or how far from it, harmful, half way to harm): the requests of
// the model are so many that a tick decides.
#pragma once

#include <cstdint>

#include "tests/states/model.h"

namespace consul_canary::states {

[[nodiscard]] std::uint64_t DigestOf(const Model& model);

}  // namespace consul_canary::states
