#include "kernels/layer_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/aligned_buffer.h"
#include "kernels/cpu/device.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/function_clones.h"
#include "kernels/vector_ops.h"

namespace downpour::kernels::cpu {
namespace {

DOWNPOUR_CLONES
void Shift(const float* x, float by, float* to, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) to[i] = x[i] - by;
}

DOWNPOUR_CLONES
void ScaleAndShift(float scale, const float* weight, const float* bias, float* y, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) y[i] = y[i] * scale * weight[i] + bias[i];
}

DOWNPOUR_CLONES
void AddGradients(const float* x, const float* dy, float mean, float scale, float* weight, float* bias,
                  std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) {
    weight[i] += dy[i] * ((x[i] - mean) * scale);
    bias[i] += dy[i];
  }
}

struct Sums {
  float slopes, dot;
};

// Of weight * dy, alone and times the normalised values; by lanes, so that it is vectorised.
DOWNPOUR_CLONES
Sums SumSlopes(const float* x, const float* dy, const float* weight, float mean, float scale, std::size_t size) {
  constexpr int kLanes = 16;
  float slopes[kLanes] = {}, dots[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float slope = weight[i + lane] * dy[i + lane];
      slopes[lane] += slope;
      dots[lane] += slope * ((x[i + lane] - mean) * scale);
    }
  }
  for (; i < size; ++i) {
    const float slope = weight[i] * dy[i];
    slopes[0] += slope;
    dots[0] += slope * ((x[i] - mean) * scale);
  }
  Sums sums{0, 0};
  for (int lane = 0; lane < kLanes; ++lane) {
    sums.slopes += slopes[lane];
    sums.dot += dots[lane];
  }
  return sums;
}

DOWNPOUR_CLONES
void Back(const float* x, const float* dy, const float* weight, float mean, float scale, Sums means, float* dx,
          std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) {
    const float normal = (x[i] - mean) * scale;
    dx[i] = scale * (weight[i] * dy[i] - means.slopes - normal * means.dot);
  }
}

class CpuLayerNorm final : public LayerNorm {
 public:
  CpuLayerNorm(const LayerNormSpec& spec, int max_batch, int threads)
      : length_(spec.length),
        rows_(static_cast<int>(spec.shape.size() / spec.length)),
        epsilon_(spec.epsilon),
        threads_(threads),
        means_(static_cast<std::size_t>(max_batch) * rows_),
        scales_(static_cast<std::size_t>(max_batch) * rows_) {}

  void Forward(ConstTensorView input, const float* weight, const float* bias, TensorView output) override {
    const auto count = static_cast<float>(length_);
    ForEachRow(input.batch, [&](std::size_t row, std::size_t at) {
      float* const y = output.data + at;
      const float mean = Sum({input.data + at, length_}) / count;
      Shift(input.data + at, mean, y, length_);
      const auto variance = static_cast<float>(SumOfSquares({y, length_})) / count;
      means_.data()[row] = mean;
      scales_.data()[row] = 1 / std::sqrt(variance + epsilon_);
      ScaleAndShift(scales_.data()[row], weight, bias, y, length_);
    });
  }

  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                       float* bias_gradient) override {
    std::fill_n(weight_gradient, length_, 0.0f);
    std::fill_n(bias_gradient, length_, 0.0f);
    const std::size_t rows = static_cast<std::size_t>(input.batch) * rows_;
    for (std::size_t row = 0, at = 0; row < rows; ++row, at += length_) {
      AddGradients(input.data + at, output_gradient.data + at, means_.data()[row], scales_.data()[row], weight_gradient,
                   bias_gradient, length_);
    }
  }

  void BackwardData(ConstTensorView input, const float* weight, ConstTensorView output_gradient,
                    TensorView input_gradient) override {
    const auto count = static_cast<float>(length_);
    ForEachRow(input.batch, [&](std::size_t row, std::size_t at) {
      const float *const x = input.data + at, *const dy = output_gradient.data + at;
      const float mean = means_.data()[row], scale = scales_.data()[row];
      const Sums sums = SumSlopes(x, dy, weight, mean, scale, length_);
      Back(x, dy, weight, mean, scale, {sums.slopes / count, sums.dot / count}, input_gradient.data + at, length_);
    });
  }

 private:
  // Calls body(row, at) with each row and the index of its first value.
  template <typename Body>
  void ForEachRow(int batch, Body body) const {
    ParallelFor(batch, threads_, [&](int begin, int end, int) {
      const std::size_t last = static_cast<std::size_t>(end) * rows_;
      for (std::size_t row = static_cast<std::size_t>(begin) * rows_; row < last; ++row) body(row, row * length_);
    });
  }

  const std::size_t length_;
  const int rows_;  // of a sample
  const float epsilon_;
  const int threads_;
  AlignedBuffer means_, scales_;  // of each row of the last Forward
};

}  // namespace

std::unique_ptr<LayerNorm> MakeLayerNorm(const LayerNormSpec& spec, int max_batch, int threads) {
  return std::make_unique<CpuLayerNorm>(spec, max_batch, threads);
}

}  // namespace downpour::kernels::cpu
