#include "kernels/softmax_loss.h"

#include <algorithm>
#include <cmath>

#include "kernels/aligned_buffer.h"
#include "kernels/cpu/device.h"
#include "kernels/cpu/top_k.h"
#include "kernels/vector_ops.h"

namespace downpour::kernels::cpu {
namespace {

class CpuSoftmaxLoss final : public SoftmaxLoss {
 public:
  CpuSoftmaxLoss(const SoftmaxLossSpec& spec, int max_batch)
      : classes_(spec.classes), top_k_(spec.top_k), probabilities_(static_cast<std::size_t>(max_batch) * spec.classes) {}

  void Forward(ConstTensorView scores, const Targets& targets) override {
    LossResult result;
    for (int n = 0; n < scores.batch; ++n) {
      const float* row = scores.sample(n);
      const float* highest = std::max_element(row, row + classes_);
      float* probability = probabilities_.data() + n * classes_;
      float sum = 0;
      for (std::size_t k = 0; k < classes_; ++k) sum += probability[k] = std::exp(row[k] - *highest);
      Scale(1 / sum, {probability, classes_});
      const std::int32_t label = targets.classes[n];
      const double weight = targets.weight(n);
      result.loss_sum += weight * (std::log(static_cast<double>(sum)) - (row[label] - *highest));
      if (InTopK(row, classes_, label, top_k_)) result.correct += weight;
      result.weight += weight;
    }
    result_ = result;
  }

  LossResult Result() override { return result_; }

  void Backward(float scale, const Targets& targets, TensorView score_gradient) override {
    ScaleTo({probabilities_.data(), score_gradient.size()}, scale, score_gradient.values());
    for (int n = 0; n < score_gradient.batch; ++n) {
      float* const row = score_gradient.sample(n);
      row[targets.classes[n]] -= scale;
      if (!targets.weights.empty()) Scale(targets.weights[n], {row, classes_});
    }
  }

 private:
  const std::size_t classes_;
  const int top_k_;
  AlignedBuffer probabilities_;
  LossResult result_;
};

}  // namespace

std::unique_ptr<SoftmaxLoss> MakeSoftmaxLoss(const SoftmaxLossSpec& spec, int max_batch) {
  return std::make_unique<CpuSoftmaxLoss>(spec, max_batch);
}

}  // namespace downpour::kernels::cpu
