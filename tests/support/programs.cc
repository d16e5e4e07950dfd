#include "tests/support/places.h"

namespace consul_canary::testing {

std::string ExporterProgram() { return CONSUL_CANARY_EXPORTER; }
std::string AnalyzerProgram() { return CONSUL_CANARY_ANALYZER; }
std::string CtlProgram() { return CONSUL_CANARY_CTL; }

}  // namespace consul_canary::testing
