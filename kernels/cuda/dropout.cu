#include "kernels/dropout.h"

#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

class CudaDropout final : public Dropout {
 public:
  CudaDropout(const Context& context, float rate)
      : context_(context), threshold_(DropoutThreshold(rate)), scale_(1 / (1 - rate)) {}

  void Apply(const std::uint64_t* seed, ConstTensorView from, TensorView to) override {
    ForEach(context_, from.size(),
            [threshold = threshold_, scale = scale_, seed, x = from.data, y = to.data] __device__(Index i) {
              y[i] = DropoutDraw(*seed, i) >= threshold ? scale * x[i] : 0;
            });
  }

 private:
  const Context& context_;
  const std::uint32_t threshold_;
  const float scale_;
};

}  // namespace

std::unique_ptr<Dropout> MakeDropout(const Context& context, float rate, const Shape& shape, int max_batch) {
  CheckSize(shape, max_batch);
  return std::make_unique<CudaDropout>(context, rate);
}

}  // namespace downpour::kernels::cuda
