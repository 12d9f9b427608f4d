#include "worker/formats/caffe_layers.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "worker/formats/caffe_data.h"

namespace downpour::formats {
namespace {

// Whether a key of Caffe's asks for what a layer here does not do; then it is a mistake.
bool Refuse(CaffeBuilder& builder, bool asked, const char* what) {
  if (asked) builder.Mistake(what);
  return asked;
}

void SetWeightFiller(CaffeBuilder& builder, const caffe::FillerParameter& filler, Layer* layer) {
  const std::string& type = filler.type();
  if (type == "constant") {
    layer->set_filler_value(filler.value());
  } else if (type == "gaussian") {
    Refuse(builder, filler.mean() != 0, "a weight_filler of a mean other than 0");
    Refuse(builder, filler.sparse() >= 0, "a sparse weight_filler");
    layer->set_filler_std(filler.std());
  } else if (type == "uniform") {
    layer->set_filler_min(filler.min());
    layer->set_filler_max(filler.max());
  } else if (type == "xavier" || type == "msra") {
    Refuse(builder, filler.variance_norm() != caffe::FillerParameter::FAN_IN, "variance_norm other than FAN_IN");
  } else if (type != "bilinear") {
    return builder.Mistake(absl::StrCat("weight_filler '", type.substr(0, 40), "' is not known"));
  }
  layer->set_filler(type);
}

// Of a layer that has biases.
void SetBiasFiller(CaffeBuilder& builder, const caffe::FillerParameter& filler, Layer* layer) {
  if (Refuse(builder, filler.type() != "constant", "a bias_filler other than constant")) return;
  if (filler.value() != 0) layer->set_bias_filler_value(filler.value());
}

// param { lr_mult decay_mult } of weights and biases.
void SetMultipliers(CaffeBuilder& builder, const caffe::LayerParameter& caffe, Layer* layer) {
  for (const caffe::ParamSpec& param : caffe.param()) {
    Refuse(builder, !param.name().empty(), "shares parameters with other layers (param has a name)");
  }
  if (caffe.param_size() > 0) {
    if (caffe.param(0).lr_mult() != 1) layer->set_lr_mult(caffe.param(0).lr_mult());
    if (caffe.param(0).decay_mult() != 1) layer->set_decay_mult(caffe.param(0).decay_mult());
  }
  if (caffe.param_size() > 1) {
    if (caffe.param(1).lr_mult() != 1) layer->set_bias_lr_mult(caffe.param(1).lr_mult());
    if (caffe.param(1).decay_mult() != 1) layer->set_bias_decay_mult(caffe.param(1).decay_mult());
  }
}

// A layer here has biases; where Caffe's has none, they are 0 and stay so.
void FreezeBias(Layer* layer) {
  layer->set_bias_lr_mult(0);
  layer->clear_bias_decay_mult();
}

// One number for both directions; `all` are those of the repeated key.
std::optional<std::uint32_t> Side(CaffeBuilder& builder, const char* key, const google::protobuf::RepeatedField<std::uint32_t>& all,
                                  bool has_h, std::uint32_t h, bool has_w, std::uint32_t w, std::uint32_t otherwise) {
  std::vector<std::uint32_t> given(all.begin(), all.end());
  if (has_h) given.push_back(h);
  if (has_w) given.push_back(w);
  if (given.empty()) return otherwise;
  if (std::ranges::any_of(given, [&](std::uint32_t each) { return each != given.front(); })) {
    builder.Mistake(absl::StrCat(key, " is not the same for height and width"));
    return std::nullopt;
  }
  return given.front();
}

void AddConvolution(CaffeBuilder& builder, const caffe::LayerParameter& caffe, const char* type) {
  const caffe::ConvolutionParameter& param = caffe.convolution_param();
  Layer* const layer = builder.Add(type, 1);
  if (layer == nullptr) return;
  Refuse(builder, caffe.bottom_size() > 1, "has several bottoms");
  Refuse(builder, param.axis() != 1, "axis is not 1");
  layer->set_outputs(param.num_output());
  const auto kernel = Side(builder, "kernel", param.kernel_size(), param.has_kernel_h(), param.kernel_h(),
                           param.has_kernel_w(), param.kernel_w(), 0);
  const auto stride = Side(builder, "stride", param.stride(), param.has_stride_h(), param.stride_h(),
                           param.has_stride_w(), param.stride_w(), 1);
  const auto pad =
      Side(builder, "pad", param.pad(), param.has_pad_h(), param.pad_h(), param.has_pad_w(), param.pad_w(), 0);
  const auto dilation = Side(builder, "dilation", param.dilation(), false, 0, false, 0, 1);
  layer->set_kernel(kernel.value_or(1));
  if (stride.value_or(1) != 1) layer->set_stride(*stride);
  if (pad.value_or(0) != 0) layer->set_pad(*pad);
  if (dilation.value_or(1) != 1) layer->set_dilation(*dilation);
  if (param.group() != 1) layer->set_groups(param.group());
  SetWeightFiller(builder, param.weight_filler(), layer);
  SetMultipliers(builder, caffe, layer);
  if (param.bias_term()) {
    SetBiasFiller(builder, param.bias_filler(), layer);
  } else {
    FreezeBias(layer);
  }
  builder.AddBlobs(*layer, {"weight", "bias"}, !param.bias_term());
}

void Convolution(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  AddConvolution(builder, caffe, "convolution");
}

void Deconvolution(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  AddConvolution(builder, caffe, "transposed_convolution");
}

void InnerProduct(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  const caffe::InnerProductParameter& param = caffe.inner_product_param();
  Layer* const layer = builder.Add("inner_product", 1);
  if (layer == nullptr) return;
  Refuse(builder, param.axis() != 1, "axis is not 1");
  Refuse(builder, param.transpose(), "transpose");
  layer->set_outputs(param.num_output());
  SetWeightFiller(builder, param.weight_filler(), layer);
  SetMultipliers(builder, caffe, layer);
  if (param.bias_term()) {
    SetBiasFiller(builder, param.bias_filler(), layer);
  } else {
    FreezeBias(layer);
  }
  builder.AddBlobs(*layer, {"weight", "bias"}, !param.bias_term());
}

void Pooling(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  const caffe::PoolingParameter& param = caffe.pooling_param();
  Refuse(builder, caffe.top_size() > 1, "has a second top, of where its maxima are");
  Refuse(builder, param.pool() == caffe::PoolingParameter::STOCHASTIC, "STOCHASTIC");
  Layer* const layer = builder.Add(param.global_pooling() ? "global_pooling" : "pooling", 1);
  if (layer == nullptr) return;
  if (param.pool() == caffe::PoolingParameter::AVE) layer->set_method("average");
  if (param.global_pooling()) return;
  google::protobuf::RepeatedField<std::uint32_t> none;
  const auto side = [&](const char* key, bool has, std::uint32_t both, bool has_h, std::uint32_t h, bool has_w,
                        std::uint32_t w) {
    return Side(builder, key, none, has || has_h, has_h ? h : both, has || has_w, has_w ? w : both, 0).value_or(0);
  };
  const std::uint32_t kernel = side("kernel", param.has_kernel_size(), param.kernel_size(), param.has_kernel_h(),
                                    param.kernel_h(), param.has_kernel_w(), param.kernel_w());
  const std::uint32_t stride = side("stride", true, param.stride(), param.has_stride_h(), param.stride_h(),
                                    param.has_stride_w(), param.stride_w());
  const std::uint32_t pad = side("pad", param.has_pad(), param.pad(), param.has_pad_h(), param.pad_h(),
                                 param.has_pad_w(), param.pad_w());
  layer->set_kernel(kernel);
  if (stride != 1) layer->set_stride(stride);
  if (pad != 0) layer->set_pad(pad);
  if (param.round_mode() == caffe::PoolingParameter::CEIL) layer->set_round_up(true);
}

void Relu(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  const float slope = caffe.relu_param().negative_slope();
  Layer* const layer = builder.Add(slope == 0 ? "relu" : "leaky_relu", 1);
  if (layer != nullptr && slope != 0) layer->set_slope(slope);
}

void Prelu(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  const caffe::PReLUParameter& param = caffe.prelu_param();
  Layer* const layer = builder.Add("prelu", 1);
  if (layer == nullptr) return;
  Refuse(builder, param.channel_shared(), "channel_shared");
  const bool as_here = !param.has_filler() || (param.filler().type() == "constant" && param.filler().value() == 0.25f);
  Refuse(builder, !as_here, "a filler other than 0.25, where slopes begin here");
  SetMultipliers(builder, caffe, layer);
  layer->clear_bias_lr_mult();
  layer->clear_bias_decay_mult();
  builder.AddBlobs(*layer, {"weight"});
}

void Elu(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  Layer* const layer = builder.Add("elu", 1);
  if (layer != nullptr) layer->set_slope(caffe.elu_param().alpha());
}

void Sigmoid(CaffeBuilder& builder, const caffe::LayerParameter&) { builder.Add("sigmoid", 1); }

void Tanh(CaffeBuilder& builder, const caffe::LayerParameter&) { builder.Add("tanh", 1); }

void Dropout(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  Layer* const layer = builder.Add("dropout", 1);
  if (layer != nullptr) layer->set_rate(caffe.dropout_param().dropout_ratio());
}

// Without the Scale that mostly follows, its weights stay 1 and its biases 0.
void BatchNorm(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  const caffe::BatchNormParameter& param = caffe.batch_norm_param();
  Layer* const layer = builder.Add("batch_norm", 1);
  if (layer == nullptr) return;
  Refuse(builder, param.use_global_stats(), "use_global_stats: running averages here are for what is not training");
  layer->set_epsilon(param.eps());
  layer->set_moving_average_fraction(param.moving_average_fraction());
  layer->set_lr_mult(0);
  FreezeBias(layer);
  builder.AddBlobs(*layer, {"running_mean", "running_var", "scale"});
}

// After BatchNorm alone, whose weights and biases these are.
void Scale(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  const caffe::ScaleParameter& param = caffe.scale_param();
  if (Refuse(builder, caffe.bottom_size() != 1 || caffe.top_size() != 1, "has not one bottom and one top")) return;
  Layer* const norm = builder.MakerOf(caffe.bottom(0));
  const bool follows = norm != nullptr && norm->type() == "batch_norm" && norm->has_lr_mult() && norm->lr_mult() == 0;
  if (Refuse(builder, !follows, "does not follow a BatchNorm whose values it alone takes")) return;
  Refuse(builder, param.axis() != 1 || param.num_axes() != 1, "axis or num_axes is not 1");
  Refuse(builder, param.has_filler() && (param.filler().type() != "constant" || param.filler().value() != 1),
         "a filler other than 1, where weights begin here");
  Refuse(builder, param.bias_filler().type() != "constant" || param.bias_filler().value() != 0,
         "a bias_filler other than 0, where biases begin here");
  norm->clear_lr_mult();
  norm->clear_bias_lr_mult();
  SetMultipliers(builder, caffe, norm);
  if (!param.bias_term()) FreezeBias(norm);
  builder.ReplaceTops(caffe.top(0), norm->name());
  builder.AddBlobs(*norm, {"weight", "bias"}, !param.bias_term());
}

void Eltwise(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  const caffe::EltwiseParameter& param = caffe.eltwise_param();
  Layer* const layer = builder.AddOfAll("eltwise");
  if (layer == nullptr) return;
  Refuse(builder, std::ranges::any_of(param.coeff(), [](float coefficient) { return coefficient != 1; }),
         "coeff other than 1");
  switch (param.operation()) {
    case caffe::EltwiseParameter::SUM: break;
    case caffe::EltwiseParameter::PROD: layer->set_operation("product"); break;
    case caffe::EltwiseParameter::MAX: layer->set_operation("max"); break;
  }
}

void Concat(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  const caffe::ConcatParameter& param = caffe.concat_param();
  Refuse(builder, param.axis() != 1 || param.concat_dim() != 1, "axis is not 1, that of channels");
  if (caffe.bottom_size() == 1 && caffe.top_size() == 1) return builder.Alias(caffe.top(0), caffe.bottom(0));
  builder.AddOfAll("concat");
}

// Each top is a slice of its own.
void Slice(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  const caffe::SliceParameter& param = caffe.slice_param();
  const int axis = param.has_slice_dim() ? static_cast<int>(param.slice_dim()) : param.axis();
  constexpr const char* kAxes[] = {"channels", "height", "width"};
  if (Refuse(builder, axis < 1 || axis > 3, "axis is not 1, 2 or 3")) return builder.Break();
  const int tops = caffe.top_size();
  const bool in_place =
      std::ranges::find(caffe.top(), caffe.bottom_size() > 0 ? caffe.bottom(0) : "") != caffe.top().end();
  if (Refuse(builder, param.slice_point_size() != tops - 1, "has not a slice_point for each top but the first") ||
      Refuse(builder, in_place, "a top is its bottom")) {
    return builder.Break();
  }
  std::vector<std::string> names;
  for (int i = 0; i < tops; ++i) {
    Layer* const layer = builder.Add("slice", 1);
    if (layer == nullptr) return;
    if (axis > 1) layer->set_axis(kAxes[axis - 1]);
    if (i > 0) layer->set_from(param.slice_point(i - 1));
    if (i + 1 < tops) layer->set_to(param.slice_point(i));
    names.push_back(layer->name());
  }
  for (int i = 0; i < tops; ++i) builder.SetTop(caffe.top(i), names[i]);
}

void Reshape(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  const caffe::ReshapeParameter& param = caffe.reshape_param();
  const auto& sides = param.shape().dim();
  const bool whole = param.axis() == 0 && param.num_axes() == -1 && sides.size() > 1 && sides[0] == 0;
  const bool said = whole && std::all_of(sides.begin() + 1, sides.end(), [](std::int64_t side) { return side > 0 && side <= INT32_MAX; });
  if (Refuse(builder, !said, "its shape is not a 0 and then numbers above 0, of 31 bits") ||
      Refuse(builder, sides.size() != 2 && sides.size() != 4, "its shape has not 2 or 4 sides")) {
    return builder.Break();
  }
  Layer* const layer = builder.Add("reshape", 1);
  for (int i = 1; layer != nullptr && i < sides.size(); ++i) layer->add_shape(static_cast<std::uint32_t>(sides[i]));
}

void Lrn(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  const caffe::LRNParameter& param = caffe.lrn_param();
  Layer* const layer = builder.Add("lrn", 1);
  if (layer == nullptr) return;
  layer->set_local_size(param.local_size());
  layer->set_alpha(param.alpha());
  layer->set_beta(param.beta());
  if (param.norm_region() == caffe::LRNParameter::WITHIN_CHANNEL) {
    layer->set_region("within_channel");  // where Caffe takes no notice of k
  } else {
    layer->set_k(param.k());
  }
}

void Split(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  if (Refuse(builder, caffe.bottom_size() != 1, "has not one bottom")) return;
  for (const std::string& top : caffe.top()) builder.Alias(top, caffe.bottom(0));
}

void Flatten(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  if (Refuse(builder, caffe.bottom_size() != 1 || caffe.top_size() != 1, "has not one bottom and one top")) return;
  Refuse(builder, caffe.flatten_param().axis() != 1 || caffe.flatten_param().end_axis() != -1,
         "axis is not 1 or end_axis not -1");
  builder.Add("flatten", 1);
}

// What Silence takes is taken by nobody.
void Silence(CaffeBuilder&, const caffe::LayerParameter&) {}

// A job measures accuracy by itself.
void Accuracy(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  if (caffe.accuracy_param().top_k() != 1) {
    builder.Note(absl::StrCat("top_k ", caffe.accuracy_param().top_k(), " is left out: the likeliest class counts"));
  }
}

Layer* AddLoss(CaffeBuilder& builder, const caffe::LayerParameter& caffe, const char* type) {
  if (caffe.bottom_size() != 2 || !builder.IsLabels(caffe.bottom(1))) {
    builder.Mistake("its second bottom is not the labels that a layer of data gives");
    return nullptr;
  }
  Layer* const layer = builder.Add(type, 1);
  if (layer == nullptr) return nullptr;
  if (caffe.loss_weight_size() > 0 && caffe.loss_weight(0) != 1) layer->set_loss_weight(caffe.loss_weight(0));
  Refuse(builder, caffe.loss_param().has_ignore_label(), "ignore_label");
  return layer;
}

void SoftmaxWithLoss(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  Refuse(builder, caffe.softmax_param().axis() != 1, "axis is not 1");
  Refuse(builder, caffe.loss_param().normalization() == caffe::LossParameter::NONE, "normalization NONE");
  AddLoss(builder, caffe, "softmax_loss");
}

// A net that ends with one has no loss yet, and gets one in its place.
void Softmax(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  Refuse(builder, caffe.softmax_param().axis() != 1, "axis is not 1");
  builder.Add("softmax", 1);
}

void HingeLoss(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  Layer* const layer = AddLoss(builder, caffe, "hinge_loss");
  if (layer != nullptr && caffe.hinge_loss_param().norm() == caffe::HingeLossParameter::L2) layer->set_squared(true);
}

void EuclideanLoss(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  AddLoss(builder, caffe, "euclidean_loss");
}

void SigmoidCrossEntropyLoss(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  AddLoss(builder, caffe, "sigmoid_loss");
}

void ContrastiveLoss(CaffeBuilder& builder, const caffe::LayerParameter& caffe) {
  if (Refuse(builder, caffe.bottom_size() != 3 || !builder.IsLabels(caffe.bottom(2)),
             "its third bottom is not the labels that a layer of data gives")) {
    return;
  }
  Refuse(builder, caffe.contrastive_loss_param().legacy_version(), "legacy_version");
  Layer* const layer = builder.Add("contrastive_loss", 2);
  if (layer == nullptr) return;
  layer->set_margin(caffe.contrastive_loss_param().margin());
  if (caffe.loss_weight_size() > 0 && caffe.loss_weight(0) != 1) layer->set_loss_weight(caffe.loss_weight(0));
}

constexpr CaffeLayerType kTypes[] = {
    {"Data", AddDataLayer, ""},
    {"ImageData", AddDataLayer, ""},
    {"HDF5Data", AddDataLayer, ""},
    {"MemoryData", AddDataLayer, ""},
    {"DummyData", AddDataLayer, ""},
    {"Input", AddDataLayer, ""},
    {"Convolution", Convolution, "convolution"},
    {"Deconvolution", Deconvolution, "transposed_convolution"},
    {"InnerProduct", InnerProduct, "inner_product"},
    {"Pooling", Pooling, "pooling"},
    {"ReLU", Relu, "relu"},
    {"PReLU", Prelu, "prelu"},
    {"ELU", Elu, "elu"},
    {"Sigmoid", Sigmoid, "sigmoid"},
    {"TanH", Tanh, "tanh"},
    {"Dropout", Dropout, "dropout"},
    {"BatchNorm", BatchNorm, "batch_norm"},
    {"Scale", Scale, "batch_norm"},
    {"Eltwise", Eltwise, "eltwise"},
    {"Concat", Concat, "concat"},
    {"Split", Split, ""},
    {"Slice", Slice, "slice"},
    {"Flatten", Flatten, "flatten"},
    {"Reshape", Reshape, "reshape"},
    {"LRN", Lrn, "lrn"},
    {"Silence", Silence, ""},
    {"Accuracy", Accuracy, ""},
    {"Softmax", Softmax, "softmax"},
    {"SoftmaxWithLoss", SoftmaxWithLoss, "softmax_loss"},
    {"HingeLoss", HingeLoss, "hinge_loss"},
    {"EuclideanLoss", EuclideanLoss, "euclidean_loss"},
    {"SigmoidCrossEntropyLoss", SigmoidCrossEntropyLoss, "sigmoid_loss"},
    {"ContrastiveLoss", ContrastiveLoss, "contrastive_loss"},
};

}  // namespace

std::span<const CaffeLayerType> CaffeLayerTypes() { return kTypes; }

const CaffeLayerType* FindCaffeLayerType(std::string_view type) {
  const auto found = std::ranges::find_if(kTypes, [&](const CaffeLayerType& known) { return known.type == type; });
  return found == std::end(kTypes) ? nullptr : &*found;
}

}  // namespace downpour::formats
