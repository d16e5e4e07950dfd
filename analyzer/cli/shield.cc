#include "analyzer/cli/shield.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "analyzer/cli/answers.h"
#include "analyzer/cli/fields.h"
#include "analyzer/cli/look.h"
#include "analyzer/cli/yaml.h"
#include "analyzer/shield/consul_mesh.h"
#include "analyzer/shield/examine.h"
#include "analyzer/shield/render.h"
#include "exporter/base/io_loop.h"

namespace consul_canary::cli {
namespace {

using shield::CustomResource;
using shield::Dump;
using shield::Examination;
using shield::Finding;
using shield::Hcl;
using shield::MeshView;
using shield::Outcome;
using shield::Plan;
using shield::Write;

shield::Question QuestionOf(const ShieldOptions& options) {
  return {.service = options.service,
          .primary_subset = options.primary_subset,
          .canary_subset = options.canary_subset,
          .max_failures = options.max_failures,
          .callers = options.callers};
}

int WithConsul(const std::function<int(consul::Client&)>& run) {
  base::Result<consul::Settings> settings = consul::SettingsFromEnvironment();
  if (!settings) {
    Complain(settings.error().message);
    return kWrongInput;
  }
  base::IoThread io;
  consul::Client client(io.loop(), *std::move(settings));
  const int code = run(client);
  io.Stop();  // before the client goes, which its callbacks use
  return code;
}

Colour ColourOf(shield::State state) {
  switch (state) {
    case shield::State::kOk:
      return Colour::kGreen;
    case shield::State::kMissing:
      return Colour::kYellow;
    case shield::State::kDangerous:
      return Colour::kRed;
    case shield::State::kNote:
      break;
  }
  return Colour::kNone;
}

std::string Table(const Examination& examination, const Look& look) {
  constexpr std::size_t kState = 10;
  std::size_t part = 4;
  for (const Finding& each : examination.findings) part = std::max(part, Columns(each.part));
  const std::size_t indent = part + kState + 2;
  const std::size_t width = look.columns > indent + 30 ? look.columns - indent : 60;
  std::string text = Padded("PART", part) + ' ' + Padded("STATE", kState) + " WHAT IT DOES\n";
  for (const Finding& each : examination.findings) {
    std::string words = each.what;
    if (!each.why.empty()) words += ": " + each.why;
    if (!each.mends.empty()) words += " (mended by " + each.mends + ")";
    std::string start = Padded(Harmless(each.part), part) + ' ' +
                        Paint(look, ColourOf(each.state), Padded(NameOf(each.state), kState)) + ' ';
    for (const std::string& line : Wrapped(Harmless(words), width)) {
      text += start + line + '\n';
      start = std::string(indent, ' ');
    }
  }
  return text;
}

std::string InTable(const ShieldOptions& options, const Examination& examination) {
  std::string text = Table(examination, LookOfStdout());
  if (examination.entries.empty()) return text;
  text += fmt::format(
      "\nWhat mends it (`consul-canaryctl shield {} --apply` writes it, `consul config write` each "
      "by hand):\n",
      options.service);
  for (const shield::Json& entry : examination.entries) text += '\n' + Hcl(entry);
  return text;
}

std::string InJson(const ShieldOptions& options, const Examination& examination) {
  shield::Json findings = shield::Json::array();
  for (const Finding& each : examination.findings) {
    findings.push_back({{"part", each.part},
                        {"state", NameOf(each.state)},
                        {"what", each.what},
                        {"why", each.why},
                        {"mends", each.mends}});
  }
  return Dump(shield::Json{{"service", options.service},
                           {"ok", IsWhole(examination)},
                           {"findings", std::move(findings)},
                           {"entries", examination.entries}}) +
         "\n";
}

int CheckWith(consul::Client& client, const ShieldOptions& options) {
  const base::Result<MeshView> view = ReadMesh(client, QuestionOf(options));
  if (!view) {
    Complain(view.error().message);
    return kHeld;
  }
  const Examination examination = Examine(*view);
  if (options.format == "json") {
    Print(InJson(options, examination));
  } else if (options.format == "yaml") {
    Print(YamlOf(InJson(options, examination)));
  } else {
    Print(InTable(options, examination));
  }
  if (!view->lacking.empty()) return kHeld;
  return IsWhole(examination) ? kDone : kRefused;
}

std::string InKubernetes(const Plan& plan) {
  std::string text;
  for (const Write& write : plan.writes) {
    if (!write.wanted) continue;
    text += "---\n# " + Headline(write) + "\n";
    for (const std::string& line : Difference(write)) text += "#   " + line + "\n";
    text += YamlOf(Dump(CustomResource(*write.wanted)));
  }
  return text;
}

int PrintShield(consul::Client& client, const ShieldOptions& options) {
  const base::Result<MeshView> view = ReadMesh(client, QuestionOf(options));
  const base::Result<Plan> plan = view.and_then(&shield::WholeShield);
  if (!plan) {
    Complain(plan.error().message);
    return kRefused;
  }
  if (options.format == "json") {
    Print(Dump(PlanInJson(*plan)) + "\n");
  } else if (options.format == "kubernetes") {
    Print(InKubernetes(*plan));
  } else {
    Print(PlanInHcl(*plan));
  }
  return kDone;
}

int Say(const base::Result<Outcome>& outcome, const ShieldOptions& options) {
  if (!outcome) {
    Complain(outcome.error().message);
    return kRefused;
  }
  for (const std::string& entry : outcome->written) Print(entry + ": written\n");
  for (const std::string& field : outcome->left) {
    Print(field + ": changed by somebody since; left as it is\n");
  }
  if (outcome->written.empty() && outcome->whole()) Print(options.service + ": nothing to write\n");
  for (const std::string& why : outcome->refused) Complain(why);
  if (!outcome->stopped.empty()) {
    Complain(fmt::format(
        "{}; stopped there: what is written stays and harms nobody, run the command again",
        outcome->stopped));
  }
  return outcome->whole() ? kDone : kRefused;
}

}  // namespace

int Check(const ShieldOptions& options) {
  return WithConsul([&](consul::Client& client) { return CheckWith(client, options); });
}

int Shield(const ShieldOptions& options) {
  return WithConsul([&](consul::Client& client) {
    if (options.apply) {
      const shield::Moment moment = options.now ? shield::Moment::kNow : shield::Moment::kIdle;
      return Say(ApplyShield(client, QuestionOf(options), moment), options);
    }
    if (options.remove) return Say(RemoveShield(client, QuestionOf(options)), options);
    return PrintShield(client, options);
  });
}

}  // namespace consul_canary::cli
