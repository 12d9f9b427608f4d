#include "kernels/conv2d.h"

#include <algorithm>

#include "kernels/reference/device.h"

namespace downpour::kernels::reference {
namespace {

class ReferenceConv2d final : public Conv2d {
 public:
  explicit ReferenceConv2d(const Conv2dSpec& spec) : spec_(spec), output_(spec.output()) {}

  void Forward(ConstTensorView input, const float* weights, const float* bias, TensorView output) override {
    for (int n = 0; n < input.batch; ++n) {
      for (int o = 0; o < output_.channels; ++o) {
        std::fill_n(output.sample(n) + o * Plane(), Plane(), bias[o]);
      }
      ForEachProduct([&](std::size_t in, std::size_t weight, std::size_t out) {
        output.sample(n)[out] += weights[weight] * input.sample(n)[in];
      });
    }
  }

  void BackwardData(ConstTensorView output_gradient, const float* weights,
                    TensorView input_gradient) override {
    std::ranges::fill(input_gradient.values(), 0.0f);
    for (int n = 0; n < output_gradient.batch; ++n) {
      ForEachProduct([&](std::size_t in, std::size_t weight, std::size_t out) {
        input_gradient.sample(n)[in] += weights[weight] * output_gradient.sample(n)[out];
      });
    }
  }

  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                       float* bias_gradient) override {
    std::fill_n(weight_gradient, spec_.weight_count(), 0.0f);
    std::fill_n(bias_gradient, spec_.outputs, 0.0f);
    for (int n = 0; n < input.batch; ++n) {
      ForEachProduct([&](std::size_t in, std::size_t weight, std::size_t out) {
        weight_gradient[weight] += input.sample(n)[in] * output_gradient.sample(n)[out];
      });
      for (std::size_t out = 0; out < output_.size(); ++out) {
        bias_gradient[out / Plane()] += output_gradient.sample(n)[out];
      }
    }
  }

 private:
  std::size_t Plane() const { return static_cast<std::size_t>(output_.height) * output_.width; }

  // Calls visit(input, weight, output) with the indices of every product of the formula, for one sample.
  template <typename Visit>
  void ForEachProduct(Visit visit) const {
    const Shape& input = spec_.input;
    const int group_channels = input.channels / spec_.groups, group_outputs = spec_.outputs / spec_.groups;
    for (int o = 0; o < output_.channels; ++o)
      for (int y = 0; y < output_.height; ++y)
        for (int x = 0; x < output_.width; ++x)
          for (int c = 0; c < group_channels; ++c)
            for (int i = 0; i < spec_.kernel; ++i)
              for (int j = 0; j < spec_.kernel; ++j) {
                const int row = y * spec_.stride + i * spec_.dilation - spec_.pad;
                const int column = x * spec_.stride + j * spec_.dilation - spec_.pad;
                if (row < 0 || row >= input.height || column < 0 || column >= input.width) continue;
                const std::size_t channel = o / group_outputs * group_channels + c;
                visit((channel * input.height + row) * input.width + column,
                      ((static_cast<std::size_t>(o) * group_channels + c) * spec_.kernel + i) * spec_.kernel + j,
                      (static_cast<std::size_t>(o) * output_.height + y) * output_.width + x);
              }
  }

  const Conv2dSpec spec_;
  const Shape output_;
};

}  // namespace

std::unique_ptr<Conv2d> MakeConv2d(const Conv2dSpec& spec) { return std::make_unique<ReferenceConv2d>(spec); }

}  // namespace downpour::kernels::reference
