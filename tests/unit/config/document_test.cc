#include "exporter/config/document.h"

#include <gtest/gtest.h>

#include <string>

namespace consul_canary::config {
namespace {

// The tree with its lines: scalars as they are, quoted ones in quotes.
std::string Draw(const Node& node) {
  std::string text = std::to_string(node.line) + ":";
  if (node.kind == NodeKind::kNull) return text + "null";
  if (node.kind == NodeKind::kScalar)
    return text + (node.quoted ? '"' + node.text + '"' : node.text);
  text += node.kind == NodeKind::kMap ? "{" : "[";
  for (const Node& child : node.children) {
    if (node.kind == NodeKind::kMap) text += child.key + "=";
    text += Draw(child) + " ";
  }
  return text + (node.kind == NodeKind::kMap ? "}" : "]");
}

std::string Drawn(const Documents& documents) {
  std::string text;
  for (const Node& root : documents.roots) text += Draw(root) + "\n";
  if (documents.error) text += ToString(*documents.error);
  return text;
}

TEST(ReadYaml, RemembersLinesQuotesAndDuplicates) {
  EXPECT_EQ(Drawn(ReadYaml("a: 1\nb:\n  - x\n  - 'y'\n  - c: {d: ~}\na: \"2\"\n")),
            "1:{a=1:1 b=2:[3:x 4:\"y\" 5:{c=5:{d=5:null } } ] a=6:\"2\" }\n");
}

TEST(ReadYaml, ReadsBlockScalarsAsText) {
  EXPECT_EQ(Drawn(ReadYaml("a: |\n  1\nb: >-\n  2\n")), "1:{a=1:\"1\n\" b=3:\"2\" }\n");
}

TEST(ReadJson, RemembersLinesQuotesAndDuplicates) {
  EXPECT_EQ(Drawn(ReadJson("{\"a\": 1,\n\"b\": [\n\"x\",\n2.50\n,null, true, -3],\n\"a\": {}}")),
            "1:{a=1:1 b=2:[3:\"x\" 4:2.50 5:null 5:true 5:-3 ] a=6:{} }\n");
}

TEST(ReadJson, NamesTheLineOfASyntaxError) {
  const Documents documents = ReadJson("{\"a\": 1,\n\n\"b\": }");
  ASSERT_TRUE(documents.error);
  EXPECT_EQ(documents.error->line, 3);
}

TEST(ReadDocuments, TakesBracesForJsonFirstAndForYamlElse) {
  EXPECT_EQ(Drawn(ReadDocuments("{\"a\": \"\\u00e9\\/\"}")), "1:{a=1:\"é/\" }\n");
  EXPECT_EQ(Drawn(ReadDocuments("  {a: b}")), "1:{a=1:b }\n");
  EXPECT_EQ(Drawn(ReadDocuments("{\"a\": b}")), "1:{a=1:b }\n");
}

TEST(ReadDocuments, KeepsTheDocumentsBeforeAnError) {
  EXPECT_EQ(Drawn(ReadDocuments("a: 1\n---\nb: [\n")),
            "1:{a=1:1 }\nline 4: is not YAML: end of sequence flow not found");
}

TEST(ReadDocuments, EndsWhereTheParserOfYamlWouldGiveEmptyDocumentsForEver) {
  const Documents documents = ReadDocuments(",a\n");
  ASSERT_TRUE(documents.error);
  EXPECT_EQ(ToString(*documents.error), "line 1: is not YAML: no value can begin here");
}

TEST(ReadDocuments, RefusesBytesThatAreNoText) {
  for (const std::string& bad :
       {std::string("a: \x00", 4), std::string("a: \xC0\xAF"), std::string("a: \xED\xA0\x80"),
        std::string("a: \xF5\x80\x80\x80"), std::string("a: \xF4\x90\x80\x80"),
        std::string("a: \xE0\x80\x80"), std::string("a: \xC3"),
        std::string("\xFF\xFE"
                    "a")}) {
    EXPECT_EQ(Drawn(ReadDocuments(bad)), "line 1: is not text: a byte that is not valid UTF-8");
  }
  EXPECT_EQ(Drawn(ReadDocuments("a: \xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\nb: \xFF")),
            "line 2: is not text: a byte that is not valid UTF-8");
}

TEST(ReadDocuments, RefusesWhatIsTooLargeOrTooDeep) {
  EXPECT_EQ(Drawn(ReadDocuments(std::string(256 * 1024 + 1, ' '))), "is larger than 256 KiB");
  EXPECT_EQ(Drawn(ReadDocuments(std::string(40, '[') + std::string(40, ']'))),
            "line 1: is nested too deeply");
  std::string json = "{\"a\": ";
  for (int i = 0; i < 6; ++i) json += json;
  EXPECT_EQ(Drawn(ReadDocuments(json)), "line 1: is nested too deeply");
}

}  // namespace
}  // namespace consul_canary::config
