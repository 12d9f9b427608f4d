#include "kernels/hinge_loss.h"

#include "kernels/aligned_buffer.h"
#include "kernels/cpu/device.h"
#include "kernels/cpu/top_k.h"
#include "kernels/vector_ops.h"

namespace downpour::kernels::cpu {
namespace {

class CpuHingeLoss final : public HingeLoss {
 public:
  CpuHingeLoss(const HingeLossSpec& spec, int max_batch)
      : classes_(spec.classes),
        squared_(spec.squared),
        top_k_(spec.top_k),
        slopes_(static_cast<std::size_t>(max_batch) * spec.classes) {}

  void Forward(ConstTensorView scores, const Targets& targets) override {
    LossResult result;
    for (int n = 0; n < scores.batch; ++n) {
      const float* row = scores.sample(n);
      float* slope = slopes_.data() + n * classes_;
      const auto label = static_cast<std::size_t>(targets.classes[n]);
      const float weight = targets.weight(n);
      double loss = 0;
      for (std::size_t k = 0; k < classes_; ++k) {
        const float sign = k == label ? -1.0f : 1.0f;
        const float margin = 1 + sign * row[k];
        const float kept = margin < 0 ? 0 : margin;  // a NaN stays
        loss += squared_ ? kept * kept : kept;
        slope[k] = weight * sign * (squared_ ? 2 * kept : margin > 0 ? 1.0f : 0.0f);
      }
      result.loss_sum += weight * loss;
      if (InTopK(row, classes_, label, top_k_)) result.correct += weight;
      result.weight += weight;
    }
    result_ = result;
  }

  LossResult Result() override { return result_; }

  void Backward(float scale, const Targets&, TensorView score_gradient) override {
    ScaleTo(std::span<const float>(slopes_.data(), score_gradient.size()), scale, score_gradient.values());
  }

 private:
  const std::size_t classes_;
  const bool squared_;
  const int top_k_;
  AlignedBuffer slopes_;  // of the last Forward, weights included
  LossResult result_;
};

}  // namespace

std::unique_ptr<HingeLoss> MakeHingeLoss(const HingeLossSpec& spec, int max_batch) {
  return std::make_unique<CpuHingeLoss>(spec, max_batch);
}

}  // namespace downpour::kernels::cpu
