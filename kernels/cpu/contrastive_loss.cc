#include "kernels/contrastive_loss.h"

#include <cmath>

#include "kernels/aligned_buffer.h"
#include "kernels/cpu/device.h"
#include "kernels/vector_ops.h"

namespace downpour::kernels::cpu {
namespace {

class CpuContrastiveLoss final : public ContrastiveLoss {
 public:
  CpuContrastiveLoss(const ContrastiveLossSpec& spec, int max_batch)
      : size_(spec.shape.size()), margin_(spec.margin), slopes_(max_batch * size_) {}

  void Forward(ConstTensorView first, ConstTensorView second, const Targets& targets) override {
    LossResult result;
    for (int n = 0; n < first.batch; ++n) {
      const std::span<float> slope(slopes_.data() + n * size_, size_);
      for (std::size_t i = 0; i < size_; ++i) slope[i] = first.sample(n)[i] - second.sample(n)[i];
      const double squares = SumOfSquares(slope), distance = std::sqrt(squares);
      const double gap = distance > margin_ ? 0 : margin_ - distance;  // a NaN stays
      const bool alike = targets.classes[n] == 1;
      const float weight = targets.weight(n);
      result.loss_sum += weight * (alike ? squares : gap * gap) / 2;
      if (alike ? distance < gap : distance >= gap) result.correct += weight;
      result.weight += weight;
      Scale(static_cast<float>(weight * (alike ? 1 : distance == 0 ? 0 : -gap / distance)), slope);
    }
    result_ = result;
  }

  LossResult Result() override { return result_; }

  void Backward(float scale, const Targets&, TensorView first_gradient, TensorView second_gradient) override {
    const auto write = [this](float factor, TensorView to) {
      if (!to.empty()) ScaleTo(std::span<const float>(slopes_.data(), to.size()), factor, to.values());
    };
    write(scale, first_gradient);
    write(-scale, second_gradient);
  }

 private:
  const std::size_t size_;
  const double margin_;
  AlignedBuffer slopes_;  // of the last Forward's first values, weights included
  LossResult result_;
};

}  // namespace

std::unique_ptr<ContrastiveLoss> MakeContrastiveLoss(const ContrastiveLossSpec& spec, int max_batch) {
  return std::make_unique<CpuContrastiveLoss>(spec, max_batch);
}

}  // namespace downpour::kernels::cpu
