#include "kernels/hinge_loss.h"

#include "kernels/cuda/class_scores.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/loss_sums.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

class CudaHingeLoss final : public HingeLoss {
 public:
  CudaHingeLoss(const Context& context, const HingeLossSpec& spec, int max_batch)
      : context_(context),
        spec_(spec),
        slopes_(context.MakeBuffer(static_cast<std::size_t>(max_batch) * spec.classes)),
        losses_(context.MakeBuffer(max_batch)),
        correct_(context.MakeBuffer(max_batch)),
        result_(context) {}

  void Forward(ConstTensorView scores, const Targets& targets) override {
    ForEachRow(context_, scores.batch,
               [spec = spec_, x = scores.data, labels = targets.classes.data(), slopes = slopes_.data(),
                losses = losses_.data(), correct = Correct()] __device__(Index n, int lane) {
                 const float* const row = x + n * spec.classes;
                 float loss = 0;
                 for (int k = lane; k < spec.classes; k += kWarp) {
                   const float sign = k == labels[n] ? -1 : 1;
                   const float margin = 1 + sign * row[k];
                   const float kept = margin < 0 ? 0 : margin;  // a NaN stays
                   loss += spec.squared ? kept * kept : kept;
                   slopes[n * spec.classes + k] = sign * (spec.squared ? 2 * kept : margin > 0 ? 1 : 0);
                 }
                 loss = WarpSum(loss);
                 const bool in_top_k = WarpInTopK(row, spec.classes, labels[n], spec.top_k, lane);
                 if (lane == 0) {
                   losses[n] = loss;
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
               [scale, classes = spec_.classes, targets = DeviceTargets(targets), slopes = slopes_.data(),
                dx = score_gradient.data] __device__(Index n, int lane) {
                 const float factor = scale * targets.weight(n);
                 for (int k = lane; k < classes; k += kWarp) dx[n * classes + k] = factor * slopes[n * classes + k];
               });
  }

 private:
  std::int32_t* Correct() const { return reinterpret_cast<std::int32_t*>(correct_.data()); }

  const Context& context_;
  const HingeLossSpec spec_;
  // Of the last Forward.
  const Buffer slopes_;
  const Buffer losses_;
  const Buffer correct_;  // 1 or 0, as an integer
  const HostResult result_;
};

}  // namespace

std::unique_ptr<HingeLoss> MakeHingeLoss(const Context& context, const HingeLossSpec& spec, int max_batch) {
  CheckSize({spec.classes}, max_batch);
  return std::make_unique<CudaHingeLoss>(context, spec, max_batch);
}

}  // namespace downpour::kernels::cuda
