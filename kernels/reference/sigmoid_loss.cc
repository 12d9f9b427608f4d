#include "kernels/sigmoid_loss.h"

#include <cmath>
#include <vector>

#include "kernels/reference/device.h"
#include "kernels/reference/top_k.h"

namespace downpour::kernels::reference {
namespace {

// log(1 + e^x)
double Softplus(double x) { return (x > 0 ? x : 0) + std::log1p(std::exp(-std::abs(x))); }

class ReferenceSigmoidLoss final : public SigmoidLoss {
 public:
  ReferenceSigmoidLoss(const SigmoidLossSpec& spec, int max_batch)
      : spec_(spec), probabilities_(static_cast<std::size_t>(max_batch) * spec.scores) {}

  void Forward(ConstTensorView scores, const Targets& targets) override {
    LossResult result;
    for (int n = 0; n < scores.batch; ++n) {
      const std::span<const float> row(scores.sample(n), spec_.scores);
      for (int k = 0; k < spec_.scores; ++k) {
        const double score = row[k];
        probabilities_[n * spec_.scores + k] = 1 / (1 + std::exp(-score));
        result.loss_sum += targets.weight(n) * Softplus(IsTrue(n, k, targets) ? -score : score);
      }
      const bool correct = spec_.scores == 1 ? !std::isnan(row[0]) && (row[0] > 0) == IsTrue(n, 0, targets)
                                             : InTopK(row, targets.classes[n], spec_.top_k);
      if (correct) result.correct += targets.weight(n);
      result.weight += targets.weight(n);
    }
    result_ = result;
  }

  LossResult Result() override { return result_; }

  void Backward(float scale, const Targets& targets, TensorView score_gradient) override {
    for (int n = 0; n < score_gradient.batch; ++n)
      for (int k = 0; k < spec_.scores; ++k) {
        const double target = IsTrue(n, k, targets) ? 1 : 0;
        score_gradient.sample(n)[k] =
            static_cast<float>(scale * targets.weight(n) * (probabilities_[n * spec_.scores + k] - target));
      }
  }

 private:
  bool IsTrue(int n, int k, const Targets& targets) const { return targets.classes[n] == (spec_.scores == 1 ? 1 : k); }

  const SigmoidLossSpec spec_;
  std::vector<double> probabilities_;  // of the last Forward
  LossResult result_;
};

}  // namespace

std::unique_ptr<SigmoidLoss> MakeSigmoidLoss(const SigmoidLossSpec& spec, int max_batch) {
  return std::make_unique<ReferenceSigmoidLoss>(spec, max_batch);
}

}  // namespace downpour::kernels::reference
