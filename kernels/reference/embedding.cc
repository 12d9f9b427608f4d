#include "kernels/embedding.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/reference/device.h"

namespace downpour::kernels::reference {
namespace {

class ReferenceEmbedding final : public Embedding {
 public:
  explicit ReferenceEmbedding(const EmbeddingSpec& spec) : spec_(spec) {}

  void Forward(ConstTensorView input, const float* weights, TensorView output) override {
    for (std::size_t s = 0; s < input.size(); ++s)
      for (int o = 0; o < spec_.outputs; ++o) {
        const float id = input.data[s];
        output.data[s * spec_.outputs + o] = IsId(id) ? weights[static_cast<std::size_t>(id) * spec_.outputs + o]
                                                      : std::numeric_limits<float>::quiet_NaN();
      }
  }

  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient) override {
    std::fill_n(weight_gradient, static_cast<std::size_t>(spec_.vocabulary) * spec_.outputs, 0.0f);
    for (std::size_t s = 0; s < input.size(); ++s) {
      const float id = input.data[s];
      if (!IsId(id)) continue;
      for (int o = 0; o < spec_.outputs; ++o) {
        weight_gradient[static_cast<std::size_t>(id) * spec_.outputs + o] +=
            output_gradient.data[s * spec_.outputs + o];
      }
    }
  }

  void BackwardData(TensorView input_gradient) override { std::ranges::fill(input_gradient.values(), 0.0f); }

 private:
  bool IsId(float value) const {
    return value >= 0 && value < static_cast<float>(spec_.vocabulary) && value == std::floor(value);
  }

  const EmbeddingSpec spec_;
};

}  // namespace

std::unique_ptr<Embedding> MakeEmbedding(const EmbeddingSpec& spec) {
  return std::make_unique<ReferenceEmbedding>(spec);
}

}  // namespace downpour::kernels::reference
