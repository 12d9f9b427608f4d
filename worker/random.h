// Random numbers that are the same on every machine: integer arithmetic, no math library.
#pragma once

#include <cstdint>

#include "kernels/split_mix.h"

namespace downpour::worker {

// A stream of numbers for each (seed, stream, substream). Not for several threads at once.
class Random {
 public:
  explicit Random(std::uint64_t seed, std::uint64_t stream = 0, std::uint64_t substream = 0)
      : state_(kernels::SplitMix64(kernels::SplitMix64(kernels::SplitMix64(seed) + stream) + substream)) {}

  std::uint64_t Next() { return kernels::SplitMix64Finalize(state_ += kernels::kSplitMix64Step); }

  // Uniform in [0, bound), for a bound of at least 1; the bias is below 2^-32 for bounds below 2^32.
  std::uint64_t Below(std::uint64_t bound) {
    return static_cast<std::uint64_t>((static_cast<unsigned __int128>(Next()) * bound) >> 64);
  }

  // Uniform in [-1, 1), in steps of 2^-23.
  float Symmetric() { return static_cast<float>(static_cast<std::int64_t>(Next()) >> 40) * 0x1p-23f; }

  // Mean 0, deviation 1, as the sum of twelve uniform numbers, which is near enough to Gaussian for initial
  // weights and ends at 6.
  float Gaussian() {
    std::int64_t sum = 0;
    for (int i = 0; i < 12; ++i) sum += static_cast<std::int64_t>(Next() >> 40);
    return static_cast<float>(sum - 6 * (std::int64_t{1} << 24)) * 0x1p-24f;
  }

 private:
  std::uint64_t state_;
};

}  // namespace downpour::worker
