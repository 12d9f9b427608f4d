#include "worker/slow_down.h"

#include <thread>

namespace downpour::worker {

void SlowDown::Before() {
  if (factor_ > 1) begun_ = Clock::now();
}

void SlowDown::After() const {
  if (factor_ > 1) std::this_thread::sleep_for((Clock::now() - begun_) * (factor_ - 1));
}

}  // namespace downpour::worker
