#include "kernels/dropout.h"

#include "kernels/cpu/device.h"
#include "kernels/function_clones.h"

namespace downpour::kernels::cpu {
namespace {

DOWNPOUR_CLONES
void Drop(std::uint64_t seed, std::uint32_t threshold, float scale, const float* from, float* to, std::uint32_t size) {
  for (std::uint32_t i = 0; i < size; ++i) to[i] = DropoutDraw(seed, i) >= threshold ? scale * from[i] : 0.0f;
}

class CpuDropout final : public Dropout {
 public:
  explicit CpuDropout(float rate) : threshold_(DropoutThreshold(rate)), scale_(1 / (1 - rate)) {}

  void Apply(const std::uint64_t* seed, ConstTensorView from, TensorView to) override {
    Drop(*seed, threshold_, scale_, from.data, to.data, static_cast<std::uint32_t>(from.size()));
  }

 private:
  const std::uint32_t threshold_;
  const float scale_;
};

}  // namespace

std::unique_ptr<Dropout> MakeDropout(float rate) { return std::make_unique<CpuDropout>(rate); }

}  // namespace downpour::kernels::cpu
