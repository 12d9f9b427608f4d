#include "kernels/contrastive_loss.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/reference/device.h"

namespace downpour::kernels::reference {
namespace {

class ReferenceContrastiveLoss final : public ContrastiveLoss {
 public:
  ReferenceContrastiveLoss(const ContrastiveLossSpec& spec, int max_batch)
      : size_(spec.shape.size()), margin_(spec.margin), differences_(max_batch * size_), distances_(max_batch) {}

  void Forward(ConstTensorView first, ConstTensorView second, const Targets& targets) override {
    LossResult result;
    for (int n = 0; n < first.batch; ++n) {
      double squares = 0;
      for (std::size_t i = 0; i < size_; ++i) {
        const double difference = static_cast<double>(first.sample(n)[i]) - second.sample(n)[i];
        differences_[n * size_ + i] = difference;
        squares += difference * difference;
      }
      distances_[n] = std::sqrt(squares);
      const double gap = Gap(n);
      const double loss_if_alike = squares / 2, loss_if_not = gap * gap / 2;
      const bool alike = targets.classes[n] == 1;
      result.loss_sum += targets.weight(n) * (alike ? loss_if_alike : loss_if_not);
      if (!std::isnan(squares) && alike == (loss_if_alike < loss_if_not)) result.correct += targets.weight(n);
      result.weight += targets.weight(n);
    }
    result_ = result;
  }

  LossResult Result() override { return result_; }

  void Backward(float scale, const Targets& targets, TensorView first_gradient, TensorView second_gradient) override {
    const int batch = first_gradient.empty() ? second_gradient.batch : first_gradient.batch;
    for (int n = 0; n < batch; ++n) {
      const double pull = targets.classes[n] == 1 ? 1 : distances_[n] == 0 ? 0 : -Gap(n) / distances_[n];
      for (std::size_t i = 0; i < size_; ++i) {
        const double gradient = scale * targets.weight(n) * pull * differences_[n * size_ + i];
        if (!first_gradient.empty()) first_gradient.sample(n)[i] = static_cast<float>(gradient);
        if (!second_gradient.empty()) second_gradient.sample(n)[i] = static_cast<float>(-gradient);
      }
    }
  }

 private:
  // By how much a pair is closer than the margin.
  double Gap(int n) const { return std::max(margin_ - distances_[n], 0.0); }

  const std::size_t size_;
  const double margin_;
  // Of the last Forward.
  std::vector<double> differences_;  // first - second
  std::vector<double> distances_;
  LossResult result_;
};

}  // namespace

std::unique_ptr<ContrastiveLoss> MakeContrastiveLoss(const ContrastiveLossSpec& spec, int max_batch) {
  return std::make_unique<ReferenceContrastiveLoss>(spec, max_batch);
}

}  // namespace downpour::kernels::reference
