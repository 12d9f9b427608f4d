#include "kernels/channel_bias.h"

#include <algorithm>

#include "kernels/reference/device.h"

namespace downpour::kernels::reference {
namespace {

class ReferenceChannelBias final : public ChannelBias {
 public:
  explicit ReferenceChannelBias(const Shape& shape) : shape_(shape) {}

  void Add(const float* bias, TensorView values) override {
    for (std::size_t i = 0; i < values.size(); ++i) values.data[i] += bias[ChannelOf(i)];
  }

  void Backward(ConstTensorView output_gradient, float* bias_gradient) override {
    std::fill_n(bias_gradient, shape_.channels, 0.0f);
    for (std::size_t i = 0; i < output_gradient.size(); ++i) {
      bias_gradient[ChannelOf(i)] += output_gradient.data[i];
    }
  }

 private:
  std::size_t ChannelOf(std::size_t i) const {
    return i / (static_cast<std::size_t>(shape_.height) * shape_.width) % shape_.channels;
  }

  const Shape shape_;
};

}  // namespace

std::unique_ptr<ChannelBias> MakeChannelBias(const Shape& shape) {
  return std::make_unique<ReferenceChannelBias>(shape);
}

}  // namespace downpour::kernels::reference
