// Writes a page of metrics, in the text format 0.0.4 or as OpenMetrics 1.0, straight into one
// string: no list of series stands between what is counted and the page (prometheus-cpp's takes
// several times as long: tests/benchmarks/run metrics). Pure.
//
// It refuses to check names: metrics and labels are named in our own source, and promtool reads
// them in the tests. Values of labels and texts of help may hold anything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "exporter/base/metrics_format.h"

namespace consul_canary::metrics {

using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

// Labels as they stand on the page, escaped once for all series that share them.
class LabelText {
 public:
  LabelText() = default;
  explicit LabelText(Labels labels);

  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

enum class MetricType { kGauge, kCounter, kHistogram };

class TextWriter {
 public:
  // `expected_bytes`: how long the page will be, or somewhat more: what is set aside at once.
  explicit TextWriter(base::MetricsSyntax syntax, std::size_t expected_bytes = 0);

  // What follows belongs to this family. Families without series leave no trace on the page. A
  // counter's name ends with _total. Each name once a page. `name` and `help` must outlive the
  // family: they are literals.
  void Begin(std::string_view name, std::string_view help, MetricType type);

  // A series of the gauge or counter under way.
  void Add(const LabelText& common, Labels more, double value);
  void Add(Labels labels, double value) { Add(LabelText(), labels, value); }
  void AddCount(const LabelText& common, Labels more, std::uint64_t count);
  void AddCount(Labels labels, std::uint64_t count) { AddCount(LabelText(), labels, count); }

  // A series of the histogram under way: its buckets with rising bounds and cumulative counts, then
  // its end. The bucket +Inf is added where it is missing.
  void AddBucket(const LabelText& labels, double upper_bound, std::uint64_t cumulative_count);
  void EndHistogram(const LabelText& labels, double sum, std::uint64_t count);

  // Ends the page. The writer must not be used afterwards.
  [[nodiscard]] std::string Finish();

 private:
  // One bucket's bound and its text up to the value: written again and again, series by series.
  struct Bound {
    double value = 0;
    std::string text;
  };

  void WriteHead();
  void BeginSeries(std::string_view suffix, const LabelText& common, Labels more);
  [[nodiscard]] const std::string& BoundText(double upper_bound);

  base::MetricsSyntax syntax_;
  std::string page_;
  std::string_view name_;
  std::string_view help_;
  MetricType type_ = MetricType::kGauge;
  bool has_head_ = false;
  std::vector<Bound> bounds_;  // of the family under way, in the order of the last series
  std::size_t next_bound_ = 0;
  std::string bucket_head_;  // of the series under way: what its buckets begin with
  bool has_infinity_ = false;
};

}  // namespace consul_canary::metrics
