#include "worker/layers/conv_keys.h"

#include <limits>

#include "worker/layers/errors.h"

namespace downpour::worker {

absl::StatusOr<kernels::Conv2dSpec> ConvKeys(const LayerContext& context) {
  const downpour::Layer& config = context.config;
  const std::uint32_t stride = config.has_stride() ? config.stride() : 1;
  const std::uint32_t dilation = config.has_dilation() ? config.dilation() : 1;
  const std::uint32_t groups = config.has_groups() ? config.groups() : 1;
  if (config.outputs() == 0) return LayerError(context, "outputs is 0; it needs at least 1");
  if (config.kernel() == 0) return LayerError(context, "kernel is 0; it needs at least 1");
  if (stride == 0) return LayerError(context, "stride is 0; it needs at least 1");
  if (dilation == 0) return LayerError(context, "dilation is 0; it needs at least 1");
  constexpr std::uint32_t kMaxSide = 1 << 14;
  if (config.kernel() > kMaxSide || stride > kMaxSide || config.pad() > kMaxSide || dilation > kMaxSide) {
    return LayerError(context, "kernel, stride, pad or dilation is above ", kMaxSide);
  }
  const int channels = context.input().channels;
  if (groups == 0 || config.outputs() % groups != 0 || channels % groups != 0) {
    return LayerError(context, groups, " groups divide not both outputs, ", config.outputs(), ", and channels, ",
                      channels);
  }
  if (config.outputs() > std::numeric_limits<std::int32_t>::max()) {
    return LayerError(context, config.outputs(), " outputs are more than 2^31");
  }
  return kernels::Conv2dSpec{.outputs = static_cast<int>(config.outputs()),
                             .kernel = static_cast<int>(config.kernel()),
                             .stride = static_cast<int>(stride),
                             .pad = static_cast<int>(config.pad()),
                             .dilation = static_cast<int>(dilation),
                             .groups = static_cast<int>(groups)};
}

absl::Status CheckConvSize(const LayerContext& context, const kernels::Conv2dSpec& spec) {
  const double pixels = (spec.input.height + 2.0 * spec.pad) * (spec.input.width + 2.0 * spec.pad);
  const double taps = static_cast<double>(spec.input.channels) * spec.kernel * spec.kernel;
  constexpr double kMaxValues = std::numeric_limits<std::int32_t>::max();
  if (taps * spec.outputs > kMaxValues || taps * pixels > kMaxValues || pixels * spec.outputs > kMaxValues) {
    return LayerError(context, context.config.outputs(), " outputs with a kernel of ", spec.kernel,
                      " need more than 2^31 values in one tensor");
  }
  return absl::OkStatus();
}

}  // namespace downpour::worker
