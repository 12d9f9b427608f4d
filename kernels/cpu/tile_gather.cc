#include "kernels/cpu/tile_gather.h"

#if defined(__x86_64__)

#include <algorithm>

#include "kernels/avx512.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/tiles.h"

namespace downpour::kernels::cpu {
namespace {

// Behind the last row: what the widest block of sums, and the longest step over positions, read too much.
constexpr int kSlack = 64;
// So few places of a window are elements each, and one product takes them all.
constexpr int kFewPlaces = 32;

}  // namespace

TileGather::TileGather(const GatherSpec& spec) : spec_(spec), neighbours_(spec.step == 1 && spec.spread == 1) {
  const int k = spec.kernel, channels = spec.input.channels;
  const bool shared = spec.step == 1 && channels * k * k > kFewPlaces;
  window_rows_ = shared ? k : 1;
  rows_ = spec.height + (window_rows_ - 1) * spec.dilation;
  vectors_ = (spec.width + kLanes - 1) / kLanes;
  for (int i = 0; i < (shared ? 1 : k); ++i)
    for (int j = 0; j < k; ++j)
      for (int c = 0; c < channels; ++c) {
        places_.push_back({c, i, j, static_cast<std::size_t>(c) * spec.input.height * spec.input.width});
      }
  elements_ = static_cast<int>(places_.size());
  // An odd number of cache lines, lest the rows of a tile fall into one set of the cache.
  const std::size_t lines = (static_cast<std::size_t>(rows_) * spec.width + kSlack + kLanes - 1) / kLanes;
  plane_ = (lines | 1) * kLanes;

  // What is at a place of the input with its zeros between and around; below 0 where that is zero.
  const auto at = [&](int place, int size) {
    return place < 0 || place % spec.spread != 0 || place / spec.spread >= size ? -1 : place / spec.spread;
  };
  for (int i = 0; i < (shared ? 1 : k); ++i)
    for (int y = 0; y < rows_; ++y) {
      const int row = at(y * spec.step + i * spec.dilation - spec.pad, spec.input.height);
      row_offsets_.push_back(row < 0 ? -1 : row * spec.input.width);
    }
  for (int j = 0; j < k; ++j)
    for (int v = 0; v < vectors_; ++v) {
      Lanes& lanes = lanes_.emplace_back();
      lanes.first = v * kLanes * spec.step + j * spec.dilation - spec.pad;
      for (int lane = 0; lane < std::min(kLanes, spec.width - v * kLanes); ++lane) {
        const int column = at(lanes.first + lane * spec.step, spec.input.width);
        if (column < 0) continue;
        lanes.taken |= 1u << lane;
        lanes.columns[lane] = column;
      }
    }
}

TileGather::Place TileGather::PlaceOf(int element, int row) const {
  const Element& place = places_[element];
  return {place.channel, place.row + row, place.column};
}

namespace {

template <bool kNeighbours, typename Lanes>
DOWNPOUR_AMX inline __m512 Take(const float* row, const Lanes& lanes) {
  if constexpr (kNeighbours) {
    return _mm512_maskz_loadu_ps(lanes.taken, row + lanes.first);
  } else {
    if (lanes.taken == 0) return _mm512_setzero_ps();
    return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), lanes.taken, _mm512_loadu_si512(lanes.columns), row, 4);
  }
}

}  // namespace

template <bool kNeighbours>
DOWNPOUR_AMX void TileGather::FillPairsBy(const float* image, std::uint32_t* to) const {
  // From halves 0 to 15 and 16 to 31 to pairs of one of each.
  alignas(64) std::uint16_t order[2 * kLanes];
  for (int i = 0; i < 2 * kLanes; ++i) order[i] = static_cast<std::uint16_t>(i / 2 + i % 2 * kLanes);
  const __m512i interleaved = _mm512_load_si512(order);
  const int last_width = spec_.width - (vectors_ - 1) * kLanes;
  const auto last = static_cast<__mmask16>((1u << last_width) - 1);
  for (int element = 0; element < elements_; element += 2, to += plane_) {
    const bool alone = element + 1 == elements_;
    const Element& a = places_[element];
    const Element& b = places_[alone ? element : element + 1];
    const std::int32_t *const rows_a = RowsOf(a), *const rows_b = RowsOf(b);
    const Lanes *const lanes_a = LanesOf(a), *const lanes_b = LanesOf(b);
    std::uint32_t* at = to;
    for (int y = 0; y < rows_; ++y, at += spec_.width) {
      const bool has_a = rows_a[y] >= 0, has_b = !alone && rows_b[y] >= 0;
      if (!has_a && !has_b) continue;
      const float *const row_a = image + a.plane + rows_a[y], *const row_b = image + b.plane + rows_b[y];
      for (int v = 0; v < vectors_; ++v) {
        const __m512 first = has_a ? Take<kNeighbours>(row_a, lanes_a[v]) : _mm512_setzero_ps();
        const __m512 second = has_b ? Take<kNeighbours>(row_b, lanes_b[v]) : _mm512_setzero_ps();
        const __m512i both = _mm512_permutexvar_epi16(interleaved, (__m512i)_mm512_cvtne2ps_pbh(second, first));
        _mm512_mask_storeu_epi32(at + v * kLanes, v + 1 < vectors_ ? __mmask16{0xffff} : last, both);
      }
    }
  }
}

template <bool kNeighbours>
DOWNPOUR_AMX void TileGather::FillPlanesBy(const float* image, std::uint16_t* to) const {
  const int last_width = spec_.width - (vectors_ - 1) * kLanes;
  const auto last = static_cast<__mmask16>((1u << last_width) - 1);
  for (const Element& element : places_) {
    const std::int32_t* const rows = RowsOf(element);
    const Lanes* const lanes = LanesOf(element);
    std::uint16_t* at = to;
    for (int y = 0; y < rows_; ++y, at += spec_.width) {
      if (rows[y] < 0) continue;
      const float* const row = image + element.plane + rows[y];
      for (int v = 0; v < vectors_; ++v) {
        const __m256i halves = (__m256i)_mm512_cvtneps_pbh(Take<kNeighbours>(row, lanes[v]));
        _mm256_mask_storeu_epi16(at + v * kLanes, v + 1 < vectors_ ? __mmask16{0xffff} : last, halves);
      }
    }
    to += plane_;
  }
}

void TileGather::FillPairs(const float* image, std::uint32_t* to) const {
  neighbours_ ? FillPairsBy<true>(image, to) : FillPairsBy<false>(image, to);
}

void TileGather::FillPlanes(const float* image, std::uint16_t* to) const {
  neighbours_ ? FillPlanesBy<true>(image, to) : FillPlanesBy<false>(image, to);
}

}  // namespace downpour::kernels::cpu

#endif
