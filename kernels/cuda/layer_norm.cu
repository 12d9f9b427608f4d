#include "kernels/layer_norm.h"

#include "kernels/cuda/fast_divisor.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

// Of values that are normalised together, in the last Forward.
struct Moments {
  float mean;
  float inverse_deviation;

  __device__ float Normal(float x) const { return (x - mean) * inverse_deviation; }
};

// A block for each row of `length` values.
__global__ void ForwardKernel(Index length, float epsilon, const float* x, const float* weight, const float* bias,
                              float* y, Moments* moments) {
  const Index first = blockIdx.x * length;
  float sum = 0, squares = 0;
  for (Index i = threadIdx.x; i < length; i += kThreads) sum += x[first + i];
  const float mean = BlockSum(sum) / static_cast<float>(length);
  for (Index i = threadIdx.x; i < length; i += kThreads) {
    const float distance = x[first + i] - mean;
    squares += distance * distance;
  }
  const float variance = BlockSum(squares) / static_cast<float>(length);
  const Moments row{mean, 1 / sqrtf(variance + epsilon)};
  if (threadIdx.x == 0) moments[blockIdx.x] = row;
  for (Index i = threadIdx.x; i < length; i += kThreads) {
    y[first + i] = weight[i] * row.Normal(x[first + i]) + bias[i];
  }
}

__global__ void BackwardKernel(Index length, const float* x, const float* weight, const float* dy,
                               const Moments* moments, float* dx) {
  const Index first = blockIdx.x * length;
  const Moments row = moments[blockIdx.x];
  float sum = 0, dot = 0;
  for (Index i = threadIdx.x; i < length; i += kThreads) {
    const float slope = weight[i] * dy[first + i];
    sum += slope;
    dot += slope * row.Normal(x[first + i]);
  }
  const float mean = BlockSum(sum) / static_cast<float>(length);
  const float share = BlockSum(dot) / static_cast<float>(length);
  for (Index i = threadIdx.x; i < length; i += kThreads) {
    const float rest = mean + share * row.Normal(x[first + i]);
    dx[first + i] = (weight[i] * dy[first + i] - rest) * row.inverse_deviation;
  }
}

class CudaLayerNorm final : public LayerNorm {
 public:
  CudaLayerNorm(const Context& context, const LayerNormSpec& spec, int max_batch)
      : context_(context),
        epsilon_(spec.epsilon),
        length_(spec.length),
        rows_of_sample_(spec.shape.size() / spec.length),
        moments_(context.MakeBuffer(std::size_t{rows_of_sample_} * max_batch * sizeof(Moments) / sizeof(float))) {}

  void Forward(ConstTensorView input, const float* weight, const float* bias, TensorView output) override {
    ForwardKernel<<<Rows(input), kThreads, 0, context_.stream()>>>(length_, epsilon_, input.data, weight, bias,
                                                                   output.data, AllMoments());
    Check(cudaGetLastError(), "starting a kernel");
  }

  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                       float* bias_gradient) override {
    const float* const dy = output_gradient.data;
    SumRows(
        context_, Rows(input), length_,
        [length = length_, moments = AllMoments(), x = input.data, dy] __device__(Index row, Index i) {
          const Index at = row * length + i;
          return dy[at] * moments[row].Normal(x[at]);
        },
        [weight_gradient] __device__(Index i, float sum) { weight_gradient[i] = sum; });
    SumRows(
        context_, Rows(input), length_,
        [length = length_, dy] __device__(Index row, Index i) { return dy[row * length + i]; },
        [bias_gradient] __device__(Index i, float sum) { bias_gradient[i] = sum; });
  }

  void BackwardData(ConstTensorView input, const float* weight, ConstTensorView output_gradient,
                    TensorView input_gradient) override {
    BackwardKernel<<<Rows(input), kThreads, 0, context_.stream()>>>(length_, input.data, weight, output_gradient.data,
                                                                    AllMoments(), input_gradient.data);
    Check(cudaGetLastError(), "starting a kernel");
  }

 private:
  Index Rows(ConstTensorView view) const { return view.batch * rows_of_sample_; }
  Moments* AllMoments() const { return reinterpret_cast<Moments*>(moments_.data()); }

  const Context& context_;
  const float epsilon_;
  const Index length_;
  const Index rows_of_sample_;
  const Buffer moments_;
};

}  // namespace

std::unique_ptr<LayerNorm> MakeLayerNorm(const Context& context, const LayerNormSpec& spec, int max_batch) {
  CheckSize(spec.shape, max_batch);
  return std::make_unique<CudaLayerNorm>(context, spec, max_batch);
}

}  // namespace downpour::kernels::cuda
