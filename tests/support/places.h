// Where this build and its sources lie. Apart from everything else, because absolute paths in a
// compile command keep ccache from finding the object in another clone: only two small files hold
// them.
#pragma once

#include <string>

namespace consul_canary::testing {

[[nodiscard]] std::string SourceFolder();
[[nodiscard]] std::string TestApp();  // the program consul-canary-test-app

// The product's programs of this build (programs.cc, in canary_test_daemons).
[[nodiscard]] std::string ExporterProgram();
[[nodiscard]] std::string AnalyzerProgram();
[[nodiscard]] std::string CtlProgram();

}  // namespace consul_canary::testing
