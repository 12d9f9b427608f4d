// What a loss's kernels say of each sample, and how the host comes by the sums.
#pragma once

#include "kernels/cuda/launch.h"
#include "kernels/loss.h"

namespace downpour::kernels::cuda {

// On the GPU: labels and weights of a batch.
struct DeviceTargets {
  const std::int32_t* classes;
  const float* numbers;
  const float* weights;  // none where all are 1

  explicit DeviceTargets(const Targets& targets)
      : classes(targets.classes.data()), numbers(targets.numbers.data()), weights(targets.weights.data()) {}
  __device__ float weight(Index sample) const { return weights == nullptr ? 1 : weights[sample]; }
};

// The result of one sample.
struct SampleLoss {
  double loss;
  bool correct;
};

// Where the GPU writes a result that the host reads. Owns it.
class HostResult {
 public:
  explicit HostResult(const Context& context) : context_(context) {
    if (cudaMallocHost(&result_, sizeof(LossResult)) != cudaSuccess) {
      cudaGetLastError();
      throw std::bad_alloc();
    }
  }
  ~HostResult() {
    context_.Wait();
    cudaFreeHost(result_);
  }
  HostResult(const HostResult&) = delete;
  HostResult& operator=(const HostResult&) = delete;

  LossResult* get() const { return result_; }
  LossResult Wait() const {
    context_.Wait();
    return *result_;
  }

 private:
  const Context& context_;
  LossResult* result_ = nullptr;
};

template <typename Body>
__global__ void SumLossesKernel(Index batch, DeviceTargets targets, Body body, LossResult* result) {
  double loss = 0, correct = 0, weight = 0;
  for (Index n = threadIdx.x; n < batch; n += kThreads) {
    const SampleLoss sample = body(n);
    const double w = targets.weight(n);
    loss += w * sample.loss;
    correct += sample.correct ? w : 0;
    weight += w;
  }
  loss = BlockSum(loss);
  correct = BlockSum(correct);
  weight = BlockSum(weight);
  if (threadIdx.x == 0) {
    result->loss_sum = loss;
    result->correct = correct;
    result->weight = weight;
  }
}

// body(n) is the SampleLoss of a sample, its weight left out.
template <typename Body>
void SumLosses(const Context& context, int batch, const Targets& targets, const HostResult& result, Body body) {
  SumLossesKernel<<<1, kThreads, 0, context.stream()>>>(batch, DeviceTargets(targets), body, result.get());
  Check(cudaGetLastError(), "starting a kernel");
}

}  // namespace downpour::kernels::cuda
