// What a run has shown so far, over time.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace downpour::run {

// Payload bytes since the servers started: what workers exchanged, without what was fetched to be evaluated.
struct Traffic {
  uint64_t to_servers = 0;
  uint64_t from_servers = 0;
};

struct Point {
  double seconds = 0;    // since training began
  double epoch = 0;      // mean over workers
  uint64_t samples = 0;  // of all workers
  double images_per_second = 0;
  double loss = 0;       // mean over the steps since the last point
  double staleness = 0;  // mean over all pushes so far, in updates
  Traffic traffic;
};

// Held-out samples, and where and when the run was as the parameters that were measured were fetched.
struct Evaluation {
  double seconds = 0;
  double epoch = 0;
  uint64_t samples = 0;
  Traffic traffic;
  double weight = 0;               // of all samples; without any the rest is nothing
  double loss = 0;
  std::optional<double> accuracy;  // 0 to 1; none where labels are numbers
  int top_k = 1;                   // classes among which the right one is, where a sample counts as right
};

struct Series {
  std::vector<Point> points;
  std::vector<Evaluation> evaluations;
};

}  // namespace downpour::run
