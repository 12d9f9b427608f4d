#include "kernels/embedding.h"

#include "kernels/cuda/class_scores.h"
#include "kernels/cuda/fast_divisor.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

constexpr int kWarps = kThreads / kWarp;
constexpr int kLaneColumns = 4;  // that a lane sums at a time
constexpr int kColumns = kLaneColumns * kWarp;

// A block for each row of weights, whose warps share out the ids and look for the row's own. What is no id is none's.
__global__ void WeightsKernel(Index ids, Index outputs, const float* x, const float* dy, float* weight_gradient) {
  __shared__ float sums[kWarps][kColumns];
  const auto id = static_cast<float>(blockIdx.x);
  const Index lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  for (Index first = 0; first < outputs; first += kColumns) {
    float sum[kLaneColumns] = {};
    for (Index begin = warp * kWarp; begin < ids; begin += kThreads) {
      unsigned found = __ballot_sync(kAllLanes, begin + lane < ids && x[begin + lane] == id);
      while (found != 0) {
        const float* const from = dy + (begin + __ffs(found) - 1) * outputs;
        found &= found - 1;
#pragma unroll
        for (int j = 0; j < kLaneColumns; ++j) {
          const Index column = first + j * kWarp + lane;
          if (column < outputs) sum[j] += from[column];
        }
      }
    }
#pragma unroll
    for (int j = 0; j < kLaneColumns; ++j) sums[warp][j * kWarp + lane] = sum[j];
    __syncthreads();
    const Index column = first + threadIdx.x;
    if (threadIdx.x < kColumns && column < outputs) {
      float total = 0;
      for (int w = 0; w < kWarps; ++w) total += sums[w][threadIdx.x];
      weight_gradient[blockIdx.x * outputs + column] = total;
    }
    __syncthreads();
  }
}

class CudaEmbedding final : public Embedding {
 public:
  CudaEmbedding(const Context& context, const EmbeddingSpec& spec)
      : context_(context), vocabulary_(spec.vocabulary), outputs_(spec.outputs) {}

  void Forward(ConstTensorView input, const float* weights, TensorView output) override {
    ForEach(context_, output.size(),
            [vocabulary = static_cast<float>(vocabulary_), outputs = outputs_, x = input.data, y = output.data,
             weights] __device__(Index i) {
              const Index step = outputs.Divide(i);
              const float id = x[step];
              const bool is_id = id >= 0 && id < vocabulary && id == floorf(id);
              y[i] = is_id ? weights[static_cast<Index>(id) * outputs.divisor() + (i - step * outputs.divisor())] : NAN;
            });
  }

  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient) override {
    WeightsKernel<<<vocabulary_, kThreads, 0, context_.stream()>>>(static_cast<Index>(input.size()), outputs_.divisor(),
                                                                   input.data, output_gradient.data, weight_gradient);
    Check(cudaGetLastError(), "starting a kernel");
  }

  void BackwardData(TensorView input_gradient) override {
    Check(cudaMemsetAsync(input_gradient.data, 0, input_gradient.size() * sizeof(float), context_.stream()),
          "clearing memory");
  }

 private:
  const Context& context_;
  const int vocabulary_;
  const FastDivisor outputs_;
};

}  // namespace

std::unique_ptr<Embedding> MakeEmbedding(const Context& context, const EmbeddingSpec& spec, int max_batch) {
  CheckSize({spec.vocabulary, spec.outputs}, 1);
  CheckSize({spec.steps, 1, spec.outputs}, max_batch);
  return std::make_unique<CudaEmbedding>(context, spec);
}

}  // namespace downpour::kernels::cuda
