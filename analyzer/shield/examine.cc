#include "analyzer/shield/examine.h"

namespace consul_canary::shield {

Examination Examine(const MeshView&) { return {}; }
bool IsWhole(const Examination&) { return true; }
const char* NameOf(State) { return ""; }

}  // namespace consul_canary::shield
