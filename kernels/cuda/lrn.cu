#include "kernels/lrn.h"

#include "kernels/cuda/fast_divisor.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/pooling.h"

namespace downpour::kernels::cuda {
namespace {

// Finds the values in a value's window.
class Neighbours {
 public:
  explicit Neighbours(const LrnSpec& spec)
      : across_(spec.region == LrnSpec::Region::kAcrossChannels),
        reach_(spec.local_size / 2),
        shape_(spec.shape),
        places_(spec.shape),
        channels_(spec.shape.channels) {}

  // The sum of value(k) over the indices k of all in the window of i.
  template <typename Value>
  __device__ float Sum(Index i, Value value) const {
    const Place place = places_.At(i);
    const int plane = shape_.height * shape_.width;
    float sum = 0;
    if (across_) {
      const int channel = channels_.Remainder(place.channel);
      const int last = min(channel + reach_, shape_.channels - 1);
      for (int c = max(channel - reach_, 0); c <= last; ++c) sum += value(i + (c - channel) * plane);
      return sum;
    }
    const int last_row = min(place.row + reach_, shape_.height - 1);
    const int last_column = min(place.column + reach_, shape_.width - 1);
    for (int row = max(place.row - reach_, 0); row <= last_row; ++row)
      for (int column = max(place.column - reach_, 0); column <= last_column; ++column) {
        sum += value(place.channel * plane + row * shape_.width + column);
      }
    return sum;
  }

 private:
  const bool across_;
  const int reach_;
  const Shape shape_;
  const Places places_;
  const FastDivisor channels_;
};

class CudaLrn final : public Lrn {
 public:
  CudaLrn(const Context& context, const LrnSpec& spec, int max_batch)
      : context_(context),
        spec_(spec),
        neighbours_(spec),
        share_(spec.alpha / static_cast<float>(spec.window())),
        scale_(context.MakeBuffer(max_batch * spec.shape.size())) {}

  void Forward(ConstTensorView input, TensorView output) override {
    ForEach(context_, input.size(),
            [neighbours = neighbours_, k = spec_.k, share = share_, beta = spec_.beta, scale = scale_.data(),
             x = input.data, y = output.data] __device__(Index i) {
              scale[i] = k + share * neighbours.Sum(i, [x](Index at) { return x[at] * x[at]; });
              y[i] = x[i] * powf(scale[i], -beta);
            });
  }

  void Backward(ConstTensorView input, ConstTensorView output, ConstTensorView output_gradient,
                TensorView input_gradient) override {
    ForEach(context_, input.size(),
            [neighbours = neighbours_, factor = 2 * share_ * spec_.beta, beta = spec_.beta, scale = scale_.data(),
             x = input.data, y = output.data, dy = output_gradient.data, dx = input_gradient.data] __device__(Index i) {
              const float sum = neighbours.Sum(i, [=](Index at) { return dy[at] * y[at] / scale[at]; });
              dx[i] = dy[i] * powf(scale[i], -beta) - factor * x[i] * sum;
            });
  }

 private:
  const Context& context_;
  const LrnSpec spec_;
  const Neighbours neighbours_;
  const float share_;   // of each square in the window
  const Buffer scale_;  // of the last Forward
};

}  // namespace

std::unique_ptr<Lrn> MakeLrn(const Context& context, const LrnSpec& spec, int max_batch) {
  CheckSize(spec.shape, max_batch);
  return std::make_unique<CudaLrn>(context, spec, max_batch);
}

}  // namespace downpour::kernels::cuda
