#include "kernels/prelu.h"

#include <algorithm>

#include "kernels/cpu/device.h"
#include "kernels/function_clones.h"

namespace downpour::kernels::cpu {
namespace {

// Where x > 0 `of` as it is, elsewhere times slope.
DOWNPOUR_CLONES
void Bend(const float* x, const float* of, float slope, float* to, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) to[i] = x[i] > 0 ? of[i] : slope * of[i];
}

// The sum of x * dy where x is not above 0.
DOWNPOUR_CLONES
float SumBelow(const float* x, const float* dy, std::size_t size) {
  constexpr int kLanes = 16;
  float sums[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      sums[lane] += x[i + lane] > 0 ? 0.0f : x[i + lane] * dy[i + lane];
    }
  }
  for (; i < size; ++i) sums[0] += x[i] > 0 ? 0.0f : x[i] * dy[i];
  float sum = 0;
  for (const float one : sums) sum += one;
  return sum;
}

class CpuPrelu final : public Prelu {
 public:
  explicit CpuPrelu(const Shape& shape)
      : channels_(shape.channels), pixels_(static_cast<std::size_t>(shape.height) * shape.width) {}

  void Forward(ConstTensorView input, const float* slopes, TensorView output) override {
    BendAll(input, input, slopes, output);
  }

  void BackwardData(ConstTensorView input, const float* slopes, ConstTensorView output_gradient,
                    TensorView input_gradient) override {
    BendAll(input, output_gradient, slopes, input_gradient);
  }

  void BackwardSlopes(ConstTensorView input, ConstTensorView output_gradient, float* slope_gradient) override {
    std::fill_n(slope_gradient, channels_, 0.0f);
    for (int n = 0; n < input.batch; ++n)
      for (std::size_t c = 0; c < channels_; ++c) {
        const std::size_t at = c * pixels_;
        slope_gradient[c] += SumBelow(input.sample(n) + at, output_gradient.sample(n) + at, pixels_);
      }
  }

 private:
  void BendAll(ConstTensorView x, ConstTensorView of, const float* slopes, TensorView to) const {
    for (int n = 0; n < x.batch; ++n)
      for (std::size_t c = 0; c < channels_; ++c) {
        const std::size_t at = c * pixels_;
        Bend(x.sample(n) + at, of.sample(n) + at, slopes[c], to.sample(n) + at, pixels_);
      }
  }

  const std::size_t channels_;
  const std::size_t pixels_;
};

}  // namespace

std::unique_ptr<Prelu> MakePrelu(const Shape& shape) { return std::make_unique<CpuPrelu>(shape); }

}  // namespace downpour::kernels::cpu
