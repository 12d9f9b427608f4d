#include "kernels/softmax_loss.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/reference/device.h"
#include "kernels/reference/top_k.h"

namespace downpour::kernels::reference {
namespace {

class ReferenceSoftmaxLoss final : public SoftmaxLoss {
 public:
  ReferenceSoftmaxLoss(const SoftmaxLossSpec& spec, int max_batch)
      : classes_(spec.classes), top_k_(spec.top_k), probabilities_(static_cast<std::size_t>(max_batch) * spec.classes) {}

  void Forward(ConstTensorView scores, const Targets& targets) override {
    LossResult result;
    for (int n = 0; n < scores.batch; ++n) {
      const float* row = scores.sample(n);
      const float highest = *std::max_element(row, row + classes_);
      double sum = 0;
      for (std::size_t k = 0; k < classes_; ++k) sum += std::exp(static_cast<double>(row[k] - highest));
      for (std::size_t k = 0; k < classes_; ++k) {
        probabilities_[n * classes_ + k] = std::exp(static_cast<double>(row[k] - highest)) / sum;
      }
      const std::int32_t label = targets.classes[n];
      const double weight = targets.weight(n);
      result.loss_sum += weight * (std::log(sum) - (row[label] - highest));
      if (InTopK({row, classes_}, label, top_k_)) result.correct += weight;
      result.weight += weight;
    }
    result_ = result;
  }

  LossResult Result() override { return result_; }

  void Backward(float scale, const Targets& targets, TensorView score_gradient) override {
    for (int n = 0; n < score_gradient.batch; ++n) {
      for (std::size_t k = 0; k < classes_; ++k) {
        const double target = static_cast<std::size_t>(targets.classes[n]) == k ? 1 : 0;
        score_gradient.sample(n)[k] = scale * targets.weight(n) * (probabilities_[n * classes_ + k] - target);
      }
    }
  }

 private:
  const std::size_t classes_;
  const int top_k_;
  std::vector<double> probabilities_;
  LossResult result_;
};

}  // namespace

std::unique_ptr<SoftmaxLoss> MakeSoftmaxLoss(const SoftmaxLossSpec& spec, int max_batch) {
  return std::make_unique<ReferenceSoftmaxLoss>(spec, max_batch);
}

}  // namespace downpour::kernels::reference
