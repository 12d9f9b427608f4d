// Convolution without patches, for CPUs with AVX-512 and steps of 1.
#pragma once

#include <memory>

#include "kernels/conv2d.h"
#include "kernels/cpu/conv2d_costs.h"

namespace downpour::kernels::cpu {

// Null where the CPU or the convolution is not of that kind.
std::unique_ptr<Conv2d> MakeDirectConv2d(const Conv2dSpec& spec, int threads);

// Of one that MakeDirectConv2d makes.
Conv2dCosts DirectConv2dCosts(const Conv2dSpec& spec);

}  // namespace downpour::kernels::cpu
