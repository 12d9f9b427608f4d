#include "kernels/attention.h"

#include <cmath>

#include "kernels/cuda/class_scores.h"
#include "kernels/cuda/fast_divisor.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/matrix_product.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

// Matrices of steps by depth for each head, in rows of 3 * features.
template <typename T>
struct Heads {
  T* queries;
  T* keys;
  T* values;
};

class CudaAttention final : public Attention {
 public:
  CudaAttention(const Context& context, const AttentionSpec& spec, int max_batch)
      : context_(context),
        steps_(spec.steps),
        features_(spec.features),
        heads_(spec.heads),
        depth_(spec.features / spec.heads),
        scale_(1 / std::sqrt(static_cast<float>(depth_))),
        causal_(spec.causal),
        by_steps_(spec.steps),
        products_(context, spec.heads, max_batch),
        shares_(context.MakeBuffer(std::size_t{1} * max_batch * heads_ * steps_ * steps_)),
        share_gradients_(context.MakeBuffer(shares_.size())) {}

  void Forward(ConstTensorView input, TensorView output) override {
    const Heads<const float> from = HeadsOf(input.data);
    products_.Run(input.batch, steps_, steps_, depth_, OfInput(from.queries), OfInput(from.keys, true), shares_.data(),
                  steps_, SharesSteps());
    ForEachRow(
        context_, input.batch * heads_ * steps_,
        [steps = by_steps_, causal = causal_, scale = scale_, shares = shares_.data()] __device__(Index row, int lane) {
          const int size = steps.divisor();
          const int reach = causal ? steps.Remainder(row) + 1 : size;
          float* const share = shares + row * size;
          const float highest = WarpHighest(share, reach, lane).score;
          float sum = 0;
          for (int j = lane; j < reach; j += kWarp) {
            share[j] = expf(scale * (share[j] - highest));
            sum += share[j];
          }
          sum = WarpSum(sum);
          for (int j = lane; j < size; j += kWarp) share[j] = j < reach ? share[j] / sum : 0;
        });
    products_.Run(input.batch, steps_, depth_, steps_, OfScores(shares_), OfInput(from.values), output.data, features_,
                  OutputSteps());
  }

  void Backward(ConstTensorView input, ConstTensorView output_gradient, TensorView input_gradient) override {
    const Heads<const float> from = HeadsOf(input.data);
    const Heads<float> to = HeadsOf(input_gradient.data);
    const HeadMatrix gradient{{output_gradient.data, features_}, OutputSteps()};
    products_.Run(input.batch, steps_, depth_, steps_, OfScores(shares_, true), gradient, to.values, 3 * features_,
                  InputSteps());
    products_.Run(input.batch, steps_, steps_, depth_, gradient, OfInput(from.values, true), share_gradients_.data(),
                  steps_, SharesSteps());
    // Turns the gradients of shares into those of scores.
    ForEachRow(context_, input.batch * heads_ * steps_,
               [steps = steps_, scale = scale_, shares = shares_.data(),
                gradients = share_gradients_.data()] __device__(Index row, int lane) {
                 const float* const share = shares + row * steps;
                 float* const slope = gradients + row * steps;
                 float dot = 0;
                 for (int j = lane; j < steps; j += kWarp) dot += share[j] * slope[j];
                 dot = WarpSum(dot);
                 for (int j = lane; j < steps; j += kWarp) slope[j] = scale * share[j] * (slope[j] - dot);
               });
    products_.Run(input.batch, steps_, depth_, steps_, OfScores(share_gradients_), OfInput(from.keys), to.queries,
                  3 * features_, InputSteps());
    products_.Run(input.batch, steps_, depth_, steps_, OfScores(share_gradients_, true), OfInput(from.queries), to.keys,
                  3 * features_, InputSteps());
  }

 private:
  template <typename T>
  Heads<T> HeadsOf(T* first) const {
    return {first, first + features_, first + 2 * features_};
  }
  Steps InputSteps() const { return {static_cast<Index>(steps_) * 3 * features_, static_cast<Index>(depth_)}; }
  Steps OutputSteps() const { return {static_cast<Index>(steps_) * features_, static_cast<Index>(depth_)}; }
  Steps SharesSteps() const {
    const Index size = static_cast<Index>(steps_) * steps_;
    return {heads_ * size, size};
  }
  HeadMatrix OfInput(const float* first, bool transposed = false) const {
    return {{first, 3 * features_, transposed}, InputSteps()};
  }
  HeadMatrix OfScores(const Buffer& scores, bool transposed = false) const {
    return {{scores.data(), steps_, transposed}, SharesSteps()};
  }

  const Context& context_;
  const int steps_;
  const int features_;
  const int heads_;
  const int depth_;  // features of a head
  const float scale_;
  const bool causal_;
  const FastDivisor by_steps_;
  const HeadProducts products_;
  const Buffer shares_;           // of the last Forward
  const Buffer share_gradients_;  // then those of the scores
};

}  // namespace

std::unique_ptr<Attention> MakeAttention(const Context& context, const AttentionSpec& spec, int max_batch) {
  CheckSize({spec.steps, 3, spec.features}, max_batch);
  CheckSize({spec.heads, spec.steps, spec.steps}, max_batch);
  return std::make_unique<CudaAttention>(context, spec, max_batch);
}

}  // namespace downpour::kernels::cuda
