#include "tests/support/places.h"

namespace consul_canary::testing {

std::string SourceFolder() { return CONSUL_CANARY_SOURCE_DIR; }
std::string TestApp() { return CONSUL_CANARY_TEST_APP; }

}  // namespace consul_canary::testing
