#include "kernels/average_pool2d.h"

#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/pooling.h"

namespace downpour::kernels::cuda {
namespace {

__device__ float Share(const Pool2dSpec::Range& rows, const Pool2dSpec::Range& columns) {
  return 1 / (static_cast<float>(rows.padded) * static_cast<float>(columns.padded));
}

class CudaAveragePool2d final : public AveragePool2d {
 public:
  CudaAveragePool2d(const Context& context, const Pool2dSpec& spec)
      : context_(context), spec_(spec), stride_(spec.stride), inputs_(spec.input), outputs_(spec.output()) {}

  void Forward(ConstTensorView input, TensorView output) override {
    ForEach(context_, output.size(),
            [spec = spec_, places = outputs_, x = input.data, y = output.data] __device__(Index i) {
              const Place place = places.At(i);
              const Pool2dSpec::Range rows = spec.Window(place.row, spec.input.height);
              const Pool2dSpec::Range columns = spec.Window(place.column, spec.input.width);
              const float* const plane = x + place.channel * (spec.input.height * spec.input.width);
              float sum = 0;
              for (int row = rows.first; row < rows.last; ++row)
                for (int column = columns.first; column < columns.last; ++column)
                  sum += plane[row * spec.input.width + column];
              y[i] = sum * Share(rows, columns);
            });
  }

  void Backward(ConstTensorView output_gradient, TensorView input_gradient) override {
    ForEach(context_, input_gradient.size(),
            [spec = spec_, stride = stride_, output = spec_.output(), places = inputs_, dy = output_gradient.data,
             dx = input_gradient.data] __device__(Index i) {
              const Place place = places.At(i);
              const Windows rows = WindowsOf(spec, stride, place.row, output.height);
              const Windows columns = WindowsOf(spec, stride, place.column, output.width);
              const float* const plane = dy + place.channel * (output.height * output.width);
              float sum = 0;
              for (int row = rows.first; row < rows.last; ++row)
                for (int column = columns.first; column < columns.last; ++column) {
                  sum += plane[row * output.width + column] *
                         Share(spec.Window(row, spec.input.height), spec.Window(column, spec.input.width));
                }
              dx[i] = sum;
            });
  }

 private:
  const Context& context_;
  const Pool2dSpec spec_;
  const FastDivisor stride_;
  const Places inputs_;
  const Places outputs_;
};

}  // namespace

std::unique_ptr<AveragePool2d> MakeAveragePool2d(const Context& context, const Pool2dSpec& spec, int max_batch) {
  CheckSize(spec.input, max_batch);
  CheckSize(spec.output(), max_batch);
  return std::make_unique<CudaAveragePool2d>(context, spec);
}

}  // namespace downpour::kernels::cuda
