// Vectors of AVX-512, and what is counted in them.
#pragma once

namespace downpour::kernels::cpu {

constexpr int kLanes = 16;  // floats

constexpr int CeilDivide(int a, int b) { return (a + b - 1) / b; }
constexpr int RoundUp(int value, int multiple) { return CeilDivide(value, multiple) * multiple; }

}  // namespace downpour::kernels::cpu
