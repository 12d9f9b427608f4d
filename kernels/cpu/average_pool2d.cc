#include "kernels/average_pool2d.h"

#include <algorithm>
#include <vector>

#include "kernels/cpu/device.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/vector_ops.h"

namespace downpour::kernels::cpu {
namespace {

// The sum of a window is that of its rows, for a whole row of windows, and then that of its columns.
class CpuAveragePool2d final : public AveragePool2d {
 public:
  CpuAveragePool2d(const Pool2dSpec& spec, int threads)
      : input_(spec.input), output_(spec.output()), threads_(threads) {
    for (int y = 0; y < output_.height; ++y) rows_.push_back(spec.Window(y, input_.height));
    for (int x = 0; x < output_.width; ++x) columns_.push_back(spec.Window(x, input_.width));
    sums_.resize(threads, std::vector<float>(input_.width));
  }

  void Forward(ConstTensorView input, TensorView output) override {
    ForEachPlane(input.batch, [&](std::size_t plane, std::vector<float>& sums) {
      const float* from = input.data + plane * input_.height * input_.width;
      float* to = output.data + plane * output_.height * output_.width;
      for (const Pool2dSpec::Range& rows : rows_) {
        const float* row = from + static_cast<std::size_t>(rows.first) * input_.width;
        std::copy_n(row, sums.size(), sums.begin());
        for (int i = rows.first + 1; i < rows.last; ++i) Axpy(1, {row += input_.width, sums.size()}, sums);
        for (const Pool2dSpec::Range& columns : columns_) {
          float sum = 0;
          for (int j = columns.first; j < columns.last; ++j) sum += sums[j];
          *to++ = sum * Share(rows, columns);
        }
      }
    });
  }

  void Backward(ConstTensorView output_gradient, TensorView input_gradient) override {
    ForEachPlane(output_gradient.batch, [&](std::size_t plane, std::vector<float>& sums) {
      const float* from = output_gradient.data + plane * output_.height * output_.width;
      float* to = input_gradient.data + plane * input_.height * input_.width;
      std::fill_n(to, static_cast<std::size_t>(input_.height) * input_.width, 0.0f);
      for (const Pool2dSpec::Range& rows : rows_) {
        std::ranges::fill(sums, 0.0f);
        for (const Pool2dSpec::Range& columns : columns_) {
          const float gradient = *from++ * Share(rows, columns);
          for (int j = columns.first; j < columns.last; ++j) sums[j] += gradient;
        }
        for (int i = rows.first; i < rows.last; ++i) {
          Axpy(1, sums, {to + static_cast<std::size_t>(i) * input_.width, sums.size()});
        }
      }
    });
  }

 private:
  static float Share(const Pool2dSpec::Range& rows, const Pool2dSpec::Range& columns) {
    return 1 / (static_cast<float>(rows.padded) * static_cast<float>(columns.padded));
  }

  // Of each sample, each channel, with scratch memory for a row.
  template <typename Body>
  void ForEachPlane(int batch, Body body) {
    ParallelFor(batch, threads_, [&](int begin, int end, int part) {
      const std::size_t channels = input_.channels;
      for (std::size_t plane = begin * channels; plane < end * channels; ++plane) body(plane, sums_[part]);
    });
  }

  const Shape input_;
  const Shape output_;
  const int threads_;
  std::vector<Pool2dSpec::Range> rows_;     // by output row
  std::vector<Pool2dSpec::Range> columns_;  // by output column
  std::vector<std::vector<float>> sums_;    // one for each thread
};

}  // namespace

std::unique_ptr<AveragePool2d> MakeAveragePool2d(const Pool2dSpec& spec, int threads) {
  return std::make_unique<CpuAveragePool2d>(spec, threads);
}

}  // namespace downpour::kernels::cpu
