#include "kernels/sigmoid_loss.h"

#include <cmath>

#include "kernels/aligned_buffer.h"
#include "kernels/cpu/device.h"
#include "kernels/cpu/top_k.h"
#include "kernels/vector_ops.h"

namespace downpour::kernels::cpu {
namespace {

class CpuSigmoidLoss final : public SigmoidLoss {
 public:
  CpuSigmoidLoss(const SigmoidLossSpec& spec, int max_batch)
      : scores_(spec.scores), top_k_(spec.top_k), slopes_(static_cast<std::size_t>(max_batch) * spec.scores) {}

  void Forward(ConstTensorView scores, const Targets& targets) override {
    LossResult result;
    for (int n = 0; n < scores.batch; ++n) {
      const float* const row = scores.sample(n);
      float* const slope = slopes_.data() + n * scores_;
      const auto label = static_cast<std::size_t>(targets.classes[n]);
      const float weight = targets.weight(n);
      double loss = 0;
      for (std::size_t k = 0; k < scores_; ++k) {
        const bool is_true = label == (scores_ == 1 ? 1 : k);
        const float against = is_true ? -row[k] : row[k];  // a NaN stays
        const float small = std::exp(-std::abs(against));
        loss += (against > 0 ? against : 0) + std::log1p(small);
        const float wrong = (against > 0 ? 1 : small) / (1 + small);  // the probability of what is not so
        slope[k] = weight * (is_true ? -wrong : wrong);
      }
      result.loss_sum += weight * loss;
      if (IsCorrect(row, label)) result.correct += weight;
      result.weight += weight;
    }
    result_ = result;
  }

  LossResult Result() override { return result_; }

  void Backward(float scale, const Targets&, TensorView score_gradient) override {
    ScaleTo(std::span<const float>(slopes_.data(), score_gradient.size()), scale, score_gradient.values());
  }

 private:
  bool IsCorrect(const float* row, std::size_t label) const {
    if (scores_ == 1) return label == 1 ? row[0] > 0 : row[0] <= 0;
    return InTopK(row, scores_, label, top_k_);
  }

  const std::size_t scores_;
  const int top_k_;
  AlignedBuffer slopes_;  // of the last Forward, weights included
  LossResult result_;
};

}  // namespace

std::unique_ptr<SigmoidLoss> MakeSigmoidLoss(const SigmoidLossSpec& spec, int max_batch) {
  return std::make_unique<CpuSigmoidLoss>(spec, max_batch);
}

}  // namespace downpour::kernels::cpu
