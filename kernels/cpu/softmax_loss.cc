#include "kernels/softmax_loss.h"

#include <algorithm>
#include <cmath>

#include "kernels/aligned_buffer.h"
#include "kernels/cpu/device.h"
#include "kernels/vector_ops.h"

namespace downpour::kernels::cpu {
namespace {

class CpuSoftmaxLoss final : public SoftmaxLoss {
 public:
  CpuSoftmaxLoss(int classes, int max_batch)
      : classes_(classes), probabilities_(static_cast<std::size_t>(max_batch) * classes) {}

  SoftmaxResult Forward(ConstTensorView scores, std::span<const std::int32_t> labels) override {
    SoftmaxResult result;
    for (int n = 0; n < scores.batch; ++n) {
      const float* row = scores.sample(n);
      const float* highest = std::max_element(row, row + classes_);
      float* probability = probabilities_.data() + n * classes_;
      float sum = 0;
      for (std::size_t k = 0; k < classes_; ++k) sum += probability[k] = std::exp(row[k] - *highest);
      Scale(1 / sum, {probability, classes_});
      result.loss_sum += std::log(static_cast<double>(sum)) - (row[labels[n]] - *highest);
      result.correct += highest - row == labels[n];
    }
    return result;
  }

  void Backward(float scale, std::span<const std::int32_t> labels, TensorView score_gradient) override {
    ScaleTo({probabilities_.data(), score_gradient.size()}, scale, score_gradient.values());
    for (int n = 0; n < score_gradient.batch; ++n) score_gradient.sample(n)[labels[n]] -= scale;
  }

 private:
  const std::size_t classes_;
  AlignedBuffer probabilities_;
};

}  // namespace

std::unique_ptr<SoftmaxLoss> MakeSoftmaxLoss(int classes, int max_batch) {
  return std::make_unique<CpuSoftmaxLoss>(classes, max_batch);
}

}  // namespace downpour::kernels::cpu
