#include "kernels/batch_norm.h"
#include "kernels/cuda/fast_divisor.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/map.h"
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

// Of some values: how many there are, their mean, and the sum of the squares of their distances from it. Sums of such
// by Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance".
struct Moments {
  float count;
  float mean;
  float squares;

  __device__ Moments& operator+=(const Moments& other) {
    if (other.count == 0) return *this;
    const float all = count + other.count, share = other.count / all, distance = other.mean - mean;
    mean += distance * share;
    squares += other.squares + distance * distance * count * share;
    count = all;
    return *this;
  }
};

// Of the output's gradient: its sum, and that of its products with the distances of the input from its mean.
struct GradientSums {
  float sum;
  float dot;

  __device__ GradientSums& operator+=(const GradientSums& other) {
    sum += other.sum;
    dot += other.dot;
    return *this;
  }
};

constexpr Index kMostPieces = kThreads;  // which one block adds up

// Where the values of a channel lie, and into which pieces they are cut; a block sums one of them.
struct ChannelValues {
  FastDivisor plane;
  Index of_sample;
  Index count;
  Index of_piece;  // a multiple of 4

  Index pieces() const { return CeilDivide(count, of_piece); }
  __device__ Index At(Index channel, Index i) const {
    const Index sample = plane.Divide(i);
    return sample * of_sample + channel * plane.divisor() + (i - sample * plane.divisor());
  }
};

template <int kWidth>
__device__ void Load(const float* from, float* to) {
  if constexpr (kWidth == 4) {
    const float4 four = *reinterpret_cast<const float4*>(from);
    to[0] = four.x;
    to[1] = four.y;
    to[2] = four.z;
    to[3] = four.w;
  } else {
    to[0] = *from;
  }
}

// body(place in the tensor) for each kWidth values that a thread has of the block's piece of the channel blockIdx.x.
template <int kWidth, typename Body>
__device__ void ForEachOfPiece(const ChannelValues& values, Body body) {
  const Index first = blockIdx.y * values.of_piece, end = min(first + values.of_piece, values.count);
#pragma unroll 4
  for (Index i = first + kWidth * threadIdx.x; i < end; i += kWidth * kThreads) body(values.At(blockIdx.x, i));
}

// A thread counts distances from the first of its values, which can't be far from all of them.
template <int kWidth>
__global__ void __launch_bounds__(kThreads) MomentsKernel(ChannelValues values, const float* x, Moments* pieces) {
  const Index mine = blockIdx.y * values.of_piece + kWidth * threadIdx.x;
  const float base = mine < values.count ? x[values.At(blockIdx.x, mine)] : 0;
  float count = 0, sum = 0, squares = 0;
  ForEachOfPiece<kWidth>(values, [&](Index at) {
    float of_x[kWidth];
    Load<kWidth>(x + at, of_x);
    count += kWidth;
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      const float distance = of_x[k] - base;
      sum += distance;
      squares += distance * distance;
    }
  });
  Moments moments{};
  if (count > 0) moments = {count, base + sum / count, fmaxf(squares - sum * sum / count, 0)};
  moments = BlockSum(moments);
  if (threadIdx.x == 0) pieces[blockIdx.x * gridDim.y + blockIdx.y] = moments;
}

template <int kWidth>
__global__ void __launch_bounds__(kThreads) GradientSumsKernel(ChannelValues values, const float* x, const float* dy,
                                                               const Channel* channels, GradientSums* pieces) {
  const float mean = channels[blockIdx.x].mean;
  GradientSums sums{};
  ForEachOfPiece<kWidth>(values, [&](Index at) {
    float of_x[kWidth], of_dy[kWidth];
    Load<kWidth>(x + at, of_x);
    Load<kWidth>(dy + at, of_dy);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) sums += {of_dy[k], of_dy[k] * (of_x[k] - mean)};
  });
  sums = BlockSum(sums);
  if (threadIdx.x == 0) pieces[blockIdx.x * gridDim.y + blockIdx.y] = sums;
}

// body(channel, the sum of its pieces), a block for each channel.
template <typename Piece, typename Body>
__global__ void __launch_bounds__(kThreads) AddPiecesKernel(const Piece* pieces, Index count, Body body) {
  const Piece sum = BlockSum(threadIdx.x < count ? pieces[blockIdx.x * count + threadIdx.x] : Piece{});
  if (threadIdx.x == 0) body(blockIdx.x, sum);
}

class CudaBatchNorm final : public BatchNorm {
 public:
  CudaBatchNorm(const Context& context, const BatchNormSpec& spec)
      : context_(context),
        spec_(spec),
        plane_(spec.shape.height * spec.shape.width),
        by_channels_(spec.shape.channels),
        channels_(context.MakeBuffer(spec.shape.channels * sizeof(Channel) / sizeof(float))),
        pieces_(context.MakeBuffer(spec.shape.channels * MostPieces() * sizeof(Moments) / sizeof(float))) {
    static_assert(sizeof(GradientSums) <= sizeof(Moments));
  }

  void ForwardInTraining(ConstTensorView input, const float* weight, const float* bias, TensorView output) override {
    count_ = input.batch * plane_.divisor();
    const ChannelValues values = Values();
    Moments* const pieces = reinterpret_cast<Moments*>(pieces_.data());
    if (InFours(input.data)) {
      MomentsKernel<4><<<Blocks(values), kThreads, 0, context_.stream()>>>(values, input.data, pieces);
    } else {
      MomentsKernel<1><<<Blocks(values), kThreads, 0, context_.stream()>>>(values, input.data, pieces);
    }
    AddPieces(pieces, values,
              [epsilon = spec_.epsilon, channels = Channels()] __device__(Index c, const Moments& moments) {
                const float variance = moments.squares / moments.count;
                channels[c] = {moments.mean, variance, 1 / sqrtf(variance + epsilon), 0, 0};
              });
    Map(
        context_, input.size(), output.data,
        [plane = plane_, by_channels = by_channels_, channels = Channels(), weight, bias] __device__(Index i, float x) {
          const Index c = by_channels.Remainder(plane.Divide(i));
          return weight[c] * channels[c].inverse_deviation * (x - channels[c].mean) + bias[c];
        },
        input.data);
  }

  void Forward(ConstTensorView input, const float* weight, const float* bias, const float* mean, const float* variance,
               TensorView output) override {
    Map(
        context_, input.size(), output.data,
        [plane = plane_, by_channels = by_channels_, epsilon = spec_.epsilon, weight, bias, mean, variance] __device__(
            Index i, float x) {
          const Index c = by_channels.Remainder(plane.Divide(i));
          return weight[c] / sqrtf(variance[c] + epsilon) * (x - mean[c]) + bias[c];
        },
        input.data);
  }

  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                       float* bias_gradient) override {
    const ChannelValues values = Values();
    const float* const x = input.data;
    const float* const dy = output_gradient.data;
    GradientSums* const pieces = reinterpret_cast<GradientSums*>(pieces_.data());
    if (InFours(x, dy)) {
      GradientSumsKernel<4><<<Blocks(values), kThreads, 0, context_.stream()>>>(values, x, dy, Channels(), pieces);
    } else {
      GradientSumsKernel<1><<<Blocks(values), kThreads, 0, context_.stream()>>>(values, x, dy, Channels(), pieces);
    }
    AddPieces(pieces, values,
              [channels = Channels(), weight_gradient, bias_gradient] __device__(Index c, const GradientSums& sums) {
                channels[c].sum = bias_gradient[c] = sums.sum;
                channels[c].dot = weight_gradient[c] = sums.dot * channels[c].inverse_deviation;
              });
  }

  void BackwardData(ConstTensorView input, const float* weight, ConstTensorView output_gradient,
                    TensorView input_gradient) override {
    Map(
        context_, input.size(), input_gradient.data,
        [plane = plane_, by_channels = by_channels_, channels = Channels(), share = 1 / static_cast<float>(count_),
         weight] __device__(Index i, float x, float dy) {
          const Index c = by_channels.Remainder(plane.Divide(i));
          const Channel channel = channels[c];
          const float normal = (x - channel.mean) * channel.inverse_deviation;
          const float rest = share * (channel.sum + channel.dot * normal);
          return weight[c] * channel.inverse_deviation * (dy - rest);
        },
        input.data, output_gradient.data);
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
  Index MostPieces() const {
    return std::min(CeilDivide(8 * context_.multiprocessors(), by_channels_.divisor()), kMostPieces);
  }
  // So many pieces that the whole GPU has work, but none is for a few threads only.
  ChannelValues Values() const {
    const Index pieces = std::clamp<Index>(count_ / (4 * kThreads), 1, MostPieces());
    return {plane_, by_channels_.divisor() * plane_.divisor(), count_, CeilDivide(CeilDivide(count_, pieces), 4) * 4};
  }
  dim3 Blocks(const ChannelValues& values) const { return {by_channels_.divisor(), values.pieces()}; }
  template <typename... Tensors>
  bool InFours(Tensors... data) const {
    return plane_.divisor() % 4 == 0 && AreAligned(data...);
  }
  template <typename Piece, typename Body>
  void AddPieces(const Piece* pieces, const ChannelValues& values, Body body) const {
    AddPiecesKernel<<<by_channels_.divisor(), kThreads, 0, context_.stream()>>>(pieces, values.pieces(), body);
    Check(cudaGetLastError(), "starting a kernel");
  }

  Channel* Channels() const { return reinterpret_cast<Channel*>(channels_.data()); }

  const Context& context_;
  const BatchNormSpec spec_;
  const FastDivisor plane_;
  const FastDivisor by_channels_;
  const Buffer channels_;
  const Buffer pieces_;
  Index count_ = 0;  // values of a channel in the last pass
};

}  // namespace

std::unique_ptr<BatchNorm> MakeBatchNorm(const Context& context, const BatchNormSpec& spec, int max_batch) {
  CheckSize(spec.shape, max_batch);
  return std::make_unique<CudaBatchNorm>(context, spec);
}

}  // namespace downpour::kernels::cuda
