// What goes into a shard and what comes out: plain values, so that a sequence of events can be recorded,
// logged, replicated and replayed.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "proto/frame.h"
#include "proto/param_groups.h"
#include "proto/service.pb.h"
#include "ps/part_state.h"

namespace downpour::ps {

// Where an answer goes. The core hands it back as it came.
struct Route {
  uint64_t stream = 0;
  uint32_t bytes = 0;  // of credit that the answer gives back
  // Where the values are wanted, in the memory that the stream shares; the transport's own affair.
  std::optional<uint64_t> values_at = {};

  friend bool operator==(const Route&, const Route&) = default;
};

struct PartRange {
  uint32_t part = 0;   // index in the shard map's table
  uint64_t begin = 0;  // elements of the table
  uint64_t end = 0;
};

// ---- Events.

// Makes a dense table of the parts that this shard owns. Answered by Created.
struct CreateTable {
  uint64_t ticket = 0;
  uint32_t table = 0;
  std::vector<PartRange> parts;
  std::vector<ParamGroup> groups;  // of the whole table; elements of none go by the job's settings
};

// A lease was given. Pushes of earlier fences are refused from now on. Answered by Report.
struct Join {
  uint64_t ticket = 0;
  uint32_t partition = 0;
  uint64_t fence = 0;
  bool observer = false;    // reads, and is no member
  // Not 0: where one fails all start again, in a later generation. So whoever ends and is not done will come again, as will
  // all of an earlier one.
  uint32_t generation = 0;
};

// A lease has ended: given back or run out. Answered by Report.
struct Leave {
  uint64_t ticket = 0;
  uint32_t partition = 0;
  uint64_t fence = 0;
  bool done = false;  // went through all its data
};

// A stream is gone: nobody is there to answer.
struct Hangup {
  uint64_t stream = 0;
};

struct Set {
  Route route;
  Message message;
};

struct Push {
  Route route;
  Message message;
  bool finite = false;  // all of its values are, as the transport has seen; otherwise the shard looks itself
};

struct Pull {
  Route route;
  FrameHeader header;
};

// Settings change from a clock on.
struct Change {
  SettingsChange change;
};

// Time passes. Never goes back.
struct Tick {
  int64_t now_ms = 0;
};

// The server stops: what waits is refused, and so is all that comes.
struct Drain {};

// Each part is to be saved: in rounds as it is once that clock has come, else as it is now. Of two that have not come to
// a part, the later counts. Answered by a Saved of each part.
struct Checkpoint {
  uint64_t number = 0;
  uint64_t clock = 0;
};

// A part becomes what it was, where nobody holds a lease. Answered by Restored.
struct Restore {
  uint64_t ticket = 0;
  PartState state;
};

using Event =
    std::variant<CreateTable, Join, Leave, Hangup, Set, Push, Pull, Change, Tick, Drain, Checkpoint, Restore>;

// ---- Actions.

// A frame to a worker: kAck, kValues or kRefused. Where `reason` says no, the payload is a sentence.
struct Reply {
  Route route;
  Message message;
};

struct Created {
  uint64_t ticket = 0;
  bool ok = false;  // false: no memory
};

// How far a partition is: the least over this shard's parts.
struct PartitionProgress {
  uint64_t sequence = 0;
  uint64_t clock = 0;
  uint64_t position = 0;

  friend bool operator==(const PartitionProgress&, const PartitionProgress&) = default;
};

struct Report {
  uint64_t ticket = 0;
  std::optional<PartitionProgress> progress;  // none where the shard has no parts
  std::vector<uint32_t> unset_parts;
};

// A part as a checkpoint keeps it.
struct Saved {
  uint64_t number = 0;  // of the checkpoint
  PartState state;
};

struct Restored {
  uint64_t ticket = 0;
  bool ok = false;  // false: somebody holds a lease, or there is no such part
};

using Action = std::variant<Reply, Created, Report, Saved, Restored>;

}  // namespace downpour::ps
