#include "kernels/softmax.h"

#include <algorithm>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/cpu/device.h"
#include "kernels/cpu/exponential.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/function_clones.h"
#include "kernels/vector_ops.h"

namespace downpour::kernels::cpu {
namespace {

// Each channel is a row of `pixels` values; what belongs together stands in a column. `highest` and `sum` are rows.
DOWNPOUR_CLONES
void SoftmaxOfColumns(const float* x, float* y, std::size_t channels, std::size_t pixels, float* highest, float* sum) {
  for (std::size_t p = 0; p < pixels; ++p) highest[p] = x[p];
  for (std::size_t i = pixels; i < channels * pixels; i += pixels)
    for (std::size_t p = 0; p < pixels; ++p) highest[p] = x[i + p] > highest[p] ? x[i + p] : highest[p];
  for (std::size_t p = 0; p < pixels; ++p) sum[p] = 0;
  for (std::size_t i = 0; i < channels * pixels; i += pixels)
    for (std::size_t p = 0; p < pixels; ++p) {
      const float power = Exponential(x[i + p] - highest[p]);
      y[i + p] = power;
      sum[p] += power;
    }
  for (std::size_t p = 0; p < pixels; ++p) sum[p] = 1.0f / sum[p];
  for (std::size_t i = 0; i < channels * pixels; i += pixels)
    for (std::size_t p = 0; p < pixels; ++p) y[i + p] *= sum[p];
}

DOWNPOUR_CLONES
void BackOfColumns(const float* y, const float* dy, float* dx, std::size_t channels, std::size_t pixels, float* dot) {
  for (std::size_t p = 0; p < pixels; ++p) dot[p] = 0;
  for (std::size_t i = 0; i < channels * pixels; i += pixels)
    for (std::size_t p = 0; p < pixels; ++p) dot[p] += dy[i + p] * y[i + p];
  for (std::size_t i = 0; i < channels * pixels; i += pixels)
    for (std::size_t p = 0; p < pixels; ++p) dx[i + p] = y[i + p] * (dy[i + p] - dot[p]);
}

// Where there is one place only, its values stand in a row.
DOWNPOUR_CLONES
void PowersOfRow(const float* x, float highest, float* y, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) y[i] = Exponential(x[i] - highest);
}

DOWNPOUR_CLONES
void MultiplyRows(const float* a, const float* b, float* to, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) to[i] = a[i] * b[i];
}

DOWNPOUR_CLONES
void BackOfRow(const float* y, const float* dy, float dot, float* dx, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) dx[i] = y[i] * (dy[i] - dot);
}

class CpuSoftmax final : public Softmax {
 public:
  CpuSoftmax(const Shape& shape, int threads)
      : channels_(shape.channels), pixels_(static_cast<std::size_t>(shape.height) * shape.width), threads_(threads) {
    for (int i = 0; i < threads; ++i) scratch_.emplace_back(2 * pixels_);
  }

  void Forward(ConstTensorView input, TensorView output) override {
    ParallelFor(input.batch, threads_, [&](int begin, int end, int part) {
      float* const scratch = scratch_[part].data();
      for (int n = begin; n < end; ++n) {
        const float* const x = input.sample(n);
        float* const y = output.sample(n);
        if (pixels_ > 1) {
          SoftmaxOfColumns(x, y, channels_, pixels_, scratch, scratch + pixels_);
          continue;
        }
        PowersOfRow(x, *std::max_element(x, x + channels_), y, channels_);
        Scale(1 / Sum({y, channels_}), {y, channels_});
      }
    });
  }

  void Backward(ConstTensorView output, ConstTensorView output_gradient, TensorView input_gradient) override {
    ParallelFor(output.batch, threads_, [&](int begin, int end, int part) {
      for (int n = begin; n < end; ++n) {
        const float *const y = output.sample(n), *const dy = output_gradient.sample(n);
        float* const dx = input_gradient.sample(n);
        if (pixels_ > 1) {
          BackOfColumns(y, dy, dx, channels_, pixels_, scratch_[part].data());
          continue;
        }
        MultiplyRows(y, dy, dx, channels_);
        BackOfRow(y, dy, Sum({dx, channels_}), dx, channels_);
      }
    });
  }

 private:
  const std::size_t channels_;
  const std::size_t pixels_;
  const int threads_;
  std::vector<AlignedBuffer> scratch_;  // one for each thread
};

}  // namespace

std::unique_ptr<Softmax> MakeSoftmax(const Shape& shape, int threads) {
  return std::make_unique<CpuSoftmax>(shape, threads);
}

}  // namespace downpour::kernels::cpu
