#include "kernels/dropout.h"

#include "kernels/cuda/map.h"
#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

class CudaDropout final : public Dropout {
 public:
  CudaDropout(const Context& context, float rate)
      : context_(context), threshold_(DropoutThreshold(rate)), scale_(1 / (1 - rate)) {}

  void Apply(const std::uint64_t* seed, ConstTensorView from, TensorView to) override {
    Map(
        context_, from.size(), to.data,
        [threshold = threshold_, scale = scale_, seed] __device__(Index i, float x) {
          return DropoutDraw(*seed, i) >= threshold ? scale * x : 0;
        },
        from.data);
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
