// The mean loss of each epoch, of the partition that one worker trains.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace downpour::worker {

// Allocates at construction alone. One thread.
class EpochLosses {
 public:
  static constexpr std::size_t kMost = 1000;  // epochs that are kept, the first ones

  EpochLosses(std::uint64_t partition_samples, std::uint32_t epochs)
      : partition_samples_(partition_samples), sums_(partition_samples == 0 ? 0 : std::min<std::size_t>(epochs, kMost)) {}

  // A batch of `size` samples that ends at `position`, counted over all epochs; within one of them. A loss that is not
  // finite does not count.
  void Add(std::uint64_t position, int size, float loss) {
    if (partition_samples_ == 0 || !std::isfinite(loss)) return;
    const std::uint64_t epoch = (position - 1) / partition_samples_;
    if (epoch >= sums_.size()) return;
    sums_[epoch].loss += double{loss} * size;
    sums_[epoch].samples += size;
    begun_ = std::max<std::size_t>(begun_, epoch + 1);
  }

  // From the first epoch to the last that was begun; NaN for one of which nothing was seen, as by a later attempt.
  std::vector<double> Means() const {
    std::vector<double> means;
    for (std::size_t i = 0; i < begun_; ++i) {
      means.push_back(sums_[i].samples == 0 ? std::numeric_limits<double>::quiet_NaN() : sums_[i].loss / sums_[i].samples);
    }
    return means;
  }

 private:
  struct Sum {
    double loss = 0;
    double samples = 0;
  };

  std::uint64_t partition_samples_;
  std::vector<Sum> sums_;
  std::size_t begun_ = 0;
};

}  // namespace downpour::worker
