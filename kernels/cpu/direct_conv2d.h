// Convolution without patches, for CPUs with AVX-512 and steps of 1.
#pragma once

#include <memory>

#include "kernels/conv2d.h"
#include "kernels/cpu/conv2d_costs.h"

namespace downpour::kernels::cpu {

// Whether the CPU and the convolution are of that kind.
bool HasDirectConv2d(const Conv2dSpec& spec);

// The following are for those alone.
std::unique_ptr<Conv2d> MakeDirectConv2d(const Conv2dSpec& spec, int threads);
Conv2dCosts DirectConv2dCosts(const Conv2dSpec& spec);

}  // namespace downpour::kernels::cpu
