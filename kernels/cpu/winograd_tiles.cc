#include "kernels/cpu/winograd_tiles.h"

#include "kernels/avx512.h"
#include "kernels/cpu/channel_lanes.h"

#if defined(__x86_64__)

namespace downpour::kernels::cpu {
namespace {

// The one-dimensional transforms. Each is applied to rows, then to columns.

// 4 0 -5  0 1 0
// 0 -4 -4 1 1 0
// 0 4 -4 -1 1 0
// 0 -2 -1 2 1 0
// 0 2 -1 -2 1 0
// 0 4 0 -5  0 1
struct OfInput {
  static constexpr int kFrom = 6, kTo = 6;
  DOWNPOUR_AVX512 static inline void Apply(const __m512* d, __m512* to) {
    const __m512 two = _mm512_set1_ps(2), four = _mm512_set1_ps(4), five = _mm512_set1_ps(5);
    const __m512 even = _mm512_fnmadd_ps(four, d[2], d[4]), odd = _mm512_fnmadd_ps(four, d[1], d[3]);
    const __m512 even2 = _mm512_sub_ps(d[4], d[2]), odd2 = _mm512_sub_ps(d[3], d[1]);
    to[0] = _mm512_fmadd_ps(four, d[0], _mm512_fnmadd_ps(five, d[2], d[4]));
    to[1] = _mm512_add_ps(even, odd);
    to[2] = _mm512_sub_ps(even, odd);
    to[3] = _mm512_fmadd_ps(two, odd2, even2);
    to[4] = _mm512_fnmadd_ps(two, odd2, even2);
    to[5] = _mm512_fmadd_ps(four, d[1], _mm512_fnmadd_ps(five, d[3], d[5]));
  }
};

//  1/4    0     0
// -1/6  -1/6  -1/6
// -1/6   1/6  -1/6
//  1/24  1/12  1/6
//  1/24 -1/12  1/6
//   0     0     1
struct OfWindow3 {
  static constexpr int kFrom = 3, kTo = 6;
  DOWNPOUR_AVX512 static inline void Apply(const __m512* g, __m512* to) {
    const __m512 sixth = _mm512_set1_ps(1.0f / 6), twelfth = _mm512_set1_ps(1.0f / 12);
    const __m512 ends = _mm512_mul_ps(_mm512_add_ps(g[0], g[2]), sixth), middle = _mm512_mul_ps(g[1], sixth);
    const __m512 ends2 = _mm512_fmadd_ps(g[0], _mm512_set1_ps(1.0f / 24), _mm512_mul_ps(g[2], sixth));
    const __m512 middle2 = _mm512_mul_ps(g[1], twelfth);
    to[0] = _mm512_mul_ps(g[0], _mm512_set1_ps(0.25f));
    to[1] = _mm512_sub_ps(_mm512_setzero_ps(), _mm512_add_ps(ends, middle));
    to[2] = _mm512_sub_ps(middle, ends);
    to[3] = _mm512_add_ps(ends2, middle2);
    to[4] = _mm512_sub_ps(ends2, middle2);
    to[5] = g[2];
  }
};

// 1 1  1 1  1 0
// 0 1 -1 2 -2 0
// 0 1  1 4  4 0
// 0 1 -1 8 -8 1
struct OfOutput4 {
  static constexpr int kFrom = 6, kTo = 4;
  DOWNPOUR_AVX512 static inline void Apply(const __m512* m, __m512* to) {
    const __m512 sum = _mm512_add_ps(m[1], m[2]), difference = _mm512_sub_ps(m[1], m[2]);
    const __m512 sum2 = _mm512_add_ps(m[3], m[4]), difference2 = _mm512_sub_ps(m[3], m[4]);
    to[0] = _mm512_add_ps(m[0], _mm512_add_ps(sum, sum2));
    to[1] = _mm512_fmadd_ps(_mm512_set1_ps(2), difference2, difference);
    to[2] = _mm512_fmadd_ps(_mm512_set1_ps(4), sum2, sum);
    to[3] = _mm512_add_ps(_mm512_fmadd_ps(_mm512_set1_ps(8), difference2, difference), m[5]);
  }
};

// The transposed of OfOutput4.
struct OfGradient4 {
  static constexpr int kFrom = 4, kTo = 6;
  DOWNPOUR_AVX512 static inline void Apply(const __m512* y, __m512* to) {
    const __m512 even = _mm512_add_ps(y[0], y[2]), odd = _mm512_add_ps(y[1], y[3]);
    const __m512 even2 = _mm512_fmadd_ps(_mm512_set1_ps(4), y[2], y[0]);
    const __m512 odd2 = _mm512_fmadd_ps(_mm512_set1_ps(8), y[3], _mm512_add_ps(y[1], y[1]));
    to[0] = y[0];
    to[1] = _mm512_add_ps(even, odd);
    to[2] = _mm512_sub_ps(even, odd);
    to[3] = _mm512_add_ps(even2, odd2);
    to[4] = _mm512_sub_ps(even2, odd2);
    to[5] = y[3];
  }
};

// The transposed of OfWindow3.
struct OfWindow3Gradient {
  static constexpr int kFrom = 6, kTo = 3;
  DOWNPOUR_AVX512 static inline void Apply(const __m512* u, __m512* to) {
    const __m512 sixth = _mm512_set1_ps(1.0f / 6);
    const __m512 sum = _mm512_mul_ps(_mm512_add_ps(u[1], u[2]), sixth);
    const __m512 sum2 = _mm512_add_ps(u[3], u[4]), difference2 = _mm512_sub_ps(u[3], u[4]);
    to[0] = _mm512_fmadd_ps(u[0], _mm512_set1_ps(0.25f), _mm512_fmsub_ps(sum2, _mm512_set1_ps(1.0f / 24), sum));
    to[1] = _mm512_fmadd_ps(difference2, _mm512_set1_ps(1.0f / 12), _mm512_mul_ps(_mm512_sub_ps(u[2], u[1]), sixth));
    to[2] = _mm512_add_ps(_mm512_fmsub_ps(sum2, sixth, sum), u[5]);
  }
};

// 1/4    0     0     0    0
// -1/6 -1/6  -1/6  -1/6 -1/6
// -1/6  1/6  -1/6   1/6 -1/6
// 1/24  1/12  1/6   1/3  2/3
// 1/24 -1/12  1/6  -1/3  2/3
//  0     0     0     0    1
struct OfWindow5 {
  static constexpr int kFrom = 5, kTo = 6;
  DOWNPOUR_AVX512 static inline void Apply(const __m512* g, __m512* to) {
    const __m512 sixth = _mm512_set1_ps(1.0f / 6), four = _mm512_set1_ps(4);
    const __m512 even = _mm512_mul_ps(_mm512_add_ps(_mm512_add_ps(g[0], g[2]), g[4]), sixth);
    const __m512 odd = _mm512_mul_ps(_mm512_add_ps(g[1], g[3]), sixth);
    const __m512 even2 =
        _mm512_mul_ps(_mm512_fmadd_ps(_mm512_fmadd_ps(g[4], four, g[2]), four, g[0]), _mm512_set1_ps(1.0f / 24));
    const __m512 odd2 = _mm512_mul_ps(_mm512_fmadd_ps(g[3], four, g[1]), _mm512_set1_ps(1.0f / 12));
    to[0] = _mm512_mul_ps(g[0], _mm512_set1_ps(0.25f));
    to[1] = _mm512_sub_ps(_mm512_setzero_ps(), _mm512_add_ps(even, odd));
    to[2] = _mm512_sub_ps(odd, even);
    to[3] = _mm512_add_ps(even2, odd2);
    to[4] = _mm512_sub_ps(even2, odd2);
    to[5] = g[4];
  }
};

// 1 1  1 1  1 0
// 0 1 -1 2 -2 1
struct OfOutput2 {
  static constexpr int kFrom = 6, kTo = 2;
  DOWNPOUR_AVX512 static inline void Apply(const __m512* m, __m512* to) {
    const __m512 sum = _mm512_add_ps(_mm512_add_ps(m[1], m[2]), _mm512_add_ps(m[3], m[4]));
    to[0] = _mm512_add_ps(m[0], sum);
    to[1] =
        _mm512_add_ps(_mm512_fmadd_ps(_mm512_set1_ps(2), _mm512_sub_ps(m[3], m[4]), _mm512_sub_ps(m[1], m[2])), m[5]);
  }
};

// The transposed of OfOutput2.
struct OfGradient2 {
  static constexpr int kFrom = 2, kTo = 6;
  DOWNPOUR_AVX512 static inline void Apply(const __m512* y, __m512* to) {
    const __m512 two = _mm512_set1_ps(2);
    to[0] = y[0];
    to[1] = _mm512_add_ps(y[0], y[1]);
    to[2] = _mm512_sub_ps(y[0], y[1]);
    to[3] = _mm512_fmadd_ps(two, y[1], y[0]);
    to[4] = _mm512_fnmadd_ps(two, y[1], y[0]);
    to[5] = y[1];
  }
};

// The transposed of OfWindow5.
struct OfWindow5Gradient {
  static constexpr int kFrom = 6, kTo = 5;
  DOWNPOUR_AVX512 static inline void Apply(const __m512* u, __m512* to) {
    const __m512 sixth = _mm512_set1_ps(1.0f / 6), four = _mm512_set1_ps(4);
    const __m512 even = _mm512_mul_ps(_mm512_add_ps(u[1], u[2]), sixth),
                 odd = _mm512_mul_ps(_mm512_sub_ps(u[1], u[2]), sixth);
    // Times 1, 2, 4, 8 and 16.
    const __m512 even2 = _mm512_mul_ps(_mm512_add_ps(u[3], u[4]), _mm512_set1_ps(1.0f / 24));
    const __m512 odd2 = _mm512_mul_ps(_mm512_sub_ps(u[3], u[4]), _mm512_set1_ps(1.0f / 12));
    to[0] = _mm512_fmadd_ps(u[0], _mm512_set1_ps(0.25f), _mm512_sub_ps(even2, even));
    to[1] = _mm512_sub_ps(odd2, odd);
    to[2] = _mm512_fmsub_ps(even2, four, even);
    to[3] = _mm512_fmsub_ps(odd2, four, odd);
    to[4] = _mm512_add_ps(_mm512_fmsub_ps(even2, _mm512_set1_ps(16), even), u[5]);
  }
};

// Value (i, j) of what comes in is at from + i * from_row + j * from_column, of what goes out likewise.
template <typename Transform>
DOWNPOUR_AVX512 inline void Both(const float* from, std::size_t from_row, std::size_t from_column, float* to,
                                 std::size_t to_row, std::size_t to_column) {
  constexpr int kFrom = Transform::kFrom, kTo = Transform::kTo;
  __m512 half[kTo][kFrom];  // columns of rows transformed
  for (int i = 0; i < kFrom; ++i, from += from_row) {
    __m512 row[kFrom], transformed[kTo];
    for (int j = 0; j < kFrom; ++j) row[j] = _mm512_load_ps(from + j * from_column);
    Transform::Apply(row, transformed);
    for (int j = 0; j < kTo; ++j) half[j][i] = transformed[j];
  }
  for (int j = 0; j < kTo; ++j, to += to_column) {
    __m512 column[kTo];
    Transform::Apply(half[j], column);
    for (int i = 0; i < kTo; ++i) _mm512_store_ps(to + i * to_row, column[i]);
  }
}

template <typename Transform>
DOWNPOUR_AVX512 void Window(const float* from, bool turned, float* to, std::size_t plane) {
  constexpr std::size_t kSide = Transform::kFrom, kBack = -static_cast<std::size_t>(kLanes);
  if (turned) {
    Both<Transform>(from + (kSide * kSide - 1) * kLanes, kSide * kBack, kBack, to, kTileInputs * plane, plane);
  } else {
    Both<Transform>(from, kSide * kLanes, kLanes, to, kTileInputs * plane, plane);
  }
}

template <typename Transform>
DOWNPOUR_AVX512 void Output(const float* from, std::size_t plane, float* to, std::size_t row) {
  Both<Transform>(from, kTileInputs * plane, plane, to, row, kLanes);
}

template <typename Transform>
DOWNPOUR_AVX512 void Gradient(const float* from, std::size_t row, float* to, std::size_t plane) {
  Both<Transform>(from, row, kLanes, to, kTileInputs * plane, plane);
}

template <typename Transform>
DOWNPOUR_AVX512 void WindowGradient(const float* from, std::size_t plane, float* to) {
  Both<Transform>(from, kTileInputs * plane, plane, to, Transform::kTo * kLanes, kLanes);
}

}  // namespace

const WinogradTransforms& TransformsOf(int kernel) {
  static constexpr WinogradTransforms kOf3{4, Window<OfWindow3>, Output<OfOutput4>, Gradient<OfGradient4>,
                                           WindowGradient<OfWindow3Gradient>};
  static constexpr WinogradTransforms kOf5{2, Window<OfWindow5>, Output<OfOutput2>, Gradient<OfGradient2>,
                                           WindowGradient<OfWindow5Gradient>};
  return kernel == 3 ? kOf3 : kOf5;
}

DOWNPOUR_AVX512 void TransformInput(const float* from, std::size_t row, float* to, std::size_t plane) {
  Both<OfInput>(from, row, kLanes, to, kTileInputs * plane, plane);
}

}  // namespace downpour::kernels::cpu

#endif
