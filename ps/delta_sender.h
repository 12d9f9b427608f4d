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

struct DeltaAnswer {
  enum class Kind : uint8_t {
    kValues,      // the part as it is; there is no payload
    kWhole,       // all floats, raw, of what others have of it
    kDifference,  // what is to be added to what the worker has
  };
  Kind kind = Kind::kValues;
  Payload payload;
};

// One thread at a time; the payloads may be used on others, and outlive it.
class DeltaSender {
 public:
  // `codec` is not raw, and outlives it. `seed` is for what it draws.
  DeltaSender(const Codec& codec, const CodecSettings& settings, PartLayout layout, uint64_t seed);

  // The answer to a pull of the values as of `version`. With `together`, for modes in which everybody pulls each
  // version, there is one copy of the part for all workers, and who is new is given that. `scratch` is as long as the
  // part.
  DeltaAnswer Answer(std::span<const float> values, uint64_t version, bool together, const DeltaRequest& request,
                     std::span<float> scratch);
  // Forgets what a partition's worker has.
  void Forget(uint32_t partition);
  // Copies of the part that it holds.
  size_t copies() const;

 private:
  // What one worker has, or all that go together, and how it came to that.
  struct Line {
    explicit Line(uint32_t elements) : has(elements) {}

    std::unique_ptr<Encoder> encoder;
    kernels::AlignedBuffer has;
    uint64_t version = 0;  // of the values that it was last brought to, or towards
    bool exact = false;    // it is just these
    uint64_t steps = 0;
    std::deque<Payload> last;  // of the steps towards this version, for those who are behind
    Payload whole;             // of `has`; made when it is asked for
    SharedBuffers buffers;
  };
  struct Worker {
    std::shared_ptr<Line> line;
    uint64_t steps = 0;
    uint64_t fence = 0;
    uint64_t number = 0;
  };

  DeltaAnswer AnswerAlone(std::span<const float> values, uint64_t version, bool known, Worker* worker,
                          std::span<float> scratch);
  DeltaAnswer AnswerTogether(std::span<const float> values, uint64_t version, bool known, Worker* worker,
                             std::span<float> scratch);
  std::shared_ptr<Line> MakeLine();
  // The line becomes the values as they are.
  static void Restart(std::span<const float> values, uint64_t version, Line* line);
  // The line's next step; none where what lies between is not finite, and can't be encoded.
  std::optional<Payload> Step(std::span<const float> values, uint64_t version, Line* line, std::span<float> scratch);

  const Codec& codec_;
  const CodecSettings settings_;
  const PartLayout layout_;
  const uint64_t seed_;
  uint64_t lines_ = 0;            // so far
  std::vector<Worker> workers_;   // by partition
  std::shared_ptr<Line> common_;  // of those who go together; null for nobody
};

}  // namespace downpour::ps
