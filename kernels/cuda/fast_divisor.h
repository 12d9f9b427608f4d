// Division by a number that is known before a kernel starts: a multiplication and a shift.
#pragma once

#include <cstdint>

namespace downpour::kernels::cuda {

// Of numbers below 2^31, by one from 1 to 2^31 - 1. Granlund and Montgomery 1994, "Division by invariant integers using
// multiplication", their form with one more bit than the word has.
class FastDivisor {
 public:
  FastDivisor() : FastDivisor(1) {}
  explicit FastDivisor(std::uint32_t divisor) : divisor_(divisor) {
    while ((std::uint64_t{1} << shift_) < divisor) ++shift_;
    multiplier_ = static_cast<std::uint32_t>(
        (std::uint64_t{1} << 32) * ((std::uint64_t{1} << shift_) - divisor) / divisor + 1);
  }

  __host__ __device__ std::uint32_t divisor() const { return divisor_; }
  __device__ std::uint32_t Divide(std::uint32_t n) const { return (__umulhi(n, multiplier_) + n) >> shift_; }
  __device__ std::uint32_t Remainder(std::uint32_t n) const { return n - Divide(n) * divisor_; }

 private:
  std::uint32_t divisor_;
  std::uint32_t shift_ = 0;
  std::uint32_t multiplier_;
};

}  // namespace downpour::kernels::cuda
