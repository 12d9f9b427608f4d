#include "kernels/maxout.h"

#include <algorithm>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/cpu/device.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/function_clones.h"

namespace downpour::kernels::cpu {
namespace {

// y = max(x, y), and NaN where one of them is.
DOWNPOUR_CLONES
void TakeLarger(const float* x, float* y, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) y[i] = x[i] > y[i] || x[i] != x[i] ? x[i] : y[i];
}

// Gives a piece that has the largest value what is left of the gradient, which is all or nothing.
DOWNPOUR_CLONES
void TakeGradient(const float* x, const float* y, float* left, float* dx, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) {
    const bool largest = x[i] == y[i];
    dx[i] = largest ? left[i] : 0.0f;
    left[i] = largest ? 0.0f : left[i];
  }
}

class CpuMaxout final : public Maxout {
 public:
  CpuMaxout(const MaxoutSpec& spec, int threads)
      : outputs_(spec.output().channels),
        pieces_(spec.pieces),
        pixels_(static_cast<std::size_t>(spec.input.height) * spec.input.width),
        threads_(threads) {
    for (int i = 0; i < threads; ++i) left_.emplace_back(pixels_);
  }

  void Forward(ConstTensorView input, TensorView output) override {
    ParallelFor(input.batch, threads_, [&](int begin, int end, int) {
      for (int n = begin; n < end; ++n) {
        const float* x = input.sample(n);
        float* y = output.sample(n);
        for (int c = 0; c < outputs_; ++c, y += pixels_) {
          std::copy_n(x, pixels_, y);
          x += pixels_;
          for (int p = 1; p < pieces_; ++p, x += pixels_) TakeLarger(x, y, pixels_);
        }
      }
    });
  }

  void Backward(ConstTensorView input, ConstTensorView output, ConstTensorView output_gradient,
                TensorView input_gradient) override {
    ParallelFor(input.batch, threads_, [&](int begin, int end, int part) {
      float* const left = left_[part].data();
      for (int n = begin; n < end; ++n) {
        const float *x = input.sample(n), *y = output.sample(n), *dy = output_gradient.sample(n);
        float* dx = input_gradient.sample(n);
        for (int c = 0; c < outputs_; ++c, y += pixels_, dy += pixels_) {
          std::copy_n(dy, pixels_, left);
          for (int p = 0; p < pieces_; ++p, x += pixels_, dx += pixels_) TakeGradient(x, y, left, dx, pixels_);
        }
      }
    });
  }

 private:
  const int outputs_;
  const int pieces_;
  const std::size_t pixels_;
  const int threads_;
  std::vector<AlignedBuffer> left_;  // one for each thread
};

}  // namespace

std::unique_ptr<Maxout> MakeMaxout(const MaxoutSpec& spec, int threads) {
  return std::make_unique<CpuMaxout>(spec, threads);
}

}  // namespace downpour::kernels::cpu
