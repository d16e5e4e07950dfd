#include "tests/simulation/tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace consul_canary::simulation {
namespace {

constexpr double kNone = 1e-9;

// One digit of the standard error, two where that would be a 1 or a 2.
int Decimals(double error) {
  const double power = std::floor(std::log10(error));
  const bool is_small = error < 3 * std::pow(10, power);
  return std::clamp((is_small ? 1 : 0) - static_cast<int>(power), 0, 3);
}

std::string ToWords(const std::optional<Figure>& figure, Unit unit) {
  if (!figure) return "";
  const double scale = unit == Unit::kPercent ? 100 : 1;
  const double error = figure->standard_error * scale;
  const char* sign = unit == Unit::kPercent ? "%" : "";
  if (error < kNone) return fmt::format("{:.4g}{}", figure->mean * scale, sign);
  const int decimals = Decimals(error);
  return fmt::format("{:.{}f} ± {:.{}f}{}", figure->mean * scale, decimals, error, decimals, sign);
}

int RunsOf(const Row& row) {
  for (const std::optional<Figure>& figure : row.figures) {
    if (figure) return figure->runs;
  }
  return 0;
}

using Cells = std::vector<std::string>;

Cells HeadOf(const Table& table) {
  Cells head = table.label_names;
  for (const Column& column : table.columns) head.push_back(column.name);
  head.emplace_back("runs");
  return head;
}

Cells CellsOf(const Table& table, const Row& row) {
  Cells cells = row.labels;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    cells.push_back(ToWords(row.figures[i], table.columns[i].unit));
  }
  cells.push_back(std::to_string(RunsOf(row)));
  return cells;
}

// Characters on the screen: UTF-8's continuation bytes are none.
std::size_t WidthOf(const std::string& text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string Line(const Cells& cells, const std::vector<std::size_t>& widths) {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    line += "  " + cells[i] + std::string(widths[i] - WidthOf(cells[i]), ' ');
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

}  // namespace

bool Holds(const Table& table) {
  return std::ranges::all_of(table.rows, [](const Row& row) { return row.broken.empty(); });
}

std::string ToText(const Table& table) {
  std::vector<Cells> lines = {HeadOf(table)};
  for (const Row& row : table.rows) lines.push_back(CellsOf(table, row));
  std::vector<std::size_t> widths(lines.front().size());
  for (const Cells& cells : lines) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
      widths[i] = std::max(widths[i], WidthOf(cells[i]));
    }
  }
  std::string text = table.title + "\n" + Line(lines.front(), widths) + "\n";
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    text += Line(lines[i + 1], widths);
    if (!table.rows[i].broken.empty()) text += "  <-- BROKEN: " + table.rows[i].broken;
    text += "\n";
  }
  return text;
}

std::string ToMarkdown(const Table& table) {
  const Cells head = HeadOf(table);
  std::string text = fmt::format("**{}**\n\n| {} |\n", table.title, fmt::join(head, " | "));
  for (std::size_t i = 0; i < head.size(); ++i) text += "|---";
  text += "|\n";
  for (const Row& row : table.rows) {
    const std::string broken = row.broken.empty() ? "" : " **promise broken: " + row.broken + "**";
    text += fmt::format("| {}{} |\n", fmt::join(CellsOf(table, row), " | "), broken);
  }
  return text;
}

std::string ToJsonLines(const Table& table) {
  std::string text;
  for (const Row& row : table.rows) {
    nlohmann::ordered_json labels;
    for (std::size_t i = 0; i < row.labels.size(); ++i) {
      labels[table.label_names[i]] = row.labels[i];
    }
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
      if (!row.figures[i]) continue;
      const nlohmann::ordered_json line = {{"table", table.id},
                                           {"labels", labels},
                                           {"column", table.columns[i].name},
                                           {"mean", row.figures[i]->mean},
                                           {"standard_error", row.figures[i]->standard_error},
                                           {"runs", row.figures[i]->runs},
                                           {"broken", row.broken}};
      text += line.dump() + "\n";
    }
  }
  return text;
}

}  // namespace consul_canary::simulation
