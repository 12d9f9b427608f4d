#include "proto/hyper.h"

namespace downpour {

kernels::Hyper MakeHyper(const Optimizer& settings) {
  kernels::Hyper hyper;
  hyper.learning_rate = settings.learning_rate();
  hyper.momentum = settings.momentum();
  hyper.beta1 = settings.beta1();
  hyper.beta2 = settings.beta2();
  hyper.epsilon = settings.epsilon();
  hyper.weight_decay = settings.weight_decay();
  return hyper;
}

}  // namespace downpour
