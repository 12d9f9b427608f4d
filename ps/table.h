// A dense table's parts on one shard: values, the optimizer's slots, and what is known of each partition.
//
// Plain state with the arithmetic on it; the rules stand in shard_core.cc. Owned and used by one thread at
// a time. A sparse table will be a sibling of this class.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/optimizer/update_rule.h"
#include "proto/codec/wire_codecs.h"
#include "proto/param_groups.h"
#include "proto/sync/mode.h"
#include "ps/buffer_pool.h"
#include "ps/coded_snapshot.h"
#include "ps/delta_sender.h"
#include "ps/event.h"
#include "ps/member_clocks.h"
#include "ps/page_buffer.h"

namespace downpour::ps {

class Table {
 public:
  struct Member {
    uint64_t sequence = 0;  // of the last push that was applied
    uint64_t position = 0;  // samples that it completed
  };

  struct Held {
    Route route;
    Message message;
    int64_t since_ms = 0;
  };

  struct Parked {
    Route route;
    FrameHeader header;
    int64_t since_ms = 0;
  };

  // All that says whether what is parked may be answered, but for the clocks of those who wait, which then go on only.
  struct Reads {
    bool set = false;
    bool warm = false;
    uint64_t clock = 0;
    uint64_t slowest = 0;
    size_t changes = 0;  // of settings

    friend bool operator==(const Reads&, const Reads&) = default;
  };

  // Values that a worker has read.
  struct Sent {
    uint64_t version = 0;
    Payload values;
  };

  // Elements of a part that go by the same settings: up to `end`, from the end of the one before.
  struct Piece {
    size_t end = 0;
    GroupSettings settings;
  };

  struct Part {
    uint32_t index = 0;  // in the shard map's table
    uint64_t begin = 0;  // first element
    std::vector<Piece> pieces;
    std::span<float> values;
    std::vector<float*> slots;
    bool set = false;
    uint64_t version = 0;           // updates applied
    uint64_t clock = 0;             // clocks closed
    std::vector<Member> members;    // by partition
    MemberClocks clocks;            // by partition, as the sync mode sees them
    std::vector<Held> held;         // at most one of each partition
    uint32_t held_pushes = 0;       // in them, for one may be of several partitions
    std::vector<Parked> parked;
    std::optional<Reads> parked_at;  // what of `parked` could be answered as of then, was
    // By partition, what it read last, oldest first; only where delays are compensated.
    std::vector<std::vector<Sent>> sent;
    uint32_t next_rounds = 0;  // settings of this version and later may begin rounds; those before have, or never will
    bool warm = true;          // the first worker's steps alone are over, or there are none
    std::optional<Checkpoint> saving;  // that it has not been saved for yet
    // By partition, whether its clock is a checkpoint's and nobody has come since; empty where none came back.
    std::vector<bool> restored;
    // The values as they were at `snapshot_version`, shared by the replies that carry them.
    Payload snapshot;
    uint64_t snapshot_version = 0;
    // Likewise, encoded; made when the first pull asks for it.
    std::unique_ptr<CodedSnapshot> coded;
    // What its workers have; only where differences travel.
    std::unique_ptr<DeltaSender> deltas;
  };

  // One push of an update and its weight in the sum.
  struct Gradient {
    const Message* message = nullptr;
    float weight = 1;
  };

  // What makes up for the delay of a gradient g: factor * g * g * (w - then) is added (Zheng et al. 2017, DC-ASGD).
  struct Compensation {
    float factor = 0;
    const Payload* then = nullptr;  // the values that the gradient was computed from; null for none
  };

  // Null when the system has no memory left. `parts` are in ascending order of their index, `groups` of their begin.
  // `rule` is null for a table that no optimizer works on.
  static std::unique_ptr<Table> Create(uint32_t id, std::span<const PartRange> parts, std::vector<ParamGroup> groups,
                                       const kernels::UpdateRule* rule, uint32_t workers);

  uint32_t id() const { return id_; }
  std::vector<Part>& parts() { return parts_; }
  const std::vector<Part>& parts() const { return parts_; }
  // Whether it has just these parts, in ascending order, and groups.
  bool Covers(std::span<const PartRange> parts, std::span<const ParamGroup> groups) const;
  // Null for a part that is not here.
  Part* Find(uint32_t index);
  uint64_t elements() const { return elements_; }
  uint64_t bytes() const { return arena_.size() * sizeof(float); }

  // Takes a payload of the part's length as the part's values.
  void Assign(Part& part, const Message& message);
  // One update by the rule from the weighted sum of the gradients, added up in their order; `hyper` is what a group of
  // factors 1 goes by. Counts the version.
  void Apply(Part& part, kernels::Hyper hyper, std::span<const Gradient> gradients,
             const Compensation& compensation);
  // The weighted sum becomes the values. Counts the version.
  void Replace(Part& part, std::span<const Gradient> values);
  // The weighted sum is added to the values. Counts the version.
  void Add(Part& part, std::span<const Gradient> differences);
  // The part's values as they are now, shared with the replies before as long as nothing changes.
  const Payload& Snapshot(Part& part);
  // The same in a codec that is not raw.
  const Payload& Snapshot(Part& part, const Codec& codec);
  // The way from what a worker has of the part to what it is now, as DeltaSender::Answer. `pull` is a frame of that
  // worker.
  DeltaAnswer Difference(Part& part, const FrameHeader& pull, const WireCodecs& codecs, bool together);
  // Forgets what a partition's worker has.
  static void ForgetWorker(Part& part, uint32_t partition);
  // A copy of what outlives the server.
  PartState Save(const Part& part) const;
  // The part becomes that again, and nobody has anything of it any more. False, with nothing done, where it is another
  // part's state, or another job's.
  bool Load(const PartState& state);
  // Of values, slots, versions, clocks and members. Sums over parts, so it does not depend on who owns which.
  uint64_t Checksum() const;
  // One part's share of it.
  uint64_t Checksum(const Part& part) const;

 private:
  Table(uint32_t id, const kernels::UpdateRule* rule, std::vector<ParamGroup> groups, PageBuffer arena,
        size_t largest_part, size_t parts)
      : id_(id),
        rule_(rule),
        groups_(std::move(groups)),
        arena_(std::move(arena)),
        pool_(largest_part, 2 * parts + 2) {}

  bool WholeTensors() const { return rule_ != nullptr && rule_->per_tensor; }
  // Where a gradient leaves most floats as they are, and the rule them too: takes those that it changes together, steps
  // there, and puts them back. False, with nothing done, where all have to be gone through.
  bool ApplySparse(Part& part, const kernels::Hyper& hyper, std::span<const Gradient> gradients,
                   const Compensation& compensation);
  // The part's pieces: its tensors where the rule needs them whole, else neighbours alike are one.
  std::vector<Piece> CutByGroups(const PartRange& range) const;
  // Running averages, and groups of fewer floats, are exempt.
  PartLayout LayoutOf(const Part& part, uint32_t min_elements) const;

  const uint32_t id_;
  const kernels::UpdateRule* rule_;
  const std::vector<ParamGroup> groups_;
  PageBuffer arena_;
  BufferPool pool_;
  uint64_t elements_ = 0;
  std::vector<Part> parts_;
  std::vector<int32_t> by_index_;  // into parts_, -1 where it is another shard's
  std::vector<float> scratch_;  // a block
  std::vector<float> then_;     // likewise
  std::vector<float> difference_;  // of the largest part that had one
  PageBuffer sum_;              // a block, or the largest tensor where the rule needs it whole
};

}  // namespace downpour::ps
