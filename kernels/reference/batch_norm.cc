#include "kernels/batch_norm.h"

#include <cmath>
#include <vector>

#include "kernels/reference/device.h"

namespace downpour::kernels::reference {
namespace {

class ReferenceBatchNorm final : public BatchNorm {
 public:
  explicit ReferenceBatchNorm(const BatchNormSpec& spec)
      : spec_(spec),
        mean_(spec.shape.channels),
        variance_(spec.shape.channels),
        dot_(spec.shape.channels),
        sum_(spec.shape.channels) {}

  void ForwardInTraining(ConstTensorView input, const float* weight, const float* bias, TensorView output) override {
    count_ = input.size() / spec_.shape.channels;
    for (int c = 0; c < spec_.shape.channels; ++c) {
      double sum = 0, squares = 0;
      ForEach(input.batch, c, [&](std::size_t i) { sum += input.data[i]; });
      mean_[c] = sum / static_cast<double>(count_);
      ForEach(input.batch, c, [&](std::size_t i) { squares += Square(input.data[i] - mean_[c]); });
      variance_[c] = squares / static_cast<double>(count_);
      ForEach(input.batch, c, [&](std::size_t i) {
        output.data[i] = static_cast<float>(weight[c] * Normal(c, input.data[i]) + bias[c]);
      });
    }
  }

  void Forward(ConstTensorView input, const float* weight, const float* bias, const float* mean, const float* variance,
               TensorView output) override {
    for (int c = 0; c < spec_.shape.channels; ++c) {
      const double scale = weight[c] / std::sqrt(static_cast<double>(variance[c]) + spec_.epsilon);
      ForEach(input.batch, c, [&](std::size_t i) {
        output.data[i] = static_cast<float>(scale * (static_cast<double>(input.data[i]) - mean[c]) + bias[c]);
      });
    }
  }

  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                       float* bias_gradient) override {
    for (int c = 0; c < spec_.shape.channels; ++c) {
      dot_[c] = sum_[c] = 0;
      ForEach(input.batch, c, [&](std::size_t i) {
        dot_[c] += output_gradient.data[i] * Normal(c, input.data[i]);
        sum_[c] += output_gradient.data[i];
      });
      weight_gradient[c] = static_cast<float>(dot_[c]);
      bias_gradient[c] = static_cast<float>(sum_[c]);
    }
  }

  void BackwardData(ConstTensorView input, const float* weight, ConstTensorView output_gradient,
                    TensorView input_gradient) override {
    for (int c = 0; c < spec_.shape.channels; ++c) {
      const double scale = weight[c] / std::sqrt(variance_[c] + spec_.epsilon);
      ForEach(input.batch, c, [&](std::size_t i) {
        const double rest = (sum_[c] + dot_[c] * Normal(c, input.data[i])) / static_cast<double>(count_);
        input_gradient.data[i] = static_cast<float>(scale * (output_gradient.data[i] - rest));
      });
    }
  }

  void AverageGradients(const float* mean, const float* variance, float* mean_gradient,
                        float* variance_gradient) override {
    const auto count = static_cast<double>(count_);
    for (int c = 0; c < spec_.shape.channels; ++c) {
      const double unbiased = count_ > 1 ? variance_[c] * count / (count - 1) : variance_[c];
      mean_gradient[c] = static_cast<float>((1 - spec_.keep) * (mean[c] - mean_[c]));
      variance_gradient[c] = static_cast<float>((1 - spec_.keep) * (variance[c] - unbiased));
    }
  }

 private:
  static double Square(double x) { return x * x; }
  double Normal(int c, float x) const { return (x - mean_[c]) / std::sqrt(variance_[c] + spec_.epsilon); }

  // The index of each value of a channel.
  template <typename Body>
  void ForEach(int batch, int channel, Body body) const {
    const std::size_t plane = static_cast<std::size_t>(spec_.shape.height) * spec_.shape.width;
    for (int n = 0; n < batch; ++n)
      for (std::size_t p = 0; p < plane; ++p) body(n * spec_.shape.size() + channel * plane + p);
  }

  const BatchNormSpec spec_;
  // Of the last pass.
  std::size_t count_ = 0;  // values of a channel
  std::vector<double> mean_, variance_;
  std::vector<double> dot_, sum_;  // of gradients with normalised values, and alone
};

}  // namespace

std::unique_ptr<BatchNorm> MakeBatchNorm(const BatchNormSpec& spec) {
  return std::make_unique<ReferenceBatchNorm>(spec);
}

}  // namespace downpour::kernels::reference
