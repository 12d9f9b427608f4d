// What the ways to make a convolution are compared by.
#pragma once

namespace downpour::kernels::cpu {

// How much each pass has to do for a sample, in multiplications or what takes as long.
struct Conv2dCosts {
  double forward = 0;
  double backward_data = 0;
  double backward_weights = 0;
};

}  // namespace downpour::kernels::cpu
