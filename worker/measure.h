// A net's loss and accuracy on samples that it need not have been trained on.
#pragma once

#include <functional>
#include <span>

#include "absl/status/statusor.h"
#include "worker/data/sample_store.h"
#include "worker/data/transform.h"
#include "worker/evaluation.h"
#include "worker/net.h"

namespace downpour::worker {

// Goes once through all of them, in batches of at most net->max_batch(), on the calling thread; a data thread of its
// own prepares them. Gives up in between where `stop` says so; the sums are then of what was done. Fails where a sample
// can't be read, as Batcher says.
absl::StatusOr<Evaluation> Measure(Net* net, std::span<const float> parameters, const SampleStore& samples,
                                   const Transform& transform, const std::function<bool()>& stop = nullptr);

}  // namespace downpour::worker
