// The only file that includes yaml-cpp. Its events are used, not its nodes: nodes forget duplicate
// keys and expand aliases without a bound.
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <sstream>
#include <utility>

#include "exporter/config/document.h"

namespace consul_canary::config {
namespace {

int LineOf(const YAML::Mark& mark) { return mark.line + 1; }

// yaml-cpp names the consequence of a tab ("illegal map value"), not the tab.
bool IsIndentedByTab(std::string_view text, int line) {
  std::size_t start = 0;
  for (int i = 1; i < line && start != std::string_view::npos; ++i) {
    start = text.find('\n', start);
    if (start != std::string_view::npos) ++start;
  }
  if (start == std::string_view::npos) return false;
  const std::size_t end = text.find_first_not_of(" \t", start);
  return text.substr(start, end - start).find('\t') != std::string_view::npos;
}

// yaml-cpp's tags: "?" or none for a plain scalar, "!" for a quoted or block scalar, else the tag's
// name.
bool IsPlain(const std::string& tag) { return tag.empty() || tag == "?"; }

class Events : public YAML::EventHandler {
 public:
  [[nodiscard]] Node Take() { return builder_.Take(); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    // At some texts that are no YAML (`,a`) yaml-cpp takes nothing and gives empty documents for
    // ever.
    if (mark.pos == document_start_) {
      throw DocumentError{LineOf(mark), "is not YAML: no value can begin here"};
    }
    document_start_ = mark.pos;
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { builder_.Null(LineOf(mark)); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw DocumentError{LineOf(mark), "aliases (*name) are not supported; write the value"};
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                const std::string& value) override {
    if (!IsPlain(tag) && tag != "!") RefuseTag(mark);
    builder_.Scalar(LineOf(mark), value, tag == "!");
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    if (!IsPlain(tag)) RefuseTag(mark);
    builder_.BeginList(LineOf(mark));
  }
  void OnSequenceEnd() override { builder_.End(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    if (!IsPlain(tag)) RefuseTag(mark);
    builder_.BeginMap(LineOf(mark));
  }
  void OnMapEnd() override { builder_.End(); }

 private:
  [[noreturn]] static void RefuseTag(const YAML::Mark& mark) {
    throw DocumentError{LineOf(mark), "tags (!name) are not supported"};
  }

  TreeBuilder builder_;
  int document_start_ = -1;
};

}  // namespace

Documents ReadYaml(std::string_view text) {
  Documents documents;
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    Events events;
    while (parser.HandleNextDocument(events)) documents.roots.push_back(events.Take());
  } catch (const DocumentError& error) {
    documents.error = FieldError{error.line, "", error.problem};
  } catch (const YAML::Exception& error) {
    const int line = LineOf(error.mark);
    documents.error = FieldError{line, "",
                                 IsIndentedByTab(text, line)
                                     ? "is not YAML: indented by a tab, where only spaces may be"
                                     : "is not YAML: " + error.msg};
  }
  return documents;
}

}  // namespace consul_canary::config
