#include "kernels/softmax_loss.h"

#include "kernels/cuda/class_scores.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/loss_sums.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

class CudaSoftmaxLoss final : public SoftmaxLoss {
 public:
  CudaSoftmaxLoss(const Context& context, int classes, int max_batch)
      : context_(context),
        classes_(classes),
        probabilities_(context.MakeBuffer(static_cast<std::size_t>(max_batch) * classes)),
        losses_(context.MakeBuffer(max_batch)),
        best_(context.MakeBuffer(max_batch)),
        result_(context) {}

  void Forward(ConstTensorView scores, const Targets& targets) override {
    ForEachRow(
        context_, scores.batch,
        [classes = classes_, x = scores.data, labels = targets.classes.data(), probabilities = probabilities_.data(),
         losses = losses_.data(), best = Best()] __device__(Index n, int lane) {
          const float* const row = x + n * classes;
          float* const probability = probabilities + n * classes;
          const Highest highest = WarpHighest(row, classes, lane);
          float sum = 0;
          for (int k = lane; k < classes; k += kWarp) {
            probability[k] = expf(row[k] - highest.score);
            sum += probability[k];
          }
          sum = WarpSum(sum);
          for (int k = lane; k < classes; k += kWarp) probability[k] /= sum;
          if (lane == 0) {
            losses[n] = logf(sum) - (row[labels[n]] - highest.score);
            best[n] = highest.index;
          }
        });
    SumLosses(context_, scores.batch, targets, result_,
              [labels = targets.classes.data(), losses = losses_.data(), best = Best()] __device__(Index n) {
                return SampleLoss{losses[n], best[n] == labels[n]};
              });
  }

  LossResult Result() override { return result_.Wait(); }

  void Backward(float scale, const Targets& targets, TensorView score_gradient) override {
    ForEachRow(context_, score_gradient.batch,
               [scale, classes = classes_, targets = DeviceTargets(targets), probabilities = probabilities_.data(),
                dx = score_gradient.data] __device__(Index n, int lane) {
                 const float factor = scale * targets.weight(n);
                 for (int k = lane; k < classes; k += kWarp) {
                   const Index at = n * classes + k;
                   dx[at] = factor * (probabilities[at] - (k == targets.classes[n] ? 1 : 0));
                 }
               });
  }

 private:
  std::int32_t* Best() const { return reinterpret_cast<std::int32_t*>(best_.data()); }

  const Context& context_;
  const int classes_;
  // Of the last Forward.
  const Buffer probabilities_;
  const Buffer losses_;
  const Buffer best_;  // each sample's class of the highest score, as an integer
  const HostResult result_;
};

}  // namespace

std::unique_ptr<SoftmaxLoss> MakeSoftmaxLoss(const Context& context, int classes, int max_batch) {
  CheckSize({classes}, max_batch);
  return std::make_unique<CudaSoftmaxLoss>(context, classes, max_batch);
}

}  // namespace downpour::kernels::cuda
