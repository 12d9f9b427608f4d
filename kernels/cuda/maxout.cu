#include "kernels/maxout.h"

#include "kernels/cuda/fast_divisor.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

// Where the values of a group lie.
struct Groups {
  FastDivisor pixels;
  Index pieces;

  // Of the first piece, for an output.
  __device__ Index First(Index output) const {
    const Index channel = pixels.Divide(output);
    return channel * pieces * pixels.divisor() + (output - channel * pixels.divisor());
  }
  // Of the first largest value; a NaN counts as larger than any.
  __device__ Index Largest(const float* x, Index output) const {
    Index largest = First(output), at = largest;
    float most = x[at];
    for (Index p = 1; p < pieces; ++p) {
      at += pixels.divisor();
      const float value = x[at];
      if (value > most || isnan(value)) {
        most = value;
        largest = at;
      }
    }
    return largest;
  }
};

class CudaMaxout final : public Maxout {
 public:
  CudaMaxout(const Context& context, const MaxoutSpec& spec)
      : context_(context),
        groups_{FastDivisor(spec.input.height * spec.input.width), static_cast<Index>(spec.pieces)} {}

  void Forward(ConstTensorView input, TensorView output) override {
    ForEach(context_, output.size(), [groups = groups_, x = input.data, y = output.data] __device__(Index i) {
      y[i] = x[groups.Largest(x, i)];
    });
  }

  void Backward(ConstTensorView input, ConstTensorView, ConstTensorView output_gradient,
                TensorView input_gradient) override {
    ForEach(
        context_, output_gradient.size(),
        [groups = groups_, x = input.data, dy = output_gradient.data, dx = input_gradient.data] __device__(Index i) {
          const Index largest = groups.Largest(x, i);
          Index at = groups.First(i);
          for (Index p = 0; p < groups.pieces; ++p, at += groups.pixels.divisor()) {
            dx[at] = at == largest ? dy[i] : 0;
          }
        });
  }

 private:
  const Context& context_;
  const Groups groups_;
};

}  // namespace

std::unique_ptr<Maxout> MakeMaxout(const Context& context, const MaxoutSpec& spec, int max_batch) {
  CheckSize(spec.input, max_batch);
  return std::make_unique<CudaMaxout>(context, spec);
}

}  // namespace downpour::kernels::cuda
