// Builds metric families by hand. For the files of this folder.
#pragma once

#include <prometheus/metric_family.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace consul_canary::metrics {

using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

inline prometheus::MetricFamily Family(std::string_view name, std::string_view help,
                                       prometheus::MetricType type) {
  prometheus::MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = type;
  return family;
}

inline prometheus::MetricFamily GaugeFamily(std::string_view name, std::string_view help) {
  return Family(name, help, prometheus::MetricType::Gauge);
}

inline prometheus::MetricFamily CounterFamily(std::string_view name, std::string_view help) {
  return Family(name, help, prometheus::MetricType::Counter);
}

inline prometheus::ClientMetric& AddMetric(prometheus::MetricFamily& family, Labels labels) {
  prometheus::ClientMetric& metric = family.metric.emplace_back();
  metric.label.reserve(labels.size());
  for (const auto& [name, value] : labels) {
    metric.label.push_back({std::string(name), std::string(value)});
  }
  return metric;
}

// The value of a gauge or counter, as the family's type says.
inline void AddValue(prometheus::MetricFamily& family, Labels labels, double value) {
  prometheus::ClientMetric& metric = AddMetric(family, labels);
  if (family.type == prometheus::MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
}

}  // namespace consul_canary::metrics
