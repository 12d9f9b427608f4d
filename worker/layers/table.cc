#include "worker/layers/table.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/layers/convolution.h"
#include "worker/layers/euclidean_loss.h"
#include "worker/layers/inner_product.h"
#include "worker/layers/pooling.h"
#include "worker/layers/relu.h"
#include "worker/layers/softmax_loss.h"

namespace downpour::worker {
namespace {

constexpr LayerType kLayerTypes[] = {
    {"convolution", MakeConvolution},    {"pooling", MakePooling},
    {"inner_product", MakeInnerProduct}, {"relu", MakeRelu},
    {"softmax_loss", MakeSoftmaxLoss},   {"euclidean_loss", MakeEuclideanLoss},
};

}  // namespace

std::span<const LayerType> LayerTypes() { return kLayerTypes; }

absl::StatusOr<AnyLayer> MakeLayer(const LayerContext& context) {
  for (const LayerType& type : kLayerTypes) {
    if (type.type == context.config.type()) return type.make(context);
  }
  const std::string known = absl::StrJoin(
      kLayerTypes, ", ", [](std::string* out, const LayerType& type) { out->append(type.type); });
  return absl::InvalidArgumentError(absl::StrCat("layer ", context.config.name(), ": unknown type '",
                                                 context.config.type(), "'; known are: ", known));
}

}  // namespace downpour::worker
