#include "kernels/contrastive_loss.h"

#include "kernels/cuda/fast_divisor.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/loss_sums.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

// Of one pair, of the last Forward.
struct PairLoss {
  float loss;
  float slope;  // the gradient of the first values, for each unit of difference
  float correct;
};

// A block for each pair.
__global__ void PairsKernel(Index size, double margin, const float* first, const float* second,
                            const std::int32_t* labels, float* differences, PairLoss* pairs) {
  double squares = 0;
  for (Index i = threadIdx.x; i < size; i += kThreads) {
    const Index at = blockIdx.x * size + i;
    const float difference = first[at] - second[at];
    differences[at] = difference;
    squares += static_cast<double>(difference) * difference;
  }
  squares = BlockSum(squares);
  if (threadIdx.x != 0) return;
  const double distance = sqrt(squares);
  const double gap = distance > margin ? 0 : margin - distance;  // a NaN stays
  const bool alike = labels[blockIdx.x] == 1;
  PairLoss& pair = pairs[blockIdx.x];
  pair.loss = static_cast<float>((alike ? squares : gap * gap) / 2);
  pair.slope = static_cast<float>(alike ? 1 : distance == 0 ? 0 : -gap / distance);
  pair.correct = (alike ? distance < gap : distance >= gap) ? 1 : 0;
}

class CudaContrastiveLoss final : public ContrastiveLoss {
 public:
  CudaContrastiveLoss(const Context& context, const ContrastiveLossSpec& spec, int max_batch)
      : context_(context),
        size_(spec.shape.size()),
        margin_(spec.margin),
        differences_(context.MakeBuffer(std::size_t{size_.divisor()} * max_batch)),
        pairs_(context.MakeBuffer(max_batch * sizeof(PairLoss) / sizeof(float))),
        result_(context) {}

  void Forward(ConstTensorView first, ConstTensorView second, const Targets& targets) override {
    PairsKernel<<<first.batch, kThreads, 0, context_.stream()>>>(size_.divisor(), margin_, first.data, second.data,
                                                                 targets.classes.data(), differences_.data(), Pairs());
    Check(cudaGetLastError(), "starting a kernel");
    SumLosses(context_, first.batch, targets, result_, [pairs = Pairs()] __device__(Index n) {
      return SampleLoss{pairs[n].loss, pairs[n].correct != 0};
    });
  }

  LossResult Result() override { return result_.Wait(); }

  void Backward(float scale, const Targets& targets, TensorView first_gradient, TensorView second_gradient) override {
    Write(scale, targets, first_gradient);
    Write(-scale, targets, second_gradient);
  }

  // Public, for nvcc takes no kernel from a private function.
  void Write(float scale, const Targets& targets, TensorView gradient) {
    if (gradient.empty()) return;
    ForEach(context_, gradient.size(),
            [scale, targets = DeviceTargets(targets), size = size_, differences = differences_.data(), pairs = Pairs(),
             to = gradient.data] __device__(Index i) {
              const Index n = size.Divide(i);
              to[i] = scale * targets.weight(n) * pairs[n].slope * differences[i];
            });
  }

 private:
  PairLoss* Pairs() const { return reinterpret_cast<PairLoss*>(pairs_.data()); }

  const Context& context_;
  const FastDivisor size_;
  const double margin_;
  // Of the last Forward.
  const Buffer differences_;  // first - second
  const Buffer pairs_;
  const HostResult result_;
};

}  // namespace

std::unique_ptr<ContrastiveLoss> MakeContrastiveLoss(const Context& context, const ContrastiveLossSpec& spec,
                                                     int max_batch) {
  CheckSize(spec.shape, max_batch);
  return std::make_unique<CudaContrastiveLoss>(context, spec, max_batch);
}

}  // namespace downpour::kernels::cuda
