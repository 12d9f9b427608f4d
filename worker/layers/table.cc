#include "worker/layers/table.h"

#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/layers/activation.h"
#include "worker/layers/batch_norm.h"
#include "worker/layers/concat.h"
#include "worker/layers/contrastive_loss.h"
#include "worker/layers/convolution.h"
#include "worker/layers/dropout.h"
#include "worker/layers/eltwise.h"
#include "worker/layers/embedding.h"
#include "worker/layers/errors.h"
#include "worker/layers/euclidean_loss.h"
#include "worker/layers/hinge_loss.h"
#include "worker/layers/inner_product.h"
#include "worker/layers/layer_norm.h"
#include "worker/layers/lrn.h"
#include "worker/layers/maxout.h"
#include "worker/layers/pooling.h"
#include "worker/layers/prelu.h"
#include "worker/layers/recurrent.h"
#include "worker/layers/relu.h"
#include "worker/layers/reshape.h"
#include "worker/layers/self_attention.h"
#include "worker/layers/sigmoid_loss.h"
#include "worker/layers/slice.h"
#include "worker/layers/softmax.h"
#include "worker/layers/softmax_loss.h"
#include "worker/layers/transposed_convolution.h"

namespace downpour::worker {
namespace {

constexpr std::size_t kAny = std::numeric_limits<std::size_t>::max();

constexpr LayerType kLayerTypes[] = {
    {"convolution", MakeConvolution},
    {"transposed_convolution", MakeTransposedConvolution},
    {"pooling", MakePooling},
    {"global_pooling", MakeGlobalPooling},
    {"inner_product", MakeInnerProduct},
    {"relu", MakeRelu},
    {"leaky_relu", MakeLeakyRelu},
    {"prelu", MakePrelu},
    {"elu", MakeElu},
    {"gelu", MakeGelu},
    {"sigmoid", MakeSigmoid},
    {"tanh", MakeTanh},
    {"softmax", MakeSoftmax},
    {"maxout", MakeMaxout},
    {"batch_norm", MakeBatchNorm},
    {"layer_norm", MakeLayerNorm},
    {"lrn", MakeLrn},
    {"dropout", MakeDropout},
    {"eltwise", MakeEltwise, 2, kAny},
    {"concat", MakeConcat, 2, kAny},
    {"slice", MakeSlice},
    {"flatten", MakeFlatten},
    {"reshape", MakeReshape},
    {"embedding", MakeEmbedding},
    {"self_attention", MakeSelfAttention},
    {"lstm", MakeLstm},
    {"gru", MakeGru},
    {"softmax_loss", MakeSoftmaxLoss},
    {"hinge_loss", MakeHingeLoss},
    {"euclidean_loss", MakeEuclideanLoss},
    {"sigmoid_loss", MakeSigmoidLoss},
    {"contrastive_loss", MakeContrastiveLoss, 2, 2},
};

}  // namespace

std::span<const LayerType> LayerTypes() { return kLayerTypes; }

absl::StatusOr<AnyLayer> MakeLayer(const LayerContext& context) {
  for (const LayerType& type : kLayerTypes) {
    if (type.type != context.config.type()) continue;
    const std::size_t inputs = context.inputs.size();
    if (inputs < type.fewest) return LayerError(context, "takes at least ", type.fewest, " inputs");
    if (inputs > type.most) {
      return LayerError(context, "takes no more than ", type.most, type.most == 1 ? " input" : " inputs");
    }
    return type.make(context);
  }
  const std::string known = absl::StrJoin(
      kLayerTypes, ", ", [](std::string* out, const LayerType& type) { out->append(type.type); });
  return absl::InvalidArgumentError(absl::StrCat("layer ", context.config.name(), ": unknown type '",
                                                 context.config.type(), "'; known are: ", known));
}

}  // namespace downpour::worker
