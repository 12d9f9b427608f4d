// What the workers have of a part, and how each is brought from there to what the part has become (Tang et al. 2019,
// "DoubleSqueeze"): what the codec leaves out of one difference is in the next, for that is taken from what the worker
// really has. Workers that have the same, as those that go from clock to clock together, share it and its payloads.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "proto/codec/codec.h"
#include "proto/codec/part_layout.h"
#include "proto/payload.h"
#include "ps/shared_buffers.h"

namespace downpour::ps {

// A pull, as far as differences go.
struct DeltaRequest {
  uint32_t partition = 0;
  uint64_t fence = 0;
  uint64_t number = 0;  // of the pull
  uint64_t has = 0;     // of the pull whose answer the worker has; 0 for none
};

// One thread at a time; the payloads may be used on others, and outlive it.
class DeltaSender {
 public:
  // `codec` is not raw, and outlives it. `seed` is for what it draws.
  DeltaSender(const Codec& codec, const CodecSettings& settings, PartLayout layout, uint64_t seed);

  // The answer to a pull of the values as of `version`: what is to be added to what the worker has. None where that is
  // not known or can't be encoded: the answer is then the values as a whole. Where all pull each version, `together`
  // lets them share; whoever misses one is given the next as a whole. `scratch` is as long as the part.
  std::optional<Payload> Answer(std::span<const float> values, uint64_t version, bool together,
                                const DeltaRequest& request, std::span<float> scratch);
  // Forgets what a partition's worker has.
  void Forget(uint32_t partition);
  // Copies of the part that it holds.
  size_t copies() const;

 private:
  // What one worker has, or several.
  struct Line {
    explicit Line(uint32_t elements) : has(elements) {}

    std::unique_ptr<Encoder> encoder;
    kernels::AlignedBuffer has;
    uint64_t steps = 0;    // differences that led to it
    uint64_t version = 0;  // of the values that the last step led towards
    std::deque<Payload> of_version;  // the last steps, towards just these; not kept for one worker alone
    SharedBuffers buffers;
  };
  struct Worker {
    std::shared_ptr<Line> line;
    uint64_t steps = 0;
    uint64_t fence = 0;
    uint64_t number = 0;
  };

  // Puts the worker onto a line of the values as they are.
  void StartLine(std::span<const float> values, uint64_t version, bool together, Worker* worker);
  // The next step of its line; none where the line has gone on without the worker, or can't go on.
  std::optional<Payload> Step(std::span<const float> values, uint64_t version, Worker* worker, std::span<float> scratch);
  Payload Encode(Line* line, std::span<float> difference);

  const Codec& codec_;
  const CodecSettings settings_;
  const PartLayout layout_;
  const uint64_t seed_;
  uint64_t lines_ = 0;  // so far
  std::vector<Worker> workers_;  // by partition
};

}  // namespace downpour::ps
