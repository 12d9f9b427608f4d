#include "kernels/maxout.h"

#include <algorithm>
#include <cmath>

#include "kernels/reference/device.h"

namespace downpour::kernels::reference {
namespace {

class ReferenceMaxout final : public Maxout {
 public:
  explicit ReferenceMaxout(const MaxoutSpec& spec) : spec_(spec) {}

  void Forward(ConstTensorView input, TensorView output) override {
    ForEachGroup(input, [&](std::size_t largest, std::size_t out) { output.data[out] = input.data[largest]; });
  }

  void Backward(ConstTensorView input, ConstTensorView, ConstTensorView output_gradient,
                TensorView input_gradient) override {
    std::ranges::fill(input_gradient.values(), 0.0f);
    ForEachGroup(
        input, [&](std::size_t largest, std::size_t out) { input_gradient.data[largest] = output_gradient.data[out]; });
  }

 private:
  // Calls body(largest, out) with the index of the first largest value of each group, and that of the group.
  template <typename Body>
  void ForEachGroup(ConstTensorView input, Body body) const {
    const std::size_t pixels = static_cast<std::size_t>(spec_.input.height) * spec_.input.width;
    for (std::size_t out = 0; out < input.batch * spec_.output().size(); ++out) {
      const std::size_t first = out / pixels * spec_.pieces * pixels + out % pixels;
      std::size_t largest = first;
      for (int p = 1; p < spec_.pieces; ++p) {
        const float value = input.data[first + p * pixels];
        if (value > input.data[largest] || std::isnan(value)) largest = first + p * pixels;
      }
      body(largest, out);
    }
  }

  const MaxoutSpec spec_;
};

}  // namespace

std::unique_ptr<Maxout> MakeMaxout(const MaxoutSpec& spec) { return std::make_unique<ReferenceMaxout>(spec); }

}  // namespace downpour::kernels::reference
