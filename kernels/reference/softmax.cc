#include "kernels/softmax.h"

#include <algorithm>
#include <cmath>

#include "kernels/reference/device.h"

namespace downpour::kernels::reference {
namespace {

class ReferenceSoftmax final : public Softmax {
 public:
  explicit ReferenceSoftmax(const Shape& shape) : shape_(shape) {}

  void Forward(ConstTensorView input, TensorView output) override {
    ForEachPlace(input.batch, [&](auto at) {
      float highest = input.data[at(0)];
      for (int c = 1; c < shape_.channels; ++c) highest = std::max(highest, input.data[at(c)]);
      double sum = 0;
      for (int c = 0; c < shape_.channels; ++c) sum += std::exp(input.data[at(c)] - highest);
      for (int c = 0; c < shape_.channels; ++c) {
        output.data[at(c)] = static_cast<float>(std::exp(input.data[at(c)] - highest) / sum);
      }
    });
  }

  void Backward(ConstTensorView output, ConstTensorView output_gradient, TensorView input_gradient) override {
    ForEachPlace(output.batch, [&](auto at) {
      double dot = 0;
      for (int c = 0; c < shape_.channels; ++c) dot += output_gradient.data[at(c)] * output.data[at(c)];
      for (int c = 0; c < shape_.channels; ++c) {
        input_gradient.data[at(c)] = static_cast<float>(output.data[at(c)] * (output_gradient.data[at(c)] - dot));
      }
    });
  }

 private:
  // Calls body(at) for each place of each sample, where at(c) is the index of the value of channel c.
  template <typename Body>
  void ForEachPlace(int batch, Body body) const {
    const std::size_t pixels = static_cast<std::size_t>(shape_.height) * shape_.width;
    for (int n = 0; n < batch; ++n)
      for (std::size_t p = 0; p < pixels; ++p) {
        body([&, first = n * shape_.size() + p](int c) { return first + c * pixels; });
      }
  }

  const Shape shape_;
};

}  // namespace

std::unique_ptr<Softmax> MakeSoftmax(const Shape& shape) { return std::make_unique<ReferenceSoftmax>(shape); }

}  // namespace downpour::kernels::reference
