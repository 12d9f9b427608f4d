#include "kernels/concat.h"

#include "kernels/reference/device.h"

namespace downpour::kernels::reference {
namespace {

std::size_t At(const Shape& shape, int channel, int pixel) {
  return static_cast<std::size_t>(channel) * shape.height * shape.width + pixel;
}

class ReferenceConcat final : public Concat {
 public:
  void Forward(std::span<const ConstTensorView> inputs, TensorView output) override {
    for (int n = 0; n < output.batch; ++n) {
      int first_channel = 0;
      for (const ConstTensorView& input : inputs) {
        for (int c = 0; c < input.shape.channels; ++c)
          for (int p = 0; p < input.shape.height * input.shape.width; ++p) {
            output.sample(n)[At(output.shape, first_channel + c, p)] = input.sample(n)[At(input.shape, c, p)];
          }
        first_channel += input.shape.channels;
      }
    }
  }

  void Backward(ConstTensorView output_gradient, int first_channel, TensorView input_gradient) override {
    const Shape& shape = input_gradient.shape;
    for (int n = 0; n < input_gradient.batch; ++n)
      for (int c = 0; c < shape.channels; ++c)
        for (int p = 0; p < shape.height * shape.width; ++p) {
          input_gradient.sample(n)[At(shape, c, p)] =
              output_gradient.sample(n)[At(output_gradient.shape, first_channel + c, p)];
        }
  }
};

}  // namespace

std::unique_ptr<Concat> MakeConcat() { return std::make_unique<ReferenceConcat>(); }

}  // namespace downpour::kernels::reference
