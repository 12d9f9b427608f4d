// Convolution of any kind as matrix products of oneDNN, of windows laid out side by side.
#pragma once

#include <memory>

#include "kernels/conv2d.h"
#include "kernels/cpu/conv2d_costs.h"

namespace downpour::kernels::cpu {

std::unique_ptr<Conv2d> MakePatchesConv2d(const Conv2dSpec& spec, int threads);
Conv2dCosts PatchesConv2dCosts(const Conv2dSpec& spec);

}  // namespace downpour::kernels::cpu
