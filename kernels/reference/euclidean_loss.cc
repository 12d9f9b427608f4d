#include "kernels/euclidean_loss.h"

#include <vector>

#include "kernels/reference/device.h"

namespace downpour::kernels::reference {
namespace {

class ReferenceEuclideanLoss final : public EuclideanLoss {
 public:
  explicit ReferenceEuclideanLoss(int max_batch) : differences_(max_batch) {}

  void Forward(ConstTensorView values, const Targets& targets) override {
    LossResult result;
    for (int n = 0; n < values.batch; ++n) {
      const double difference = static_cast<double>(*values.sample(n)) - targets.numbers[n];
      const double weight = targets.weight(n);
      differences_[n] = difference;
      result.loss_sum += weight * difference * difference / 2;
      result.weight += weight;
    }
    result_ = result;
  }

  LossResult Result() override { return result_; }

  void Backward(float scale, const Targets& targets, TensorView value_gradient) override {
    for (int n = 0; n < value_gradient.batch; ++n) {
      *value_gradient.sample(n) = static_cast<float>(scale * targets.weight(n) * differences_[n]);
    }
  }

 private:
  std::vector<double> differences_;
  LossResult result_;
};

}  // namespace

std::unique_ptr<EuclideanLoss> MakeEuclideanLoss(int max_batch) {
  return std::make_unique<ReferenceEuclideanLoss>(max_batch);
}

}  // namespace downpour::kernels::reference
