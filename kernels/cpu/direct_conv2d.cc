// With its zeros around it, an image is one long line: what a window's place takes from it for all outputs is that line
// from an offset on, and so is every output, but for a few between two rows that nobody asks for. All passes are sums
// of lines times numbers, or of lines times lines, kept in registers:
//
//   forward          a stretch of 3 vectors of the line for 8 outputs, over all channels and places of the window
//   input gradient   the same of the output's gradient, with zeros around it, and the weights turned around
//   weight gradient  6 places of windows for 4 outputs, over the whole line of a few samples
#include "kernels/cpu/direct_conv2d.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/avx512.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/vector_ops.h"

#if defined(__x86_64__)

namespace downpour::kernels::cpu {
namespace {

constexpr int kVectors = 3;  // of a stretch
constexpr int kMaps = 8;     // outputs at a time
constexpr int kGradientMaps = 4;
constexpr int kGradientTaps = 6;

// How planes of one height and width lie as a line, zeros around them.
struct Line {
  int height;
  int width;
  int pad;
  int rows;   // zeros included
  int pitch;  // from one row to the next

  Line(int height, int width, int pad)
      : height(height), width(width), pad(pad), rows(height + 2 * pad), pitch(width + 2 * pad) {}
  std::size_t plane() const { return static_cast<std::size_t>(rows) * pitch; }
};

// Small planes of several samples make a line together.
int SamplesOfGroup(const Line& line) { return std::clamp(static_cast<int>(512 / line.plane()), 1, 8); }

// Writes a plane into a line whose zeros are there already.
void Lay(const float* plane, const Line& line, float* to) {
  to += static_cast<std::size_t>(line.pad) * line.pitch + line.pad;
  for (int y = 0; y < line.height; ++y, plane += line.width, to += line.pitch) {
    std::memcpy(to, plane, line.width * sizeof(float));
  }
}

// What a window's places take of the lines of all channels: the offset of each.
std::vector<std::int32_t> Offsets(int channels, int kernel, std::size_t of_channel, int pitch) {
  std::vector<std::int32_t> offsets;
  for (int c = 0; c < channels; ++c)
    for (int i = 0; i < kernel; ++i)
      for (int j = 0; j < kernel; ++j) offsets.push_back(static_cast<std::int32_t>(c * of_channel + i * pitch + j));
  return offsets;
}

// to[m][0 .. 16 * kCount) = the sum over taps of weights[tap][m] * from[offsets[tap] ...].
template <int kRows, int kCount>
DOWNPOUR_AVX512 void SumTaps(const float* from, const std::int32_t* offsets, int taps, const float* weights, float* to,
                             std::size_t to_pitch) {
  __m512 sums[kRows][kCount];
  for (auto& row : sums)
    for (auto& sum : row) sum = _mm512_setzero_ps();
  for (int tap = 0; tap < taps; ++tap, weights += kRows) {
    const float* const at = from + offsets[tap];
    __m512 x[kCount];
    for (int v = 0; v < kCount; ++v) x[v] = _mm512_loadu_ps(at + v * kLanes);
    for (int m = 0; m < kRows; ++m) {
      const __m512 w = _mm512_set1_ps(weights[m]);
      for (int v = 0; v < kCount; ++v) sums[m][v] = _mm512_fmadd_ps(w, x[v], sums[m][v]);
    }
  }
  for (int m = 0; m < kRows; ++m)
    for (int v = 0; v < kCount; ++v) _mm512_storeu_ps(to + m * to_pitch + v * kLanes, sums[m][v]);
}

// A block of outputs over a line of `vectors` vectors.
template <int kRows>
DOWNPOUR_AVX512 void SumLine(const float* from, const std::int32_t* offsets, int taps, const float* weights,
                             int vectors, float* to, std::size_t to_pitch) {
  int v = 0;
  for (; v + kVectors <= vectors; v += kVectors) {
    SumTaps<kRows, kVectors>(from + v * kLanes, offsets, taps, weights, to + v * kLanes, to_pitch);
  }
  if (vectors - v == 2) SumTaps<kRows, 2>(from + v * kLanes, offsets, taps, weights, to + v * kLanes, to_pitch);
  if (vectors - v == 1) SumTaps<kRows, 1>(from + v * kLanes, offsets, taps, weights, to + v * kLanes, to_pitch);
}

void SumLineOf(int rows, const float* from, const std::int32_t* offsets, int taps, const float* weights, int vectors,
               float* to, std::size_t to_pitch) {
  switch (rows) {
    case 8: return SumLine<8>(from, offsets, taps, weights, vectors, to, to_pitch);
    case 7: return SumLine<7>(from, offsets, taps, weights, vectors, to, to_pitch);
    case 6: return SumLine<6>(from, offsets, taps, weights, vectors, to, to_pitch);
    case 5: return SumLine<5>(from, offsets, taps, weights, vectors, to, to_pitch);
    case 4: return SumLine<4>(from, offsets, taps, weights, vectors, to, to_pitch);
    case 3: return SumLine<3>(from, offsets, taps, weights, vectors, to, to_pitch);
    case 2: return SumLine<2>(from, offsets, taps, weights, vectors, to, to_pitch);
    case 1: return SumLine<1>(from, offsets, taps, weights, vectors, to, to_pitch);
  }
}

// In lane 4 * i + k the sum of the lanes of v[4 * k + i].
DOWNPOUR_AVX512 inline __m512 SumsOf(const __m512* v) {
  __m512 quarters[4];
  for (int i = 0; i < 4; ++i) {
    __m512 halves[2];
    for (int j = 0; j < 2; ++j) {
      const __m512 a = v[4 * i + 2 * j], b = v[4 * i + 2 * j + 1];
      halves[j] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    }
    quarters[i] = _mm512_add_ps(_mm512_shuffle_f32x4(halves[0], halves[1], 0x88),
                                _mm512_shuffle_f32x4(halves[0], halves[1], 0xdd));
  }
  __m512 pairs[2];
  for (int i = 0; i < 2; ++i) {
    pairs[i] = _mm512_add_ps(_mm512_unpacklo_ps(quarters[2 * i], quarters[2 * i + 1]),
                             _mm512_unpackhi_ps(quarters[2 * i], quarters[2 * i + 1]));
  }
  const __m512d first = _mm512_castps_pd(pairs[0]), second = _mm512_castps_pd(pairs[1]);
  return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(first, second)),
                       _mm512_castpd_ps(_mm512_unpackhi_pd(first, second)));
}

// Rows of a line become rows of a plane, with a number added to each value.
DOWNPOUR_AVX512 void CopyRows(const float* from, std::size_t pitch, int rows, int columns, float add, float* to) {
  const __m512 base = _mm512_set1_ps(add);
  const auto rest = static_cast<__mmask16>((1u << columns % kLanes) - 1);
  for (int y = 0; y < rows; ++y, from += pitch, to += columns) {
    int x = 0;
    for (; x + kLanes <= columns; x += kLanes) {
      _mm512_storeu_ps(to + x, _mm512_add_ps(_mm512_loadu_ps(from + x), base));
    }
    if (rest != 0) _mm512_mask_storeu_ps(to + x, rest, _mm512_add_ps(_mm512_maskz_loadu_ps(rest, from + x), base));
  }
}

// sums[m][t] += the sum over the line of gradients[m] times source from offsets[t] on.
DOWNPOUR_AVX512 void AddProducts(const float* gradients, std::size_t pitch, const float* source,
                                 const std::int32_t* offsets, int vectors, float (*sums)[kGradientTaps]) {
  __m512 products[kGradientMaps][kGradientTaps];
  for (auto& row : products)
    for (auto& product : row) product = _mm512_setzero_ps();
  for (int v = 0; v < vectors; ++v, gradients += kLanes, source += kLanes) {
    __m512 g[kGradientMaps];
    for (int m = 0; m < kGradientMaps; ++m) g[m] = _mm512_load_ps(gradients + m * pitch);
    for (int t = 0; t < kGradientTaps; ++t) {
      const __m512 x = _mm512_loadu_ps(source + offsets[t]);
      for (int m = 0; m < kGradientMaps; ++m) products[m][t] = _mm512_fmadd_ps(g[m], x, products[m][t]);
    }
  }
  constexpr int kAll = kGradientMaps * kGradientTaps;
  static_assert(kAll % kLanes == kLanes / 2);
  const __m512* const all = &products[0][0];
  __m512 last[kLanes];
  for (int i = 0; i < kLanes; ++i) last[i] = i < kAll - kLanes ? all[kLanes + i] : _mm512_setzero_ps();
  alignas(64) float found[2 * kLanes];
  _mm512_store_ps(found, SumsOf(all));
  _mm512_store_ps(found + kLanes, SumsOf(last));
  float* const to = &sums[0][0];
  for (int i = 0; i < kAll; ++i) {
    const int in_block = i % kLanes;
    to[i] += found[i / kLanes * kLanes + in_block % 4 * 4 + in_block / 4];
  }
}

// One direction: sums of a source's lines, for each output.
class LineSums {
 public:
  LineSums(int channels, const Line& line, int kernel, int outputs, int height, int width)
      : line_(line),
        channels_(channels),
        outputs_(outputs),
        height_(height),
        width_(width),
        taps_(channels * kernel * kernel),
        vectors_(RoundUp((height - 1) * line.pitch + width, kLanes) / kLanes),
        offsets_(Offsets(channels, kernel, line.plane(), line.pitch)),
        weights_(static_cast<std::size_t>(RoundUp(outputs, kMaps)) * taps_) {}

  std::size_t source_floats() const { return channels_ * line_.plane() + (kVectors + 1) * kLanes; }
  std::size_t result_floats() const { return static_cast<std::size_t>(kMaps) * vectors_ * kLanes; }

  // weight_at(output, tap) for all of them, as Run reads them.
  template <typename WeightAt>
  void SetWeights(WeightAt weight_at) {
    float* to = weights_.data();
    for (int first = 0; first < outputs_; first += kMaps) {
      const int rows = std::min(kMaps, outputs_ - first);
      for (int tap = 0; tap < taps_; ++tap)
        for (int m = 0; m < rows; ++m) *to++ = weight_at(first + m, tap);
    }
  }

  // One sample. `source` has source_floats(), zeros around the planes; `lines` result_floats(). No bias where it is
  // null.
  void Run(const float* sample, const float* bias, float* source, float* lines, float* result) const {
    const std::size_t size = static_cast<std::size_t>(line_.height) * line_.width;
    for (int c = 0; c < channels_; ++c) Lay(sample + c * size, line_, source + c * line_.plane());
    const std::size_t pitch = static_cast<std::size_t>(vectors_) * kLanes;
    const float* weights = weights_.data();
    for (int first = 0; first < outputs_; first += kMaps) {
      const int rows = std::min(kMaps, outputs_ - first);
      SumLineOf(rows, source, offsets_.data(), taps_, weights, vectors_, lines, pitch);
      weights += static_cast<std::size_t>(rows) * taps_;
      for (int m = 0; m < rows; ++m) {
        const float base = bias == nullptr ? 0 : bias[first + m];
        CopyRows(lines + m * pitch, line_.pitch, height_, width_, base, result);
        result += static_cast<std::size_t>(height_) * width_;
      }
    }
  }

 private:
  const Line line_;
  const int channels_, outputs_, height_, width_;
  const int taps_;
  const int vectors_;
  const std::vector<std::int32_t> offsets_;
  AlignedBuffer weights_;
};

class DirectConv2d final : public Conv2d {
 public:
  DirectConv2d(const Conv2dSpec& spec, int threads)
      : spec_(spec),
        output_(spec.output()),
        input_line_(spec.input.height, spec.input.width, spec.pad),
        threads_(threads),
        forward_(spec.input.channels, input_line_, spec.kernel, spec.outputs, output_.height, output_.width),
        backward_(spec.outputs, Line(output_.height, output_.width, spec.kernel - 1 - spec.pad), spec.kernel,
                  spec.input.channels, spec.input.height, spec.input.width),
        samples_(SamplesOfGroup(input_line_)),
        gradient_pitch_(RoundUp(static_cast<int>(samples_ * input_line_.plane()), kLanes)),
        taps_(spec.input.channels * spec.kernel * spec.kernel),
        offsets_(Offsets(spec.input.channels, spec.kernel, samples_ * input_line_.plane(), input_line_.pitch)) {
    offsets_.resize(RoundUp(taps_, kGradientTaps), 0);
    for (int i = 0; i < threads; ++i) {
      Scratch& scratch = scratch_.emplace_back();
      scratch.forward_source = AlignedBuffer(forward_.source_floats());
      scratch.backward_source = AlignedBuffer(backward_.source_floats());
      scratch.lines = AlignedBuffer(std::max(forward_.result_floats(), backward_.result_floats()));
      scratch.group_source = AlignedBuffer(spec.input.channels * samples_ * input_line_.plane() + 2 * kLanes +
                                           input_line_.pitch * spec.kernel);
      scratch.group_gradients =
          AlignedBuffer(static_cast<std::size_t>(RoundUp(spec.outputs, kGradientMaps)) * gradient_pitch_);
      scratch.weight_sums = AlignedBuffer(spec.weight_count() + spec.outputs);
    }
  }

  void Forward(ConstTensorView input, const float* weights, const float* bias, TensorView output) override {
    forward_.SetWeights([&](int o, int tap) { return weights[static_cast<std::size_t>(o) * taps_ + tap]; });
    ParallelFor(input.batch, threads_, [&](int begin, int end, int part) {
      Scratch& scratch = scratch_[part];
      for (int n = begin; n < end; ++n) {
        forward_.Run(input.sample(n), bias, scratch.forward_source.data(), scratch.lines.data(), output.sample(n));
      }
    });
  }

  void BackwardData(ConstTensorView output_gradient, const float* weights, TensorView input_gradient) override {
    const int window = spec_.kernel * spec_.kernel;
    backward_.SetWeights([&](int c, int tap) {
      const int o = tap / window, turned = window - 1 - tap % window;
      return weights[(static_cast<std::size_t>(o) * spec_.input.channels + c) * window + turned];
    });
    ParallelFor(output_gradient.batch, threads_, [&](int begin, int end, int part) {
      Scratch& scratch = scratch_[part];
      for (int n = begin; n < end; ++n) {
        backward_.Run(output_gradient.sample(n), nullptr, scratch.backward_source.data(), scratch.lines.data(),
                      input_gradient.sample(n));
      }
    });
  }

  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                       float* bias_gradient) override {
    ParallelFor(input.batch, threads_, [&](int begin, int end, int part) {
      Scratch& scratch = scratch_[part];
      Zero({scratch.weight_sums.data(), scratch.weight_sums.size()});
      for (int n = begin; n < end; n += samples_) {
        AddGroup(input, output_gradient, n, std::min(samples_, end - n), &scratch);
      }
    });
    const std::size_t outputs = spec_.outputs;
    Zero({weight_gradient, spec_.weight_count()});
    Zero({bias_gradient, outputs});
    for (int part = 0; part < std::min(threads_, input.batch); ++part) {
      const float* sums = scratch_[part].weight_sums.data();
      Axpy(1, {sums, spec_.weight_count()}, {weight_gradient, spec_.weight_count()});
      Axpy(1, {sums + spec_.weight_count(), outputs}, {bias_gradient, outputs});
    }
  }

 private:
  // Of a thread. Zeros around planes stay as they are.
  struct Scratch {
    AlignedBuffer forward_source{0}, backward_source{0}, lines{0};
    AlignedBuffer group_source{0}, group_gradients{0};
    AlignedBuffer weight_sums{0};  // weights, then bias
  };

  // The samples from `first` on lie behind each other in each channel's line.
  void AddGroup(ConstTensorView input, ConstTensorView output_gradient, int first, int samples,
                Scratch* scratch) const {
    const std::size_t plane = input_line_.plane(),
                      size = static_cast<std::size_t>(input_line_.height) * input_line_.width;
    const std::size_t pixels = static_cast<std::size_t>(output_.height) * output_.width;
    float* const source = scratch->group_source.data();
    float* const gradients = scratch->group_gradients.data();
    float* const weight_sums = scratch->weight_sums.data();
    float* const bias_sums = weight_sums + spec_.weight_count();
    const Line gradient_line(output_.height, output_.width, 0);
    for (int s = 0; s < samples; ++s) {
      for (int c = 0; c < spec_.input.channels; ++c) {
        Lay(input.sample(first + s) + c * size, input_line_, source + (c * samples_ + s) * plane);
      }
      for (int o = 0; o < spec_.outputs; ++o) {
        const float* from = output_gradient.sample(first + s) + o * pixels;
        bias_sums[o] += Sum({from, pixels});
        float* to = gradients + o * gradient_pitch_ + s * plane;
        for (int y = 0; y < output_.height; ++y, from += output_.width, to += input_line_.pitch) {
          std::memcpy(to, from, output_.width * sizeof(float));
        }
      }
    }
    const int vectors = RoundUp(static_cast<int>(samples * plane), kLanes) / kLanes;
    // A smaller group leaves what was there before, which the last vector and the last windows may read.
    if (samples < samples_) {
      const std::size_t filled = samples * plane, rest = (samples_ - samples) * plane;
      for (int c = 0; c < spec_.input.channels; ++c) Zero({source + c * samples_ * plane + filled, rest});
      for (int o = 0; o < spec_.outputs; ++o) Zero({gradients + o * gradient_pitch_ + filled, rest});
    }
    for (int o = 0; o < spec_.outputs; o += kGradientMaps) {
      for (int tap = 0; tap < taps_; tap += kGradientTaps) {
        float sums[kGradientMaps][kGradientTaps] = {};
        AddProducts(gradients + o * gradient_pitch_, gradient_pitch_, source, offsets_.data() + tap, vectors, sums);
        for (int m = 0; m < std::min(kGradientMaps, spec_.outputs - o); ++m)
          for (int t = 0; t < std::min(kGradientTaps, taps_ - tap); ++t) {
            weight_sums[static_cast<std::size_t>(o + m) * taps_ + tap + t] += sums[m][t];
          }
      }
    }
  }

  const Conv2dSpec spec_;
  const Shape output_;
  const Line input_line_;
  const int threads_;
  LineSums forward_;
  LineSums backward_;
  const int samples_;  // of a group
  const std::size_t gradient_pitch_;
  const int taps_;
  std::vector<std::int32_t> offsets_;  // in a group's lines, some more behind the last
  std::vector<Scratch> scratch_;
};

// Of a whole pass; registers for outputs beyond the last are not spared.
double LineCost(int channels, int kernel, int outputs, int height, int width, int pitch) {
  const int positions = RoundUp((height - 1) * pitch + width, kLanes);
  const int maps = outputs % kMaps == 0 ? outputs : outputs / kMaps * kMaps + std::max(outputs % kMaps, 5);
  return static_cast<double>(positions) * maps * channels * kernel * kernel;
}

}  // namespace

Conv2dCosts DirectConv2dCosts(const Conv2dSpec& spec) {
  constexpr double kSumOfLanes = 80;  // adding up a register
  const Shape output = spec.output();
  const Line line(spec.input.height, spec.input.width, spec.pad);
  const double taps = RoundUp(spec.input.channels * spec.kernel * spec.kernel, kGradientTaps);
  const int back = spec.kernel - 1 - spec.pad;
  return {LineCost(spec.input.channels, spec.kernel, spec.outputs, output.height, output.width, line.pitch),
          LineCost(spec.outputs, spec.kernel, spec.input.channels, spec.input.height, spec.input.width,
                   output.width + 2 * back),
          (static_cast<double>(line.plane()) + kSumOfLanes / SamplesOfGroup(line)) *
              RoundUp(spec.outputs, kGradientMaps) * taps};
}

bool HasDirectConv2d(const Conv2dSpec& spec) {
  if (!__builtin_cpu_supports("avx512f") || spec.stride != 1 || spec.dilation != 1 || spec.groups != 1 ||
      spec.pad > spec.kernel - 1) {
    return false;
  }
  // Offsets are of 32 bits.
  const std::size_t lines = 8 * (Line(spec.input.height, spec.input.width, spec.pad).plane() + 512);
  return lines * spec.input.channels <= INT32_MAX && lines * spec.outputs <= INT32_MAX;
}

std::unique_ptr<Conv2d> MakeDirectConv2d(const Conv2dSpec& spec, int threads) {
  return std::make_unique<DirectConv2d>(spec, threads);
}

}  // namespace downpour::kernels::cpu

#else

namespace downpour::kernels::cpu {

bool HasDirectConv2d(const Conv2dSpec&) { return false; }
std::unique_ptr<Conv2d> MakeDirectConv2d(const Conv2dSpec&, int) { return nullptr; }
Conv2dCosts DirectConv2dCosts(const Conv2dSpec&) { return {}; }

}  // namespace downpour::kernels::cpu

#endif
