// A convolution goes one of several ways, each pass for itself.
#include "kernels/conv2d.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "kernels/cpu/conv2d_costs.h"
#include "kernels/cpu/device.h"
#include "kernels/cpu/direct_conv2d.h"
#include "kernels/cpu/patches_conv2d.h"
#include "kernels/cpu/winograd_conv2d.h"

namespace downpour::kernels::cpu {
namespace {

struct Way {
  Conv2dCosts costs;
  std::unique_ptr<Conv2d> (*make)(const Conv2dSpec& spec, int threads);
};

std::vector<Way> WaysFor(const Conv2dSpec& spec) {
  std::vector<Way> ways = {{PatchesConv2dCosts(spec), MakePatchesConv2d}};
  if (HasDirectConv2d(spec)) ways.push_back({DirectConv2dCosts(spec), MakeDirectConv2d});
  if (HasWinogradConv2d(spec)) ways.push_back({WinogradConv2dCosts(spec), MakeWinogradConv2d});
  return ways;
}

// The way that has least to do, for each pass. Which is the fastest one is not measured, for the bits differ, and on
// one kind of CPU they should be the same each time.
class CheapestConv2d final : public Conv2d {
 public:
  CheapestConv2d(const Conv2dSpec& spec, int threads) {
    const std::vector<Way> ways = WaysFor(spec);
    std::vector<Conv2d*> made(ways.size());
    const auto cheapest = [&](double Conv2dCosts::*pass) {
      const auto way =
          std::ranges::min_element(ways, {}, [&](const Way& each) { return each.costs.*pass; }) - ways.begin();
      if (made[way] == nullptr) made[way] = ops_.emplace_back(ways[way].make(spec, threads)).get();
      return made[way];
    };
    forward_ = cheapest(&Conv2dCosts::forward);
    backward_data_ = cheapest(&Conv2dCosts::backward_data);
    backward_weights_ = cheapest(&Conv2dCosts::backward_weights);
  }

  void Forward(ConstTensorView input, const float* weights, const float* bias, TensorView output) override {
    forward_->Forward(input, weights, bias, output);
  }
  void BackwardData(ConstTensorView output_gradient, const float* weights, TensorView input_gradient) override {
    backward_data_->BackwardData(output_gradient, weights, input_gradient);
  }
  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                       float* bias_gradient) override {
    backward_weights_->BackwardWeights(input, output_gradient, weight_gradient, bias_gradient);
  }

 private:
  std::vector<std::unique_ptr<Conv2d>> ops_;
  // Each one of these.
  Conv2d* forward_ = nullptr;
  Conv2d* backward_data_ = nullptr;
  Conv2d* backward_weights_ = nullptr;
};

}  // namespace

std::unique_ptr<Conv2d> MakeConv2d(const Conv2dSpec& spec, int threads) {
  return std::make_unique<CheapestConv2d>(spec, threads);
}

}  // namespace downpour::kernels::cpu
