#include "kernels/attention.h"

#include <algorithm>
#include <cmath>

#include "kernels/aligned_buffer.h"
#include "kernels/cpu/device.h"
#include "kernels/cpu/exponential.h"
#include "kernels/cpu/matrix_product.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/function_clones.h"
#include "kernels/vector_ops.h"

namespace downpour::kernels::cpu {
namespace {

// x = exp(scale * (x - highest))
DOWNPOUR_CLONES
void Exponentials(float* x, float scale, float highest, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) x[i] = Exponential(scale * (x[i] - highest));
}

DOWNPOUR_CLONES
void Multiply(const float* x, float* y, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) y[i] *= x[i];
}

// The softmax of the first `reach` scores, each times `scale`; 0 for the others.
void Softmax(std::span<float> row, std::size_t reach, float scale) {
  const std::span<float> scores = row.first(reach);
  Exponentials(scores.data(), scale, *std::max_element(scores.begin(), scores.end()), reach);
  Scale(1 / Sum(scores), scores);
  Zero(row.subspan(reach));
}

// Turns the gradients of shares into those of scores.
void SoftmaxBack(std::span<const float> shares, float scale, std::span<float> gradients) {
  Multiply(shares.data(), gradients.data(), gradients.size());
  Axpy(-Sum(gradients), shares, gradients);
  Scale(scale, gradients);
}

class CpuAttention final : public Attention {
 public:
  CpuAttention(const AttentionSpec& spec, int max_batch, int threads)
      : steps_(spec.steps),
        features_(spec.features),
        heads_(spec.heads),
        depth_(spec.features / spec.heads),
        scale_(1 / std::sqrt(static_cast<float>(depth_))),
        causal_(spec.causal),
        threads_(threads),
        scores_(static_cast<std::size_t>(steps_) * steps_),
        shares_(max_batch * heads_ * scores_),
        share_gradients_(std::min(threads, max_batch * heads_) * scores_) {}

  void Forward(ConstTensorView input, TensorView output) override {
    ForEachHead(input.batch, [&](int n, int h, int) {
      const Head<const float> from = HeadOf(input, n, h);
      float* const shares = SharesOf(n, h);
      MatrixProduct(steps_, steps_, depth_, {from.queries, 3 * features_}, {from.keys, 3 * features_, true}, 0, shares,
                    steps_, 1);
      for (int i = 0; i < steps_; ++i) {
        Softmax({shares + i * steps_, static_cast<std::size_t>(steps_)}, causal_ ? i + 1 : steps_, scale_);
      }
      MatrixProduct(steps_, depth_, steps_, {shares, steps_}, {from.values, 3 * features_}, 0,
                    output.sample(n) + h * depth_, features_, 1);
    });
  }

  void Backward(ConstTensorView input, ConstTensorView output_gradient, TensorView input_gradient) override {
    ForEachHead(input.batch, [&](int n, int h, int part) {
      const Head<const float> from = HeadOf(input, n, h);
      const Head<float> to = HeadOf(input_gradient, n, h);
      const float* const shares = SharesOf(n, h);
      float* const gradients = share_gradients_.data() + part * scores_;  // of the shares, then of the scores
      const Matrix gradient{output_gradient.sample(n) + h * depth_, features_};
      MatrixProduct(steps_, depth_, steps_, {shares, steps_, true}, gradient, 0, to.values, 3 * features_, 1);
      MatrixProduct(steps_, steps_, depth_, gradient, {from.values, 3 * features_, true}, 0, gradients, steps_, 1);
      for (int i = 0; i < steps_; ++i) {
        const std::size_t row = static_cast<std::size_t>(i) * steps_, size = steps_;
        SoftmaxBack({shares + row, size}, scale_, {gradients + row, size});
      }
      MatrixProduct(steps_, depth_, steps_, {gradients, steps_}, {from.keys, 3 * features_}, 0, to.queries,
                    3 * features_, 1);
      MatrixProduct(steps_, depth_, steps_, {gradients, steps_, true}, {from.queries, 3 * features_}, 0, to.keys,
                    3 * features_, 1);
    });
  }

 private:
  // Matrices of steps by depth, in rows of 3 * features.
  template <typename T>
  struct Head {
    T* queries;
    T* keys;
    T* values;
  };

  template <typename T>
  Head<T> HeadOf(const BasicTensorView<T>& view, int n, int h) const {
    T* const first = view.sample(n) + h * depth_;
    return {first, first + features_, first + 2 * features_};
  }

  float* SharesOf(int n, int h) { return shares_.data() + (static_cast<std::size_t>(n) * heads_ + h) * scores_; }

  // body(sample, head, part)
  template <typename Body>
  void ForEachHead(int batch, Body body) {
    ParallelFor(batch * heads_, threads_, [&](int begin, int end, int part) {
      for (int i = begin; i < end; ++i) body(i / heads_, i % heads_, part);
    });
  }

  const int steps_;
  const int features_;
  const int heads_;
  const int depth_;  // features of a head
  const float scale_;
  const bool causal_;
  const int threads_;
  const std::size_t scores_;       // of one head
  AlignedBuffer shares_;           // of the last Forward
  AlignedBuffer share_gradients_;  // of one head, for each thread
};

}  // namespace

std::unique_ptr<Attention> MakeAttention(const AttentionSpec& spec, int max_batch, int threads) {
  return std::make_unique<CpuAttention>(spec, max_batch, threads);
}

}  // namespace downpour::kernels::cpu
