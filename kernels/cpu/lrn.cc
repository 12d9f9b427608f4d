#include "kernels/lrn.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/cpu/device.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/function_clones.h"
#include "kernels/vector_ops.h"

namespace downpour::kernels::cpu {
namespace {

DOWNPOUR_CLONES
void Squares(const float* x, float* to, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) to[i] = x[i] * x[i];
}

DOWNPOUR_CLONES
void ScaleAndShift(float factor, float shift, float* values, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) values[i] = shift + factor * values[i];
}

// to = scale ^ -0.75
DOWNPOUR_CLONES
void ThreeQuarters(const float* scale, float* to, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) {
    const float root = std::sqrt(scale[i]);
    to[i] = 1.0f / (root * std::sqrt(root));
  }
}

void Powers(const float* scale, float beta, float* to, std::size_t size) {
  if (beta == 0.75f) return ThreeQuarters(scale, to, size);
  for (std::size_t i = 0; i < size; ++i) to[i] = std::pow(scale[i], -beta);
}

DOWNPOUR_CLONES
void Multiply(const float* x, float* to, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) to[i] *= x[i];
}

DOWNPOUR_CLONES
void Ratios(const float* dy, const float* y, const float* scale, float* to, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) to[i] = dy[i] * y[i] / scale[i];
}

// dx = dy * dx - factor * x * sums, where dx held the powers of the scale.
DOWNPOUR_CLONES
void Combine(const float* dy, const float* x, const float* sums, float factor, float* dx, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) dx[i] = dy[i] * dx[i] - factor * x[i] * sums[i];
}

class CpuLrn final : public Lrn {
 public:
  CpuLrn(const LrnSpec& spec, int max_batch, int threads)
      : spec_(spec),
        size_(spec.shape.size()),
        factor_(spec.alpha / static_cast<float>(spec.window())),
        threads_(threads),
        scale_(max_batch * size_) {
    for (int i = 0; i < threads; ++i) scratch_.emplace_back(3 * size_);
  }

  void Forward(ConstTensorView input, TensorView output) override {
    ParallelFor(input.batch, threads_, [&](int begin, int end, int part) {
      float* const squares = scratch_[part].data();
      for (int n = begin; n < end; ++n) {
        float *const scale = ScaleOf(n), *const y = output.sample(n);
        Squares(input.sample(n), squares, size_);
        SumWindows(squares, scale, squares + size_);
        ScaleAndShift(factor_, spec_.k, scale, size_);
        Powers(scale, spec_.beta, y, size_);
        Multiply(input.sample(n), y, size_);
      }
    });
  }

  void Backward(ConstTensorView input, ConstTensorView output, ConstTensorView output_gradient,
                TensorView input_gradient) override {
    ParallelFor(input.batch, threads_, [&](int begin, int end, int part) {
      float *const ratios = scratch_[part].data(), *const sums = ratios + size_;
      for (int n = begin; n < end; ++n) {
        const float *const dy = output_gradient.sample(n), *const scale = ScaleOf(n);
        float* const dx = input_gradient.sample(n);
        Ratios(dy, output.sample(n), scale, ratios, size_);
        SumWindows(ratios, sums, sums + size_);
        Powers(scale, spec_.beta, dx, size_);
        Combine(dy, input.sample(n), sums, 2 * factor_ * spec_.beta, dx, size_);
      }
    });
  }

 private:
  float* ScaleOf(int n) { return scale_.data() + n * size_; }

  // The sums over the windows of one sample's values; `scratch` has as many.
  void SumWindows(const float* values, float* sums, float* scratch) const {
    const auto channels = static_cast<std::size_t>(spec_.shape.channels);
    const auto height = static_cast<std::size_t>(spec_.shape.height),
               width = static_cast<std::size_t>(spec_.shape.width);
    if (spec_.region == LrnSpec::Region::kAcrossChannels) {
      SumNeighbours(values, sums, channels, height * width);
      return;
    }
    for (std::size_t row = 0; row < channels * height; ++row) {
      SumNeighbours(values + row * width, scratch + row * width, width, 1);
    }
    for (std::size_t c = 0; c < channels; ++c) {
      SumNeighbours(scratch + c * height * width, sums + c * height * width, height, width);
    }
  }

  // Of `count` blocks of `stride` values, each block's sum with the local_size / 2 before and after it; for all blocks
  // one distance at a time.
  void SumNeighbours(const float* values, float* sums, std::size_t count, std::size_t stride) const {
    std::copy_n(values, count * stride, sums);
    for (std::size_t shift = 1; shift <= static_cast<std::size_t>(spec_.local_size / 2) && shift < count; ++shift) {
      const std::size_t offset = shift * stride, overlap = count * stride - offset;
      Axpy(1, {values + offset, overlap}, {sums, overlap});
      Axpy(1, {values, overlap}, {sums + offset, overlap});
    }
  }

  const LrnSpec spec_;
  const std::size_t size_;
  const float factor_;
  const int threads_;
  AlignedBuffer scale_;                 // of the last Forward
  std::vector<AlignedBuffer> scratch_;  // one for each thread
};

}  // namespace

std::unique_ptr<Lrn> MakeLrn(const LrnSpec& spec, int max_batch, int threads) {
  return std::make_unique<CpuLrn>(spec, max_batch, threads);
}

}  // namespace downpour::kernels::cpu
