// Convolution without patches, for CPUs with AVX-512 and steps of 1.
#pragma once

#include <memory>

#include "kernels/conv2d.h"

namespace downpour::kernels::cpu {

// Null where the CPU or the convolution is not of that kind.
std::unique_ptr<Conv2d> MakeDirectConv2d(const Conv2dSpec& spec, int threads);

// How much each pass has to do for a sample, in multiplications or what takes as long.
struct Conv2dCosts {
  double forward = 0;
  double backward_data = 0;
  double backward_weights = 0;
};

// Of one that MakeDirectConv2d makes.
Conv2dCosts DirectConv2dCosts(const Conv2dSpec& spec);

}  // namespace downpour::kernels::cpu
