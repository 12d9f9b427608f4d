#include "kernels/prelu.h"

#include <algorithm>

#include "kernels/reference/device.h"

namespace downpour::kernels::reference {
namespace {

class ReferencePrelu final : public Prelu {
 public:
  explicit ReferencePrelu(const Shape& shape) : shape_(shape) {}

  void Forward(ConstTensorView input, const float* slopes, TensorView output) override {
    for (std::size_t i = 0; i < input.size(); ++i) {
      output.data[i] = input.data[i] > 0 ? input.data[i] : slopes[ChannelOf(i)] * input.data[i];
    }
  }

  void BackwardData(ConstTensorView input, const float* slopes, ConstTensorView output_gradient,
                    TensorView input_gradient) override {
    for (std::size_t i = 0; i < input.size(); ++i) {
      input_gradient.data[i] = output_gradient.data[i] * (input.data[i] > 0 ? 1 : slopes[ChannelOf(i)]);
    }
  }

  void BackwardSlopes(ConstTensorView input, ConstTensorView output_gradient, float* slope_gradient) override {
    std::fill_n(slope_gradient, shape_.channels, 0.0f);
    for (std::size_t i = 0; i < input.size(); ++i) {
      if (input.data[i] <= 0) slope_gradient[ChannelOf(i)] += output_gradient.data[i] * input.data[i];
    }
  }

 private:
  std::size_t ChannelOf(std::size_t i) const {
    return i / (static_cast<std::size_t>(shape_.height) * shape_.width) % shape_.channels;
  }

  const Shape shape_;
};

}  // namespace

std::unique_ptr<Prelu> MakePrelu(const Shape& shape) { return std::make_unique<ReferencePrelu>(shape); }

}  // namespace downpour::kernels::reference
