#include "kernels/channel_bias.h"

#include <algorithm>

#include "kernels/cpu/device.h"
#include "kernels/function_clones.h"
#include "kernels/vector_ops.h"

namespace downpour::kernels::cpu {
namespace {

DOWNPOUR_CLONES
void AddTo(float bias, float* values, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) values[i] += bias;
}

class CpuChannelBias final : public ChannelBias {
 public:
  explicit CpuChannelBias(const Shape& shape)
      : channels_(shape.channels), pixels_(static_cast<std::size_t>(shape.height) * shape.width) {}

  void Add(const float* bias, TensorView values) override {
    for (int n = 0; n < values.batch; ++n)
      for (std::size_t c = 0; c < channels_; ++c) AddTo(bias[c], values.sample(n) + c * pixels_, pixels_);
  }

  void Backward(ConstTensorView output_gradient, float* bias_gradient) override {
    std::fill_n(bias_gradient, channels_, 0.0f);
    for (int n = 0; n < output_gradient.batch; ++n)
      for (std::size_t c = 0; c < channels_; ++c) {
        bias_gradient[c] += Sum({output_gradient.sample(n) + c * pixels_, pixels_});
      }
  }

 private:
  const std::size_t channels_;
  const std::size_t pixels_;
};

}  // namespace

std::unique_ptr<ChannelBias> MakeChannelBias(const Shape& shape) { return std::make_unique<CpuChannelBias>(shape); }

}  // namespace downpour::kernels::cpu
