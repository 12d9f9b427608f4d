#include "kernels/euclidean_loss.h"

#include "kernels/aligned_buffer.h"
#include "kernels/cpu/device.h"
#include "kernels/vector_ops.h"

namespace downpour::kernels::cpu {
namespace {

class CpuEuclideanLoss final : public EuclideanLoss {
 public:
  explicit CpuEuclideanLoss(int max_batch) : gradients_(max_batch) {}

  void Forward(ConstTensorView values, const Targets& targets) override {
    LossResult result;
    for (int n = 0; n < values.batch; ++n) {
      const float difference = values.data[n] - targets.numbers[n];
      const float weight = targets.weight(n);
      gradients_.data()[n] = weight * difference;
      result.loss_sum += 0.5 * weight * difference * difference;
      result.weight += weight;
    }
    result_ = result;
  }

  LossResult Result() override { return result_; }

  void Backward(float scale, const Targets&, TensorView value_gradient) override {
    ScaleTo(std::span<const float>(gradients_.data(), value_gradient.size()), scale, value_gradient.values());
  }

 private:
  AlignedBuffer gradients_;  // of the last Forward
  LossResult result_;
};

}  // namespace

std::unique_ptr<EuclideanLoss> MakeEuclideanLoss(int max_batch) { return std::make_unique<CpuEuclideanLoss>(max_batch); }

}  // namespace downpour::kernels::cpu
