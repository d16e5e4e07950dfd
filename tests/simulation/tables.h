// Tables of figures, and how they are printed.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/simulation/figures.h"

namespace consul_canary::simulation {

enum class Unit { kPercent, kSeconds, kRequests, kFactor };

struct Column {
  std::string name;
  Unit unit = Unit::kSeconds;
};

struct Row {
  std::vector<std::string> labels;
  std::vector<std::optional<Figure>> figures;  // one for each column; nullopt: does not apply
  std::string broken;                          // the promise that does not hold; empty: all do
};

struct Table {
  std::string id;     // in JSON
  std::string title;  // what was asked, and what is promised
  std::vector<std::string> label_names;
  std::vector<Column> columns;
  std::vector<Row> rows;
};

[[nodiscard]] bool Holds(const Table& table);

// Aligned columns for a terminal; broken promises are marked.
[[nodiscard]] std::string ToText(const Table& table);
[[nodiscard]] std::string ToMarkdown(const Table& table);
// One object a figure and line: table, labels, column, mean, standard_error, runs.
[[nodiscard]] std::string ToJsonLines(const Table& table);

}  // namespace consul_canary::simulation
