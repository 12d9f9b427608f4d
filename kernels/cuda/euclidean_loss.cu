#include "kernels/euclidean_loss.h"

#include "kernels/cuda/launch.h"
#include "kernels/cuda/loss_sums.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

class CudaEuclideanLoss final : public EuclideanLoss {
 public:
  CudaEuclideanLoss(const Context& context, int max_batch)
      : context_(context), differences_(context.MakeBuffer(max_batch)), result_(context) {}

  void Forward(ConstTensorView values, const Targets& targets) override {
    SumLosses(
        context_, values.batch, targets, result_,
        [x = values.data, numbers = targets.numbers.data(), differences = differences_.data()] __device__(Index n) {
          const float difference = x[n] - numbers[n];
          differences[n] = difference;
          return SampleLoss{0.5 * difference * difference, false};
        });
  }

  LossResult Result() override { return result_.Wait(); }

  void Backward(float scale, const Targets& targets, TensorView value_gradient) override {
    ForEach(context_, value_gradient.size(),
            [scale, targets = DeviceTargets(targets), differences = differences_.data(),
             dx = value_gradient.data] __device__(Index n) { dx[n] = scale * targets.weight(n) * differences[n]; });
  }

 private:
  const Context& context_;
  const Buffer differences_;  // of the last Forward
  const HostResult result_;
};

}  // namespace

std::unique_ptr<EuclideanLoss> MakeEuclideanLoss(const Context& context, int max_batch) {
  return std::make_unique<CudaEuclideanLoss>(context, max_batch);
}

}  // namespace downpour::kernels::cuda
