#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/reference/device.h"

namespace downpour::kernels::reference {
namespace {

class ReferenceAttention final : public Attention {
 public:
  ReferenceAttention(const AttentionSpec& spec, int max_batch)
      : spec_(spec),
        depth_(spec.features / spec.heads),
        shares_(static_cast<std::size_t>(max_batch) * spec.heads * spec.steps * spec.steps) {}

  void Forward(ConstTensorView input, TensorView output) override {
    for (int n = 0; n < input.batch; ++n)
      for (int h = 0; h < spec_.heads; ++h)
        for (int i = 0; i < spec_.steps; ++i) {
          double* const share = Shares(n, h, i);
          double highest = -INFINITY;
          for (int j = 0; j < Reach(i); ++j) {
            share[j] = 0;
            for (int d = 0; d < depth_; ++d) share[j] += Query(input, n, h, i, d) * Key(input, n, h, j, d);
            share[j] /= std::sqrt(depth_);
            highest = std::max(highest, share[j]);
          }
          double sum = 0;
          for (int j = 0; j < Reach(i); ++j) sum += share[j] = std::exp(share[j] - highest);
          for (int j = 0; j < Reach(i); ++j) share[j] /= sum;
          for (int d = 0; d < depth_; ++d) {
            double value = 0;
            for (int j = 0; j < Reach(i); ++j) value += share[j] * Value(input, n, h, j, d);
            output.sample(n)[i * spec_.features + h * depth_ + d] = static_cast<float>(value);
          }
        }
  }

  void Backward(ConstTensorView input, ConstTensorView output_gradient, TensorView input_gradient) override {
    std::ranges::fill(input_gradient.values(), 0.0f);
    std::vector<double> share_gradient(spec_.steps);
    for (int n = 0; n < input.batch; ++n)
      for (int h = 0; h < spec_.heads; ++h)
        for (int i = 0; i < spec_.steps; ++i) {
          const double* const share = Shares(n, h, i);
          const float* const gradient = output_gradient.sample(n) + i * spec_.features + h * depth_;
          double mean = 0;
          for (int j = 0; j < Reach(i); ++j) {
            share_gradient[j] = 0;
            for (int d = 0; d < depth_; ++d) share_gradient[j] += gradient[d] * Value(input, n, h, j, d);
            mean += share[j] * share_gradient[j];
          }
          for (int j = 0; j < Reach(i); ++j) {
            const double score_gradient = share[j] * (share_gradient[j] - mean) / std::sqrt(depth_);
            for (int d = 0; d < depth_; ++d) {
              Query(input_gradient, n, h, i, d) += score_gradient * Key(input, n, h, j, d);
              Key(input_gradient, n, h, j, d) += score_gradient * Query(input, n, h, i, d);
              Value(input_gradient, n, h, j, d) += share[j] * gradient[d];
            }
          }
        }
  }

 private:
  // How many steps step i attends to.
  int Reach(int i) const { return spec_.causal ? i + 1 : spec_.steps; }

  double* Shares(int n, int h, int i) {
    return shares_.data() + ((static_cast<std::size_t>(n) * spec_.heads + h) * spec_.steps + i) * spec_.steps;
  }

  template <typename T>
  T& At(const BasicTensorView<T>& view, int n, int step, int place) const {
    return view.sample(n)[step * 3 * spec_.features + place];
  }
  template <typename T>
  T& Query(const BasicTensorView<T>& view, int n, int h, int step, int d) const {
    return At(view, n, step, h * depth_ + d);
  }
  template <typename T>
  T& Key(const BasicTensorView<T>& view, int n, int h, int step, int d) const {
    return At(view, n, step, spec_.features + h * depth_ + d);
  }
  template <typename T>
  T& Value(const BasicTensorView<T>& view, int n, int h, int step, int d) const {
    return At(view, n, step, 2 * spec_.features + h * depth_ + d);
  }

  const AttentionSpec spec_;
  const int depth_;             // features of a head
  std::vector<double> shares_;  // of the last Forward
};

}  // namespace

std::unique_ptr<Attention> MakeAttention(const AttentionSpec& spec, int max_batch) {
  return std::make_unique<ReferenceAttention>(spec, max_batch);
}

}  // namespace downpour::kernels::reference
