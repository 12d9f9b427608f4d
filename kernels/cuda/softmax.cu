#include "kernels/softmax.h"

#include "kernels/cuda/class_scores.h"
#include "kernels/cuda/fast_divisor.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

// The index of a place's value of the first channel; places are counted over the batch.
__device__ Index FirstOf(Index place, int channels, const FastDivisor& pixels) {
  const Index n = pixels.Divide(place);
  return n * channels * pixels.divisor() + (place - n * pixels.divisor());
}

// A thread for each place; where a sample has one place only, its values stand in a row, and a warp takes them.
class CudaSoftmax final : public Softmax {
 public:
  CudaSoftmax(const Context& context, const Shape& shape)
      : context_(context), channels_(shape.channels), pixels_(shape.height * shape.width) {}

  void Forward(ConstTensorView input, TensorView output) override {
    pixels_.divisor() == 1 ? ForwardOfRows(input, output) : ForwardOfPlaces(input, output);
  }

  void Backward(ConstTensorView output, ConstTensorView output_gradient, TensorView input_gradient) override {
    pixels_.divisor() == 1 ? BackwardOfRows(output, output_gradient, input_gradient)
                           : BackwardOfPlaces(output, output_gradient, input_gradient);
  }

  // Public, for nvcc takes no kernel from a private function.
  void ForwardOfRows(ConstTensorView input, TensorView output) {
    ForEachRow(context_, input.batch,
               [channels = channels_, x = input.data, y = output.data] __device__(Index n, int lane) {
                 const float* const from = x + n * channels;
                 float* const to = y + n * channels;
                 const float highest = WarpHighest(from, channels, lane).score;
                 float sum = 0;
                 for (int c = lane; c < channels; c += kWarp) {
                   to[c] = expf(from[c] - highest);
                   sum += to[c];
                 }
                 sum = WarpSum(sum);
                 for (int c = lane; c < channels; c += kWarp) to[c] /= sum;
               });
  }

  void ForwardOfPlaces(ConstTensorView input, TensorView output) {
    ForEach(context_, input.batch * pixels_.divisor(),
            [channels = channels_, pixels = pixels_, x = input.data, y = output.data] __device__(Index place) {
              const Index first = FirstOf(place, channels, pixels);
              float highest = x[first];
              for (int c = 1; c < channels; ++c) highest = fmaxf(highest, x[first + c * pixels.divisor()]);
              float sum = 0;
              for (int c = 0; c < channels; ++c) {
                const Index at = first + c * pixels.divisor();
                y[at] = expf(x[at] - highest);
                sum += y[at];
              }
              for (int c = 0; c < channels; ++c) y[first + c * pixels.divisor()] /= sum;
            });
  }

  void BackwardOfRows(ConstTensorView output, ConstTensorView output_gradient, TensorView input_gradient) {
    ForEachRow(context_, output.batch,
               [channels = channels_, y = output.data, dy = output_gradient.data, dx = input_gradient.data] __device__(
                   Index n, int lane) {
                 const Index first = n * channels;
                 float dot = 0;
                 for (int c = lane; c < channels; c += kWarp) dot += dy[first + c] * y[first + c];
                 dot = WarpSum(dot);
                 for (int c = lane; c < channels; c += kWarp) dx[first + c] = y[first + c] * (dy[first + c] - dot);
               });
  }

  void BackwardOfPlaces(ConstTensorView output, ConstTensorView output_gradient, TensorView input_gradient) {
    ForEach(context_, output.batch * pixels_.divisor(),
            [channels = channels_, pixels = pixels_, y = output.data, dy = output_gradient.data,
             dx = input_gradient.data] __device__(Index place) {
              const Index first = FirstOf(place, channels, pixels);
              float dot = 0;
              for (int c = 0; c < channels; ++c) {
                const Index at = first + c * pixels.divisor();
                dot += dy[at] * y[at];
              }
              for (int c = 0; c < channels; ++c) {
                const Index at = first + c * pixels.divisor();
                dx[at] = y[at] * (dy[at] - dot);
              }
            });
  }

 private:
  const Context& context_;
  const int channels_;
  const FastDivisor pixels_;
};

}  // namespace

std::unique_ptr<Softmax> MakeSoftmax(const Context& context, const Shape& shape, int max_batch) {
  CheckSize(shape, max_batch);
  return std::make_unique<CudaSoftmax>(context, shape);
}

}  // namespace downpour::kernels::cuda
