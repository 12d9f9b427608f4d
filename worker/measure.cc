#include "worker/measure.h"

#include "worker/data/batcher.h"

namespace downpour::worker {

absl::StatusOr<Evaluation> Measure(Net* net, std::span<const float> parameters, const SampleStore& samples,
                                   const Transform& transform, const std::function<bool()>& stop) {
  Batcher batcher(samples, transform, {.batch_size = net->max_batch(), .shuffle = false});
  Evaluation sum;
  for (Batch batch; !(stop && stop()) && batcher.Next(&batch);) sum.Add(net->Evaluate(parameters, batch));
  if (absl::Status status = batcher.status(); !status.ok()) return status;
  return sum;
}

}  // namespace downpour::worker
