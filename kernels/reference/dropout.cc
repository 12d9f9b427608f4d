#include "kernels/dropout.h"

#include "kernels/reference/device.h"

namespace downpour::kernels::reference {
namespace {

class ReferenceDropout final : public Dropout {
 public:
  explicit ReferenceDropout(float rate) : rate_(rate) {}

  void Apply(const std::uint64_t* seed, ConstTensorView from, TensorView to) override {
    for (std::size_t i = 0; i < from.size(); ++i) {
      const bool kept = DropoutDraw(*seed, static_cast<std::uint32_t>(i)) >= DropoutThreshold(rate_);
      to.data[i] = kept ? from.data[i] / (1 - rate_) : 0;
    }
  }

 private:
  const float rate_;
};

}  // namespace

std::unique_ptr<Dropout> MakeDropout(float rate) { return std::make_unique<ReferenceDropout>(rate); }

}  // namespace downpour::kernels::reference
