// What workers and servers note while a simulation runs.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "bench/simulation/figures.h"

namespace downpour::bench {

struct Meter {
  bool measuring = false;    // the vectors take what comes
  std::uint64_t steps = 0;   // of all workers, since the beginning
  double begin_seconds = 0;  // when the last worker had taken its first step
  std::vector<float> staleness;
  std::vector<float> push_ms;
  std::vector<float> apply_ms;
  double held_bytes = 0;
  double queued_bytes = 0;
  double silence_seconds = 0;
  Account account;
  std::map<std::string, CoreTime> core;
  absl::Status failure;  // the first: a worker or a server would have ended with it

  void Fail(absl::Status status) {
    if (failure.ok()) failure = std::move(status);
  }
};

}  // namespace downpour::bench
