// Convolution of windows of 3 x 3 or 5 x 5 by Winograd's minimal filtering, for CPUs with AVX-512 and steps of 1.
#pragma once

#include <memory>

#include "kernels/conv2d.h"
#include "kernels/cpu/conv2d_costs.h"

namespace downpour::kernels::cpu {

// Null where the CPU or the convolution is not of that kind.
std::unique_ptr<Conv2d> MakeWinogradConv2d(const Conv2dSpec& spec, int threads);

// Of one that MakeWinogradConv2d makes.
Conv2dCosts WinogradConv2dCosts(const Conv2dSpec& spec);

}  // namespace downpour::kernels::cpu
