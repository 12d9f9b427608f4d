#include "kernels/cpu/window_max_pool2d.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "kernels/avx512.h"
#include "kernels/cpu/parallel_for.h"

namespace downpour::kernels::cpu {
namespace {

// The largest of each of some columns, and where it is in its plane: of equals the place that comes first.
struct Largest {
  explicit Largest(std::size_t size) : values(size), places(size) {}
  std::vector<float> values;
  std::vector<std::int32_t> places;
};

[[gnu::always_inline]] inline void KeepLargerRow(const float* __restrict row, std::int32_t place, int size,
                                                 float* __restrict values, std::int32_t* __restrict places) {
  for (int x = 0; x < size; ++x) {
    const bool larger = row[x] > values[x];
    places[x] = larger ? place + x : places[x];
    values[x] = larger ? row[x] : values[x];
  }
}

[[gnu::always_inline]] inline void KeepLargerColumns(const float* __restrict from,
                                                     const std::int32_t* __restrict from_places, int stride, int size,
                                                     float* __restrict values, std::int32_t* __restrict places) {
  for (int x = 0; x < size; ++x) {
    const float value = from[x * stride];
    const std::int32_t place = from_places[x * stride];
    const bool larger = (value > values[x]) | ((value == values[x]) & (place < places[x]));
    places[x] = larger ? place : places[x];
    values[x] = larger ? value : values[x];
  }
}

// What a row of windows is made of.
struct WindowRow {
  const float* plane;
  int width;
  Pool2dSpec::Range rows;
  std::span<const std::int32_t> first_columns;  // of each window, padding left out
  int kernel;
  int stride;
  int pad;
};

// `scratch` is of all columns, padding included, which is never the largest, and kSlack more.
using PoolRowFunction = void(const WindowRow& windows, Largest* scratch, float* out, std::int32_t* places);

constexpr std::size_t kSlack = 48;

void PoolRow(const WindowRow& windows, Largest* scratch, float* out, std::int32_t* places) {
  float* const values = scratch->values.data() + windows.pad;
  std::int32_t* const value_places = scratch->places.data() + windows.pad;
  const int first = windows.rows.first * windows.width;
  for (int x = 0; x < windows.width; ++x) {
    values[x] = windows.plane[first + x];
    value_places[x] = first + x;
  }
  for (int row = windows.rows.first + 1; row < windows.rows.last; ++row) {
    const int place = row * windows.width;
    KeepLargerRow(windows.plane + place, place, windows.width, values, value_places);
  }
  const int size = static_cast<int>(windows.first_columns.size());
  for (int x = 0; x < size; ++x) {
    out[x] = values[windows.first_columns[x]];
    places[x] = value_places[windows.first_columns[x]];
  }
  for (int j = 0; j < windows.kernel; ++j) {
    KeepLargerColumns(scratch->values.data() + j, scratch->places.data() + j, windows.stride, size, out, places);
  }
}

#if defined(__x86_64__)

// Every `stride`th of what lies from `from` on.
template <typename T>
[[gnu::target("avx512f")]] inline __m512i LoadStrided(const T* from, int stride) {
  if (stride == 1) return _mm512_loadu_si512(from);
  const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i wanted = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(stride));
  if (stride == 2) return _mm512_permutex2var_epi32(_mm512_loadu_si512(from), wanted, _mm512_loadu_si512(from + 16));
  return _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), 0xffff, wanted, from, 4);
}

[[gnu::target("avx512f")]] void PoolRowAvx512(const WindowRow& windows, Largest* scratch, float* out,
                                              std::int32_t* places) {
  constexpr int kLanes = 16;
  float* const values = scratch->values.data() + windows.pad;
  std::int32_t* const value_places = scratch->places.data() + windows.pad;
  const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const auto mask = [](int count) { return static_cast<__mmask16>(count < kLanes ? (1u << count) - 1 : 0xffff); };
  for (int x = 0; x < windows.width; x += kLanes) {
    const __mmask16 there = mask(windows.width - x);
    int place = windows.rows.first * windows.width + x;
    __m512 largest = _mm512_maskz_loadu_ps(there, windows.plane + place);
    __m512i at = _mm512_add_epi32(lanes, _mm512_set1_epi32(place));
    for (int row = windows.rows.first + 1; row < windows.rows.last; ++row) {
      place += windows.width;
      const __m512 candidate = _mm512_maskz_loadu_ps(there, windows.plane + place);
      const __mmask16 larger = _mm512_cmp_ps_mask(candidate, largest, _CMP_GT_OQ);
      largest = _mm512_mask_mov_ps(largest, larger, candidate);
      at = _mm512_mask_add_epi32(at, larger, lanes, _mm512_set1_epi32(place));
    }
    _mm512_mask_storeu_ps(values + x, there, largest);
    _mm512_mask_storeu_epi32(value_places + x, there, at);
  }
  const int size = static_cast<int>(windows.first_columns.size());
  for (int x = 0; x < size; x += kLanes) {
    const __mmask16 there = mask(size - x);
    const __m512i first = _mm512_maskz_loadu_epi32(there, windows.first_columns.data() + x);
    __m512 largest = _mm512_mask_i32gather_ps(_mm512_setzero_ps(), there, first, values, 4);
    __m512i at = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), there, first, value_places, 4);
    for (int j = 0; j < windows.kernel; ++j) {
      const int column = x * windows.stride + j;
      const __m512 candidate = _mm512_castsi512_ps(LoadStrided(scratch->values.data() + column, windows.stride));
      const __m512i candidate_at = LoadStrided(scratch->places.data() + column, windows.stride);
      const __mmask16 equal = _mm512_cmp_ps_mask(candidate, largest, _CMP_EQ_OQ);
      const __mmask16 larger =
          _mm512_cmp_ps_mask(candidate, largest, _CMP_GT_OQ) | _mm512_mask_cmplt_epi32_mask(equal, candidate_at, at);
      largest = _mm512_mask_mov_ps(largest, larger, candidate);
      at = _mm512_mask_mov_epi32(at, larger, candidate_at);
    }
    _mm512_mask_storeu_ps(out + x, there, largest);
    _mm512_mask_storeu_epi32(places + x, there, at);
  }
}

PoolRowFunction* BestPoolRow() { return __builtin_cpu_supports("avx512f") ? PoolRowAvx512 : PoolRow; }

#else

PoolRowFunction* BestPoolRow() { return PoolRow; }

#endif

// Any window: the largest of its rows, for a whole row of windows, and then the largest of its columns.
class WindowMaxPool2d final : public MaxPool2d {
 public:
  WindowMaxPool2d(const Pool2dSpec& spec, int max_batch, int threads)
      : spec_(spec),
        input_(spec.input),
        output_(spec.output()),
        threads_(threads),
        places_(max_batch * output_.size()) {
    if (spec.global) {
      spec_.kernel = input_.width;
      spec_.stride = 1;
      spec_.pad = 0;
    }
    for (int y = 0; y < output_.height; ++y) rows_.push_back(spec.Window(y, input_.height));
    for (int x = 0; x < output_.width; ++x) first_columns_.push_back(spec.Window(x, input_.width).first);
    // Lanes beyond the last window read on.
    const std::size_t width = static_cast<std::size_t>(output_.width + 15) * spec_.stride + spec_.kernel;
    for (int i = 0; i < threads; ++i) {
      Largest& largest = largest_.emplace_back(std::max<std::size_t>(width, spec_.pad + input_.width) + kSlack);
      std::ranges::fill(largest.values, -std::numeric_limits<float>::infinity());
      std::ranges::fill(largest.places, std::numeric_limits<std::int32_t>::max());
    }
  }

  void Forward(ConstTensorView input, TensorView output) override {
    const std::size_t plane = static_cast<std::size_t>(input_.height) * input_.width;
    ParallelFor(input.batch, threads_, [&](int begin, int end, int part) {
      std::int32_t* places = places_.data() + begin * output_.size();
      float* out = output.sample(begin);
      for (int n = begin; n < end; ++n)
        for (int c = 0; c < output_.channels; ++c)
          for (int y = 0; y < output_.height; ++y) {
            pool_row_({input.sample(n) + c * plane, input_.width, rows_[y], first_columns_, spec_.kernel, spec_.stride,
                       spec_.pad},
                      &largest_[part], out, places);
            out += output_.width;
            places += output_.width;
          }
    });
  }

  void Backward(ConstTensorView output_gradient, TensorView input_gradient) override {
    const std::size_t plane = static_cast<std::size_t>(input_.height) * input_.width;
    const std::size_t windows = static_cast<std::size_t>(output_.height) * output_.width;
    ParallelFor(output_gradient.batch, threads_, [&](int begin, int end, int) {
      const float* dy = output_gradient.sample(begin);
      const std::int32_t* places = places_.data() + begin * output_.size();
      for (int n = begin; n < end; ++n) {
        float* dx = input_gradient.sample(n);
        std::fill_n(dx, input_.size(), 0.0f);
        for (int c = 0; c < output_.channels; ++c, dx += plane, dy += windows, places += windows) {
          for (std::size_t i = 0; i < windows; ++i) dx[places[i]] += dy[i];
        }
      }
    });
  }

 private:
  Pool2dSpec spec_;  // a global one with its kernel
  const Shape input_;
  const Shape output_;
  const int threads_;
  std::vector<Pool2dSpec::Range> rows_;      // by output row
  std::vector<std::int32_t> first_columns_;  // by output column
  PoolRowFunction* const pool_row_ = BestPoolRow();
  std::vector<Largest> largest_;      // of a row of windows, padding included; one for each thread
  std::vector<std::int32_t> places_;  // of each output, within its plane
};

}  // namespace

std::unique_ptr<MaxPool2d> MakeWindowMaxPool2d(const Pool2dSpec& spec, int max_batch, int threads) {
  return std::make_unique<WindowMaxPool2d>(spec, max_batch, threads);
}

}  // namespace downpour::kernels::cpu
