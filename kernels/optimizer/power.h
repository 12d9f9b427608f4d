// Powers by multiplications alone: a library's pow may differ between CPUs in the last bit.
#pragma once

#include <cstdint>

namespace downpour::kernels {

inline double Power(double base, uint64_t exponent) {
  double result = 1;
  for (; exponent != 0; exponent >>= 1, base *= base) {
    if (exponent & 1) result *= base;
  }
  return result;
}

}  // namespace downpour::kernels
