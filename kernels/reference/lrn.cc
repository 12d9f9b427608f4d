#include "kernels/lrn.h"

#include <cmath>
#include <vector>

#include "kernels/reference/device.h"

namespace downpour::kernels::reference {
namespace {

class ReferenceLrn final : public Lrn {
 public:
  explicit ReferenceLrn(const LrnSpec& spec) : spec_(spec) {}

  void Forward(ConstTensorView input, TensorView output) override {
    scale_.assign(input.size(), 0);
    ForEachPair(input.batch, [&](std::size_t at, std::size_t near) {
      scale_[at] += static_cast<double>(input.data[near]) * input.data[near];
    });
    for (std::size_t i = 0; i < input.size(); ++i) {
      scale_[i] = spec_.k + spec_.alpha / spec_.window() * scale_[i];
      output.data[i] = static_cast<float>(input.data[i] * std::pow(scale_[i], -spec_.beta));
    }
  }

  void Backward(ConstTensorView input, ConstTensorView output, ConstTensorView output_gradient,
                TensorView input_gradient) override {
    std::vector<double> sums(input.size());
    ForEachPair(input.batch, [&](std::size_t at, std::size_t near) {
      sums[at] += output_gradient.data[near] * output.data[near] / scale_[near];
    });
    const double factor = 2.0 * spec_.alpha * spec_.beta / spec_.window();
    for (std::size_t i = 0; i < input.size(); ++i) {
      input_gradient.data[i] = static_cast<float>(output_gradient.data[i] * std::pow(scale_[i], -spec_.beta) -
                                                  factor * input.data[i] * sums[i]);
    }
  }

 private:
  // Calls body(at, near) with the indices of each value and of each one in its window.
  template <typename Body>
  void ForEachPair(int batch, Body body) const {
    const Shape& shape = spec_.shape;
    const int reach = spec_.local_size / 2;
    const bool across = spec_.region == LrnSpec::Region::kAcrossChannels;
    const int channels = across ? reach : 0, sides = across ? 0 : reach;
    for (int n = 0; n < batch; ++n)
      for (int c = 0; c < shape.channels; ++c)
        for (int y = 0; y < shape.height; ++y)
          for (int x = 0; x < shape.width; ++x)
            for (int dc = -channels; dc <= channels; ++dc)
              for (int dy = -sides; dy <= sides; ++dy)
                for (int dx = -sides; dx <= sides; ++dx) {
                  if (c + dc < 0 || c + dc >= shape.channels || y + dy < 0 || y + dy >= shape.height || x + dx < 0 ||
                      x + dx >= shape.width) {
                    continue;
                  }
                  body(IndexOf(n, c, y, x), IndexOf(n, c + dc, y + dy, x + dx));
                }
  }

  std::size_t IndexOf(int n, int c, int y, int x) const {
    const Shape& shape = spec_.shape;
    return n * shape.size() + (static_cast<std::size_t>(c) * shape.height + y) * shape.width + x;
  }

  const LrnSpec spec_;
  std::vector<double> scale_;  // of the last Forward
};

}  // namespace

std::unique_ptr<Lrn> MakeLrn(const LrnSpec& spec) { return std::make_unique<ReferenceLrn>(spec); }

}  // namespace downpour::kernels::reference
