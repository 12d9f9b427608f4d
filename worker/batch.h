// One minibatch, as the net takes it.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/loss.h"

namespace downpour::worker {

// A view: the memory is whose the batch came from (Batcher keeps it until its next Next()).
struct Batch {
  int size = 0;                      // samples
  std::span<const float> features;   // size samples, each NCHW, one after the other
  kernels::Targets targets;          // of each sample
  std::uint64_t position_after = 0;  // samples completed once this batch is, counted over all epochs
  double epoch = 0;                  // the same in epochs
  std::uint64_t draw = 0;            // from which follows what layers leave to chance
};

}  // namespace downpour::worker
