#include "kernels/concat.h"

#include <algorithm>

#include "kernels/cpu/device.h"

namespace downpour::kernels::cpu {
namespace {

class CpuConcat final : public Concat {
 public:
  void Forward(std::span<const ConstTensorView> inputs, TensorView output) override {
    for (int n = 0; n < output.batch; ++n) {
      float* to = output.sample(n);
      for (const ConstTensorView& input : inputs) to = std::copy_n(input.sample(n), input.shape.size(), to);
    }
  }

  void Backward(ConstTensorView output_gradient, int first_channel, TensorView input_gradient) override {
    const Shape& shape = input_gradient.shape;
    const std::size_t begin = static_cast<std::size_t>(first_channel) * shape.height * shape.width;
    for (int n = 0; n < output_gradient.batch; ++n) {
      std::copy_n(output_gradient.sample(n) + begin, shape.size(), input_gradient.sample(n));
    }
  }
};

}  // namespace

std::unique_ptr<Concat> MakeConcat() { return std::make_unique<CpuConcat>(); }

}  // namespace downpour::kernels::cpu
