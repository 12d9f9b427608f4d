#include "kernels/max_pool2d.h"

#include <algorithm>
#include <vector>

#include "kernels/reference/device.h"

namespace downpour::kernels::reference {
namespace {

class ReferenceMaxPool2d final : public MaxPool2d {
 public:
  ReferenceMaxPool2d(const Pool2dSpec& spec, int max_batch)
      : spec_(spec), output_(spec.output()), argmax_(max_batch * output_.size()) {}

  void Forward(ConstTensorView input, TensorView output) override {
    for (int n = 0; n < input.batch; ++n) {
      std::size_t out = 0;
      for (int c = 0; c < output_.channels; ++c)
        for (int y = 0; y < output_.height; ++y)
          for (int x = 0; x < output_.width; ++x, ++out) {
            const Pool2dSpec::Range rows = spec_.Window(y, spec_.input.height);
            const Pool2dSpec::Range columns = spec_.Window(x, spec_.input.width);
            std::size_t best = Index(c, rows.first, columns.first);
            for (int i = rows.first; i < rows.last; ++i)
              for (int j = columns.first; j < columns.last; ++j) {
                const std::size_t in = Index(c, i, j);
                if (input.sample(n)[in] > input.sample(n)[best]) best = in;
              }
            argmax_[n * output_.size() + out] = best;
            output.sample(n)[out] = input.sample(n)[best];
          }
    }
  }

  void Backward(ConstTensorView output_gradient, TensorView input_gradient) override {
    std::ranges::fill(input_gradient.values(), 0.0f);
    for (int n = 0; n < output_gradient.batch; ++n) {
      for (std::size_t out = 0; out < output_.size(); ++out) {
        input_gradient.sample(n)[argmax_[n * output_.size() + out]] += output_gradient.sample(n)[out];
      }
    }
  }

 private:
  std::size_t Index(int c, int y, int x) const {
    return (static_cast<std::size_t>(c) * spec_.input.height + y) * spec_.input.width + x;
  }

  const Pool2dSpec spec_;
  const Shape output_;
  std::vector<std::size_t> argmax_;  // within the sample
};

}  // namespace

std::unique_ptr<MaxPool2d> MakeMaxPool2d(const Pool2dSpec& spec, int max_batch) {
  return std::make_unique<ReferenceMaxPool2d>(spec, max_batch);
}

}  // namespace downpour::kernels::reference
