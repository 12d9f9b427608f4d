#include "kernels/batch_norm.h"

#include "kernels/cuda/fast_divisor.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

// Of a channel, of the last pass.
struct Channel {
  float mean;
  float variance;
  float inverse_deviation;
  float sum;  // of the output's gradient
  float dot;  // of it and the normalised values
};

// Where the values of a channel lie.
struct ChannelValues {
  FastDivisor plane;
  Index of_sample;

  __device__ Index At(Index channel, Index i) const {
    const Index sample = plane.Divide(i);
    return sample * of_sample + channel * plane.divisor() + (i - sample * plane.divisor());
  }
};

// A block for each channel.
__global__ void StatisticsKernel(ChannelValues values, Index count, float epsilon, const float* x, Channel* channels) {
  __shared__ float shared_mean;
  float sum = 0, squares = 0;
  for (Index i = threadIdx.x; i < count; i += kThreads) sum += x[values.At(blockIdx.x, i)];
  sum = BlockSum(sum);
  if (threadIdx.x == 0) shared_mean = sum / static_cast<float>(count);
  __syncthreads();
  const float mean = shared_mean;
  for (Index i = threadIdx.x; i < count; i += kThreads) {
    const float distance = x[values.At(blockIdx.x, i)] - mean;
    squares += distance * distance;
  }
  squares = BlockSum(squares);
  if (threadIdx.x == 0) {
    Channel& channel = channels[blockIdx.x];
    channel.mean = mean;
    channel.variance = squares / static_cast<float>(count);
    channel.inverse_deviation = 1 / sqrtf(channel.variance + epsilon);
  }
}

__global__ void GradientSumsKernel(ChannelValues values, Index count, const float* x, const float* dy,
                                   Channel* channels, float* weight_gradient, float* bias_gradient) {
  Channel& channel = channels[blockIdx.x];
  float sum = 0, dot = 0;
  for (Index i = threadIdx.x; i < count; i += kThreads) {
    const Index at = values.At(blockIdx.x, i);
    sum += dy[at];
    dot += dy[at] * (x[at] - channel.mean);
  }
  sum = BlockSum(sum);
  dot = BlockSum(dot);
  if (threadIdx.x == 0) {
    channel.sum = bias_gradient[blockIdx.x] = sum;
    channel.dot = weight_gradient[blockIdx.x] = dot * channel.inverse_deviation;
  }
}

class CudaBatchNorm final : public BatchNorm {
 public:
  CudaBatchNorm(const Context& context, const BatchNormSpec& spec)
      : context_(context),
        spec_(spec),
        plane_(spec.shape.height * spec.shape.width),
        by_channels_(spec.shape.channels),
        channels_(context.MakeBuffer(spec.shape.channels * sizeof(Channel) / sizeof(float))) {}

  void ForwardInTraining(ConstTensorView input, const float* weight, const float* bias, TensorView output) override {
    count_ = input.batch * plane_.divisor();
    StatisticsKernel<<<by_channels_.divisor(), kThreads, 0, context_.stream()>>>(Values(), count_, spec_.epsilon,
                                                                                 input.data, Channels());
    Check(cudaGetLastError(), "starting a kernel");
    ForEach(context_, input.size(),
            [plane = plane_, by_channels = by_channels_, channels = Channels(), x = input.data, y = output.data, weight,
             bias] __device__(Index i) {
              const Index c = by_channels.Remainder(plane.Divide(i));
              y[i] = weight[c] * channels[c].inverse_deviation * (x[i] - channels[c].mean) + bias[c];
            });
  }

  void Forward(ConstTensorView input, const float* weight, const float* bias, const float* mean, const float* variance,
               TensorView output) override {
    ForEach(context_, input.size(),
            [plane = plane_, by_channels = by_channels_, epsilon = spec_.epsilon, x = input.data, y = output.data,
             weight, bias, mean, variance] __device__(Index i) {
              const Index c = by_channels.Remainder(plane.Divide(i));
              y[i] = weight[c] / sqrtf(variance[c] + epsilon) * (x[i] - mean[c]) + bias[c];
            });
  }

  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                       float* bias_gradient) override {
    GradientSumsKernel<<<by_channels_.divisor(), kThreads, 0, context_.stream()>>>(
        Values(), input.batch * plane_.divisor(), input.data, output_gradient.data, Channels(), weight_gradient,
        bias_gradient);
    Check(cudaGetLastError(), "starting a kernel");
  }

  void BackwardData(ConstTensorView input, const float* weight, ConstTensorView output_gradient,
                    TensorView input_gradient) override {
    ForEach(context_, input.size(),
            [plane = plane_, by_channels = by_channels_, channels = Channels(),
             share = 1 / static_cast<float>(input.batch * plane_.divisor()), x = input.data, dy = output_gradient.data,
             dx = input_gradient.data, weight] __device__(Index i) {
              const Index c = by_channels.Remainder(plane.Divide(i));
              const Channel channel = channels[c];
              const float normal = (x[i] - channel.mean) * channel.inverse_deviation;
              const float rest = share * (channel.sum + channel.dot * normal);
              dx[i] = weight[c] * channel.inverse_deviation * (dy[i] - rest);
            });
  }

  void AverageGradients(const float* mean, const float* variance, float* mean_gradient,
                        float* variance_gradient) override {
    const float correction = count_ > 1 ? static_cast<float>(count_) / static_cast<float>(count_ - 1) : 1;
    ForEach(context_, by_channels_.divisor(),
            [take = 1 - spec_.keep, correction, channels = Channels(), mean, variance, mean_gradient,
             variance_gradient] __device__(Index c) {
              mean_gradient[c] = take * (mean[c] - channels[c].mean);
              variance_gradient[c] = take * (variance[c] - correction * channels[c].variance);
            });
  }

 private:
  ChannelValues Values() const { return {plane_, by_channels_.divisor() * plane_.divisor()}; }
  Channel* Channels() const { return reinterpret_cast<Channel*>(channels_.data()); }

  const Context& context_;
  const BatchNormSpec spec_;
  const FastDivisor plane_;
  const FastDivisor by_channels_;
  const Buffer channels_;
  Index count_ = 0;  // values of a channel in the last pass
};

}  // namespace

std::unique_ptr<BatchNorm> MakeBatchNorm(const Context& context, const BatchNormSpec& spec, int max_batch) {
  CheckSize(spec.shape, max_batch);
  return std::make_unique<CudaBatchNorm>(context, spec);
}

}  // namespace downpour::kernels::cuda
