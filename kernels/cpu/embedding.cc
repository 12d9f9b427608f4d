#include "kernels/embedding.h"

#include <algorithm>
#include <limits>

#include "kernels/cpu/device.h"
#include "kernels/vector_ops.h"

namespace downpour::kernels::cpu {
namespace {

class CpuEmbedding final : public Embedding {
 public:
  explicit CpuEmbedding(const EmbeddingSpec& spec) : vocabulary_(spec.vocabulary), outputs_(spec.outputs) {}

  void Forward(ConstTensorView input, const float* weights, TensorView output) override {
    for (std::size_t s = 0; s < input.size(); ++s) {
      float* const to = output.data + s * outputs_;
      const std::ptrdiff_t row = RowOf(input.data[s]);
      if (row >= 0) {
        std::copy_n(weights + row * outputs_, outputs_, to);
      } else {
        std::fill_n(to, outputs_, std::numeric_limits<float>::quiet_NaN());
      }
    }
  }

  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient) override {
    Zero({weight_gradient, vocabulary_ * outputs_});
    for (std::size_t s = 0; s < input.size(); ++s) {
      const std::ptrdiff_t row = RowOf(input.data[s]);
      if (row < 0) continue;
      Axpy(1, {output_gradient.data + s * outputs_, outputs_}, {weight_gradient + row * outputs_, outputs_});
    }
  }

  void BackwardData(TensorView input_gradient) override { Zero(input_gradient.values()); }

 private:
  // -1 where there is none.
  std::ptrdiff_t RowOf(float id) const {
    if (!(id >= 0 && id < static_cast<float>(vocabulary_))) return -1;
    const auto row = static_cast<std::ptrdiff_t>(id);
    return static_cast<float>(row) == id ? row : -1;
  }

  const std::size_t vocabulary_;
  const std::size_t outputs_;
};

}  // namespace

std::unique_ptr<Embedding> MakeEmbedding(const EmbeddingSpec& spec) { return std::make_unique<CpuEmbedding>(spec); }

}  // namespace downpour::kernels::cpu
