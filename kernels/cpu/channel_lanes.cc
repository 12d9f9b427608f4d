#include "kernels/cpu/channel_lanes.h"

#include <algorithm>

#include "kernels/avx512.h"

#if defined(__x86_64__)

namespace downpour::kernels::cpu {
namespace {

// Within each quarter of four vectors, rows become columns.
DOWNPOUR_AVX512 inline void TransposeQuarters(__m512* v) {
  const __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(v[0], v[1])),
                b = _mm512_castps_pd(_mm512_unpackhi_ps(v[0], v[1])),
                c = _mm512_castps_pd(_mm512_unpacklo_ps(v[2], v[3])),
                d = _mm512_castps_pd(_mm512_unpackhi_ps(v[2], v[3]));
  v[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
  v[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
  v[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
  v[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
}

// Rows become columns.
DOWNPOUR_AVX512 inline void Transpose(__m512* v) {
  for (int i = 0; i < kLanes; i += 4) TransposeQuarters(v + i);
  for (int k = 0; k < 4; ++k) {
    const __m512 a = _mm512_shuffle_f32x4(v[k], v[k + 4], 0x44), b = _mm512_shuffle_f32x4(v[k], v[k + 4], 0xee),
                 c = _mm512_shuffle_f32x4(v[k + 8], v[k + 12], 0x44),
                 d = _mm512_shuffle_f32x4(v[k + 8], v[k + 12], 0xee);
    v[k] = _mm512_shuffle_f32x4(a, c, 0x88);
    v[k + 4] = _mm512_shuffle_f32x4(a, c, 0xdd);
    v[k + 8] = _mm512_shuffle_f32x4(b, d, 0x88);
    v[k + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
  }
}

// Walks the vectors of a LaneRows.
class LaneWalk {
 public:
  explicit LaneWalk(const LaneRows& rows) : width_(rows.width), step_((rows.pitch - rows.width) * kLanes) {}

  // Where the next one lies, in floats from the first.
  std::size_t Next() {
    const std::size_t at = at_;
    at_ += kLanes;
    if (++x_ == width_) {
      x_ = 0;
      at_ += step_;
    }
    return at;
  }

 private:
  const int width_;
  const std::size_t step_;  // modulo 2^64: rows may overlap
  int x_ = 0;
  std::size_t at_ = 0;
};

}  // namespace

DOWNPOUR_AVX512 void ToLanes(const float* planes, std::size_t stride, int planes_count, const LaneRows& rows,
                             float* to) {
  LaneWalk places(rows);
  for (int i = 0; i < rows.count; i += kLanes, planes += kLanes) {
    const int some = std::min(kLanes, rows.count - i);
    const auto there = static_cast<__mmask16>((1u << some) - 1);
    __m512 v[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
      v[lane] = lane < planes_count ? _mm512_maskz_loadu_ps(there, planes + lane * stride) : _mm512_setzero_ps();
    }
    Transpose(v);
    if (some == kLanes) {
      for (const __m512& each : v) _mm512_store_ps(to + places.Next(), each);
    } else {
      for (int k = 0; k < some; ++k) _mm512_store_ps(to + places.Next(), v[k]);
    }
  }
}

DOWNPOUR_AVX512 void FromLanes(const float* lanes, const LaneRows& rows, const float* bias, int planes_count, float* to,
                               std::size_t stride) {
  const __m512 base = bias == nullptr ? _mm512_setzero_ps()
                                      : _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << planes_count) - 1), bias);
  LaneWalk places(rows);
  for (int i = 0; i < rows.count; i += kLanes, to += kLanes) {
    const int some = std::min(kLanes, rows.count - i);
    const auto there = static_cast<__mmask16>((1u << some) - 1);
    __m512 v[kLanes];
    for (int k = 0; k < kLanes; ++k)
      v[k] = k < some ? _mm512_add_ps(_mm512_load_ps(lanes + places.Next()), base) : base;
    Transpose(v);
    for (int lane = 0; lane < planes_count; ++lane) _mm512_mask_storeu_ps(to + lane * stride, there, v[lane]);
  }
}

}  // namespace downpour::kernels::cpu

#endif
