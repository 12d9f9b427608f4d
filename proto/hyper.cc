#include "proto/hyper.h"

namespace downpour {

kernels::Hyper MakeHyper(const Optimizer& settings) {
  kernels::Hyper hyper;
  hyper.learning_rate = settings.learning_rate();
  hyper.weight_decay = settings.weight_decay();
  hyper.l1 = settings.l1();
  hyper.clip_value = settings.clip_value();
  hyper.momentum = settings.momentum();
  hyper.momentum_decay = settings.momentum_decay();
  hyper.beta1 = settings.beta1();
  hyper.beta2 = settings.beta2();
  hyper.alpha = settings.alpha();
  hyper.rho = settings.rho();
  hyper.epsilon = settings.epsilon();
  hyper.initial_accumulator = settings.initial_accumulator();
  hyper.beta = settings.beta();
  hyper.l2 = settings.l2();
  return hyper;
}

}  // namespace downpour
