#include "kernels/softmax_loss.h"

#include "kernels/cuda/class_scores.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/loss_sums.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

class CudaSoftmaxLoss final : public SoftmaxLoss {
 public:
  CudaSoftmaxLoss(const Context& context, const SoftmaxLossSpec& spec, int max_batch)
      : context_(context),
        classes_(spec.classes),
        top_k_(spec.top_k),
        probabilities_(context.MakeBuffer(static_cast<std::size_t>(max_batch) * spec.classes)),
        losses_(context.MakeBuffer(max_batch)),
        correct_(context.MakeBuffer(max_batch)),
        result_(context) {}

  void Forward(ConstTensorView scores, const Targets& targets) override {
    ForEachRow(context_, scores.batch,
               [classes = classes_, top_k = top_k_, x = scores.data, labels = targets.classes.data(),
                probabilities = probabilities_.data(), losses = losses_.data(),
                correct = Correct()] __device__(Index n, int lane) {
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
                 const bool in_top_k = WarpInTopK(row, classes, labels[n], top_k, lane);
                 if (lane == 0) {
                   losses[n] = logf(sum) - (row[labels[n]] - highest.score);
                   correct[n] = in_top_k;
                 }
               });
    SumLosses(context_, scores.batch, targets, result_,
              [losses = losses_.data(), correct = Correct()] __device__(Index n) {
                return SampleLoss{losses[n], correct[n] != 0};
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
  std::int32_t* Correct() const { return reinterpret_cast<std::int32_t*>(correct_.data()); }

  const Context& context_;
  const int classes_;
  const int top_k_;
  // Of the last Forward.
  const Buffer probabilities_;
  const Buffer losses_;
  const Buffer correct_;  // 1 or 0, as an integer
  const HostResult result_;
};

}  // namespace

std::unique_ptr<SoftmaxLoss> MakeSoftmaxLoss(const Context& context, const SoftmaxLossSpec& spec, int max_batch) {
  CheckSize({spec.classes}, max_batch);
  return std::make_unique<CudaSoftmaxLoss>(context, spec, max_batch);
}

}  // namespace downpour::kernels::cuda
