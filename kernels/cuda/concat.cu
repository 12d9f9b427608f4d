#include "kernels/concat.h"

#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

std::size_t Plane(const Shape& shape) { return static_cast<std::size_t>(shape.height) * shape.width; }

// An input's channels of one sample lie together, and those of the next a sample of the output further on.
class CudaConcat final : public Concat {
 public:
  explicit CudaConcat(const Context& context) : context_(context) {}

  void Forward(std::span<const ConstTensorView> inputs, TensorView output) override {
    int first_channel = 0;
    for (const ConstTensorView& input : inputs) {
      Copy(input.data, input.shape.size(), output.data + first_channel * Plane(output.shape), output.shape.size(),
           input);
      first_channel += input.shape.channels;
    }
  }

  void Backward(ConstTensorView output_gradient, int first_channel, TensorView input_gradient) override {
    Copy(output_gradient.data + first_channel * Plane(output_gradient.shape), output_gradient.shape.size(),
         input_gradient.data, input_gradient.shape.size(), input_gradient);
  }

 private:
  // As many values of each sample as `input` has; pitches are in values.
  void Copy(const float* from, std::size_t from_pitch, float* to, std::size_t to_pitch, ConstTensorView input) {
    Check(cudaMemcpy2DAsync(to, to_pitch * sizeof(float), from, from_pitch * sizeof(float),
                            input.shape.size() * sizeof(float), input.batch, cudaMemcpyDeviceToDevice,
                            context_.stream()),
          "copying on the GPU");
  }

  const Context& context_;
};

}  // namespace

std::unique_ptr<Concat> MakeConcat(const Context& context, const std::vector<Shape>& inputs, int max_batch) {
  for (const Shape& shape : inputs) CheckSize(shape, max_batch);
  return std::make_unique<CudaConcat>(context);
}

}  // namespace downpour::kernels::cuda
