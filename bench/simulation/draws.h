// Draws from the distributions that settings.h names.
#pragma once

#include <cmath>

#include "bench/simulation/settings.h"
#include "bench/simulation/timeline.h"
#include "worker/random.h"

namespace downpour::bench {

// In (0, 1].
inline double Uniform(worker::Random& random) { return static_cast<double>((random.Next() >> 11) + 1) * 0x1p-53; }

inline double Exponential(worker::Random& random, double mean) { return -mean * std::log(Uniform(random)); }

// A step of a worker whose steps are longer by `factor`, pauses included.
inline Ns DrawStep(worker::Random& random, const ComputeTimes& times, double factor) {
  const double sigma = times.sigma;
  const double compute_ms = factor * times.mean_ms * std::exp(sigma * random.Gaussian() - sigma * sigma / 2);
  double ms = compute_ms;
  if (times.pauses_per_hour > 0) {
    const double between_ms = 3600e3 / times.pauses_per_hour;
    for (double at = Exponential(random, between_ms); at < compute_ms; at += Exponential(random, between_ms)) {
      ms += Exponential(random, times.pause_ms);
    }
  }
  return static_cast<Ns>(ms * kNsInMs);
}

// What a step takes on average.
inline double MeanStepMs(const ComputeTimes& times, double factor) {
  return factor * times.mean_ms * (1 + times.pauses_per_hour / 3600e3 * times.pause_ms);
}

}  // namespace downpour::bench
