#include "kernels/batch_norm.h"

#include <cmath>
#include <cstddef>
#include <memory>
#include <vector>

#include "kernels/cpu/device.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/function_clones.h"
#include "kernels/vector_ops.h"

namespace downpour::kernels::cpu {
namespace {

// Sums are made in so many lanes, and these then added up in order.
constexpr std::size_t kLanes = 32;

struct Lanes {
  float lane[kLanes] = {};

  float Sum() const {
    float sum = 0;
    for (const float each : lane) sum += each;
    return sum;
  }
};

// The sum of (x - mean)^2.
DOWNPOUR_CLONES
Lanes SquaresOf(const float* x, float mean, std::size_t size) {
  Lanes lanes;
  std::size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (std::size_t k = 0; k < kLanes; ++k) lanes.lane[k] += (x[i + k] - mean) * (x[i + k] - mean);
  }
  for (std::size_t k = 0; i < size; ++i, ++k) lanes.lane[k] += (x[i] - mean) * (x[i] - mean);
  return lanes;
}

struct GradientSums {
  Lanes sum;  // of dy
  Lanes dot;  // of dy * (x - mean)
};

DOWNPOUR_CLONES
GradientSums SumsOf(const float* x, float mean, const float* dy, std::size_t size) {
  GradientSums sums;
  std::size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (std::size_t k = 0; k < kLanes; ++k) {
      sums.sum.lane[k] += dy[i + k];
      sums.dot.lane[k] += dy[i + k] * (x[i + k] - mean);
    }
  }
  for (std::size_t k = 0; i < size; ++i, ++k) {
    sums.sum.lane[k] += dy[i];
    sums.dot.lane[k] += dy[i] * (x[i] - mean);
  }
  return sums;
}

// y = scale * (x - mean) + shift
DOWNPOUR_CLONES
void Normalise(const float* x, float mean, float scale, float shift, float* y, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) y[i] = scale * (x[i] - mean) + shift;
}

// dx = scale * (dy - slope * (x - mean) - shift)
DOWNPOUR_CLONES
void Unnormalise(const float* x, float mean, const float* dy, float scale, float slope, float shift, float* dx,
                 std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) dx[i] = scale * (dy[i] - slope * (x[i] - mean) - shift);
}

class CpuBatchNorm final : public BatchNorm {
 public:
  CpuBatchNorm(const BatchNormSpec& spec, int threads)
      : spec_(spec),
        threads_(threads),
        plane_(static_cast<std::size_t>(spec.shape.height) * spec.shape.width),
        channels_(spec.shape.channels) {}

  void ForwardInTraining(ConstTensorView input, const float* weight, const float* bias, TensorView output) override {
    count_ = static_cast<double>(input.batch * plane_);
    ForEachChannel([&](int c, Channel& channel) {
      double sum = 0;
      for (int n = 0; n < input.batch; ++n) sum += Sum({Plane(input, n, c), plane_});
      channel.mean = static_cast<float>(sum / count_);
      double squares = 0;
      for (int n = 0; n < input.batch; ++n) squares += SquaresOf(Plane(input, n, c), channel.mean, plane_).Sum();
      channel.variance = squares / count_;
      channel.inverse_deviation = static_cast<float>(1 / std::sqrt(channel.variance + spec_.epsilon));
      const float scale = weight[c] * channel.inverse_deviation;
      for (int n = 0; n < input.batch; ++n) {
        Normalise(Plane(input, n, c), channel.mean, scale, bias[c], Plane(output, n, c), plane_);
      }
    });
  }

  void Forward(ConstTensorView input, const float* weight, const float* bias, const float* mean, const float* variance,
               TensorView output) override {
    ForEachChannel([&](int c, Channel&) {
      const auto scale = static_cast<float>(weight[c] / std::sqrt(static_cast<double>(variance[c]) + spec_.epsilon));
      for (int n = 0; n < input.batch; ++n) {
        Normalise(Plane(input, n, c), mean[c], scale, bias[c], Plane(output, n, c), plane_);
      }
    });
  }

  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                       float* bias_gradient) override {
    ForEachChannel([&](int c, Channel& channel) {
      double sum = 0, dot = 0;
      for (int n = 0; n < input.batch; ++n) {
        const GradientSums sums = SumsOf(Plane(input, n, c), channel.mean, Plane(output_gradient, n, c), plane_);
        dot += sums.dot.Sum();
        sum += sums.sum.Sum();
      }
      channel.sum = sum;
      channel.dot = dot * channel.inverse_deviation;
      weight_gradient[c] = static_cast<float>(channel.dot);
      bias_gradient[c] = static_cast<float>(sum);
    });
  }

  void BackwardData(ConstTensorView input, const float* weight, ConstTensorView output_gradient,
                    TensorView input_gradient) override {
    ForEachChannel([&](int c, Channel& channel) {
      const float scale = weight[c] * channel.inverse_deviation;
      const auto slope = static_cast<float>(channel.dot * channel.inverse_deviation / count_);
      const auto shift = static_cast<float>(channel.sum / count_);
      for (int n = 0; n < input.batch; ++n) {
        Unnormalise(Plane(input, n, c), channel.mean, Plane(output_gradient, n, c), scale, slope, shift,
                    Plane(input_gradient, n, c), plane_);
      }
    });
  }

  void AverageGradients(const float* mean, const float* variance, float* mean_gradient,
                        float* variance_gradient) override {
    const float take = 1 - spec_.keep;
    ForEachChannel([&](int c, Channel& channel) {
      const double unbiased = count_ > 1 ? channel.variance * count_ / (count_ - 1) : channel.variance;
      mean_gradient[c] = take * (mean[c] - channel.mean);
      variance_gradient[c] = static_cast<float>(take * (variance[c] - unbiased));
    });
  }

 private:
  // Of the last pass.
  struct Channel {
    float mean = 0;
    float inverse_deviation = 0;
    double variance = 0;
    double sum = 0;  // of the output's gradient
    double dot = 0;  // of it and the normalised values
  };

  template <typename T>
  T* Plane(const BasicTensorView<T>& view, int sample, int channel) const {
    return view.sample(sample) + channel * plane_;
  }

  template <typename Body>
  void ForEachChannel(Body body) {
    ParallelFor(static_cast<int>(channels_.size()), threads_, [&](int begin, int end, int) {
      for (int c = begin; c < end; ++c) body(c, channels_[c]);
    });
  }

  const BatchNormSpec spec_;
  const int threads_;
  const std::size_t plane_;
  std::vector<Channel> channels_;
  double count_ = 0;  // values of a channel
};

}  // namespace

std::unique_ptr<BatchNorm> MakeBatchNorm(const BatchNormSpec& spec, int threads) {
  return std::make_unique<CpuBatchNorm>(spec, threads);
}

}  // namespace downpour::kernels::cpu
