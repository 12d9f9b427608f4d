#include "kernels/max_pool2d.h"

#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/pooling.h"

namespace downpour::kernels::cuda {
namespace {

class CudaMaxPool2d final : public MaxPool2d {
 public:
  CudaMaxPool2d(const Context& context, const Pool2dSpec& spec, int max_batch)
      : context_(context),
        spec_(spec),
        stride_(spec.stride),
        inputs_(spec.input),
        outputs_(spec.output()),
        largest_(context.MakeBuffer(max_batch * spec.output().size())) {}

  void Forward(ConstTensorView input, TensorView output) override {
    ForEach(
        context_, output.size(),
        [spec = spec_, places = outputs_, x = input.data, y = output.data, largest = Largest()] __device__(Index i) {
          const Place place = places.At(i);
          const Pool2dSpec::Range rows = spec.Window(place.row, spec.input.height);
          const Pool2dSpec::Range columns = spec.Window(place.column, spec.input.width);
          const float* const plane = x + place.channel * (spec.input.height * spec.input.width);
          int best = rows.first * spec.input.width + columns.first;
          for (int row = rows.first; row < rows.last; ++row)
            for (int column = columns.first; column < columns.last; ++column) {
              const int at = row * spec.input.width + column;
              if (plane[at] > plane[best]) best = at;
            }
          largest[i] = best;
          y[i] = plane[best];
        });
  }

  void Backward(ConstTensorView output_gradient, TensorView input_gradient) override {
    const bool two = !spec_.global && spec_.kernel <= 2 * spec_.stride;
    two ? BackwardOfWindows<2>(output_gradient, input_gradient) : BackwardOfWindows<0>(output_gradient, input_gradient);
  }

  // Each input asks the windows that it is in, so that gradients are added in one order. There are no more than kMost a
  // dimension, where that is not 0. Public, for nvcc takes no kernel from a private function.
  template <int kMost>
  void BackwardOfWindows(ConstTensorView output_gradient, TensorView input_gradient) {
    ForEach(context_, input_gradient.size(),
            [spec = spec_, stride = stride_, output = spec_.output(), places = inputs_, dy = output_gradient.data,
             dx = input_gradient.data, largest = Largest()] __device__(Index i) {
              const Place place = places.At(i);
              const int self = place.row * spec.input.width + place.column;
              const Windows rows = WindowsOf(spec, stride, place.row, output.height);
              const Windows columns = WindowsOf(spec, stride, place.column, output.width);
              const Index plane = place.channel * (output.height * output.width);
              float sum = 0;
              if constexpr (kMost > 0) {
                float values[kMost][kMost];
#pragma unroll
                for (int a = 0; a < kMost; ++a)
#pragma unroll
                  for (int b = 0; b < kMost; ++b) {
                    const int row = rows.first + a, column = columns.first + b;
                    const Index at = plane + row * output.width + column;
                    values[a][b] = row < rows.last && column < columns.last && largest[at] == self ? dy[at] : 0;
                  }
#pragma unroll
                for (int a = 0; a < kMost; ++a)
#pragma unroll
                  for (int b = 0; b < kMost; ++b) sum += values[a][b];
              } else {
                for (int row = rows.first; row < rows.last; ++row)
                  for (int column = columns.first; column < columns.last; ++column) {
                    const Index at = plane + row * output.width + column;
                    if (largest[at] == self) sum += dy[at];
                  }
              }
              dx[i] = sum;
            });
  }

 private:
  std::int32_t* Largest() const { return reinterpret_cast<std::int32_t*>(largest_.data()); }

  const Context& context_;
  const Pool2dSpec spec_;
  const FastDivisor stride_;
  const Places inputs_;
  const Places outputs_;
  const Buffer largest_;  // for each output its value's place in the plane, as an integer
};

}  // namespace

std::unique_ptr<MaxPool2d> MakeMaxPool2d(const Context& context, const Pool2dSpec& spec, int max_batch) {
  CheckSize(spec.input, max_batch);
  CheckSize(spec.output(), max_batch);
  return std::make_unique<CudaMaxPool2d>(context, spec, max_batch);
}

}  // namespace downpour::kernels::cuda
