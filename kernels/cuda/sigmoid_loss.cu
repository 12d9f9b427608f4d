#include "kernels/sigmoid_loss.h"

#include "kernels/cuda/class_scores.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/loss_sums.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

// log(1 + e^x)
__device__ float Softplus(float x) { return (x > 0 ? x : 0) + log1pf(expf(-fabsf(x))); }

// Whether score k is true of a sample of that label.
__device__ bool IsTrue(int scores, int k, std::int32_t label) { return label == (scores == 1 ? 1 : k); }

class CudaSigmoidLoss final : public SigmoidLoss {
 public:
  CudaSigmoidLoss(const Context& context, const SigmoidLossSpec& spec, int max_batch)
      : context_(context),
        spec_(spec),
        slopes_(context.MakeBuffer(static_cast<std::size_t>(max_batch) * spec.scores)),
        losses_(context.MakeBuffer(max_batch)),
        correct_(context.MakeBuffer(max_batch)),
        result_(context) {}

  void Forward(ConstTensorView scores, const Targets& targets) override {
    ForEachRow(context_, scores.batch,
               [spec = spec_, x = scores.data, labels = targets.classes.data(), slopes = slopes_.data(),
                losses = losses_.data(), correct = Correct()] __device__(Index n, int lane) {
                 const float* const row = x + n * spec.scores;
                 const std::int32_t label = labels[n];
                 float loss = 0;
                 for (int k = lane; k < spec.scores; k += kWarp) {
                   const bool is_true = IsTrue(spec.scores, k, label);
                   loss += Softplus(is_true ? -row[k] : row[k]);
                   slopes[n * spec.scores + k] = 1 / (1 + expf(-row[k])) - (is_true ? 1 : 0);
                 }
                 loss = WarpSum(loss);
                 const bool right = spec.scores == 1 ? !isnan(row[0]) && (row[0] > 0) == (label == 1)
                                                     : WarpInTopK(row, spec.scores, label, spec.top_k, lane);
                 if (lane == 0) {
                   losses[n] = loss;
                   correct[n] = right;
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
               [scale, scores = spec_.scores, targets = DeviceTargets(targets), slopes = slopes_.data(),
                dx = score_gradient.data] __device__(Index n, int lane) {
                 const float factor = scale * targets.weight(n);
                 for (int k = lane; k < scores; k += kWarp) dx[n * scores + k] = factor * slopes[n * scores + k];
               });
  }

 private:
  std::int32_t* Correct() const { return reinterpret_cast<std::int32_t*>(correct_.data()); }

  const Context& context_;
  const SigmoidLossSpec spec_;
  // Of the last Forward.
  const Buffer slopes_;
  const Buffer losses_;
  const Buffer correct_;  // 1 or 0, as an integer
  const HostResult result_;
};

}  // namespace

std::unique_ptr<SigmoidLoss> MakeSigmoidLoss(const Context& context, const SigmoidLossSpec& spec, int max_batch) {
  CheckSize({spec.scores}, max_batch);
  return std::make_unique<CudaSigmoidLoss>(context, spec, max_batch);
}

}  // namespace downpour::kernels::cuda
