// /metrics: everything a server counts, put together when it is asked for. Nothing is counted twice: shards,
// control and transport keep the numbers, for this and for the status call alike.
#pragma once

#include <vector>

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include "ps/control.h"
#include "ps/edge_stats.h"

namespace downpour::ps {

class Metrics : public prometheus::Collectable {
 public:
  // Both outlive it.
  Metrics(const Control* control, const EdgeStats* stats) : control_(control), stats_(stats) {}

  // Any thread.
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const Control* const control_;
  const EdgeStats* const stats_;
};

}  // namespace downpour::ps
