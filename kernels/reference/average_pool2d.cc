#include "kernels/average_pool2d.h"

#include <algorithm>

#include "kernels/reference/device.h"

namespace downpour::kernels::reference {
namespace {

class ReferenceAveragePool2d final : public AveragePool2d {
 public:
  explicit ReferenceAveragePool2d(const Pool2dSpec& spec) : spec_(spec) {}

  void Forward(ConstTensorView input, TensorView output) override {
    std::ranges::fill(output.values(), 0.0f);
    ForEach([&](std::size_t in, std::size_t out, float share) {
      for (int n = 0; n < input.batch; ++n) output.sample(n)[out] += share * input.sample(n)[in];
    });
  }

  void Backward(ConstTensorView output_gradient, TensorView input_gradient) override {
    std::ranges::fill(input_gradient.values(), 0.0f);
    ForEach([&](std::size_t in, std::size_t out, float share) {
      for (int n = 0; n < output_gradient.batch; ++n) {
        input_gradient.sample(n)[in] += share * output_gradient.sample(n)[out];
      }
    });
  }

 private:
  // Each value of the input in each window that has it.
  template <typename Body>
  void ForEach(Body body) const {
    const Shape& shape = spec_.input;
    const Shape output = spec_.output();
    std::size_t out = 0;
    for (int c = 0; c < output.channels; ++c)
      for (int y = 0; y < output.height; ++y)
        for (int x = 0; x < output.width; ++x, ++out) {
          const Pool2dSpec::Range rows = spec_.Window(y, shape.height), columns = spec_.Window(x, shape.width);
          const float share = 1 / (static_cast<float>(rows.padded) * static_cast<float>(columns.padded));
          for (int i = rows.first; i < rows.last; ++i)
            for (int j = columns.first; j < columns.last; ++j) {
              body((static_cast<std::size_t>(c) * shape.height + i) * shape.width + j, out, share);
            }
        }
  }

  const Pool2dSpec spec_;
};

}  // namespace

std::unique_ptr<AveragePool2d> MakeAveragePool2d(const Pool2dSpec& spec) {
  return std::make_unique<ReferenceAveragePool2d>(spec);
}

}  // namespace downpour::kernels::reference
