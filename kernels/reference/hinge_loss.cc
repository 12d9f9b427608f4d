#include "kernels/hinge_loss.h"

#include <algorithm>
#include <vector>

#include "kernels/reference/device.h"
#include "kernels/reference/top_k.h"

namespace downpour::kernels::reference {
namespace {

class ReferenceHingeLoss final : public HingeLoss {
 public:
  ReferenceHingeLoss(const HingeLossSpec& spec, int max_batch)
      : spec_(spec), scores_(static_cast<std::size_t>(max_batch) * spec.classes) {}

  void Forward(ConstTensorView scores, const Targets& targets) override {
    std::ranges::copy(scores.values(), scores_.begin());
    LossResult result;
    for (int n = 0; n < scores.batch; ++n) {
      for (int k = 0; k < spec_.classes; ++k) {
        const double margin = Margin(n, k, targets);
        result.loss_sum += targets.weight(n) * (spec_.squared ? margin * margin : margin);
      }
      const std::span<const float> row(scores.sample(n), spec_.classes);
      if (InTopK(row, targets.classes[n], spec_.top_k)) result.correct += targets.weight(n);
      result.weight += targets.weight(n);
    }
    result_ = result;
  }

  LossResult Result() override { return result_; }

  void Backward(float scale, const Targets& targets, TensorView score_gradient) override {
    for (int n = 0; n < score_gradient.batch; ++n)
      for (int k = 0; k < spec_.classes; ++k) {
        const double margin = Margin(n, k, targets);
        const double slope = margin == 0 ? 0 : spec_.squared ? 2 * margin : 1;
        score_gradient.sample(n)[k] = static_cast<float>(scale * targets.weight(n) * Sign(n, k, targets) * slope);
      }
  }

 private:
  static int Sign(int n, int k, const Targets& targets) { return targets.classes[n] == k ? -1 : 1; }
  double Margin(int n, int k, const Targets& targets) const {
    const double margin = 1.0 + Sign(n, k, targets) * scores_[static_cast<std::size_t>(n) * spec_.classes + k];
    return margin < 0 ? 0 : margin;  // a NaN stays
  }

  const HingeLossSpec spec_;
  std::vector<float> scores_;  // of the last Forward
  LossResult result_;
};

}  // namespace

std::unique_ptr<HingeLoss> MakeHingeLoss(const HingeLossSpec& spec, int max_batch) {
  return std::make_unique<ReferenceHingeLoss>(spec, max_batch);
}

}  // namespace downpour::kernels::reference
