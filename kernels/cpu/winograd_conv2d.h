// Convolution of windows of 3 x 3 or 5 x 5 by Winograd's minimal filtering, for CPUs with AVX-512 and steps of 1.
#pragma once

#include <memory>

#include "kernels/conv2d.h"
#include "kernels/cpu/conv2d_costs.h"

namespace downpour::kernels::cpu {

// Whether the CPU and the convolution are of that kind.
bool HasWinogradConv2d(const Conv2dSpec& spec);

// The following are for those alone.
std::unique_ptr<Conv2d> MakeWinogradConv2d(const Conv2dSpec& spec, int threads);
Conv2dCosts WinogradConv2dCosts(const Conv2dSpec& spec);

}  // namespace downpour::kernels::cpu
