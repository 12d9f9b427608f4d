// A parameter server in virtual time: the real membership, intake and shards, in the place of gRPC, threads and the
// clock a timeline. What a shard's thread takes for an event comes from ServerTimes.
//
// One thread, the timeline's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bench/simulation/layout.h"
#include "bench/simulation/meter.h"
#include "bench/simulation/settings.h"
#include "bench/simulation/timeline.h"
#include "proto/job.pb.h"
#include "ps/membership.h"
#include "ps/service/intake.h"
#include "ps/shard_core.h"

namespace downpour::bench {

// What a worker learns when it registers.
struct Registered {
  std::uint64_t fence = 0;
  ps::PartitionProgress progress;
  std::vector<std::uint32_t> unset_parts;
};

class SimulatedServer {
 public:
  // Where answers go.
  class Sink {
   public:
    virtual ~Sink() = default;
    virtual void ToWorker(std::uint32_t server, std::uint32_t worker, Message message) = 0;
    virtual void OnRegistered(std::uint32_t server, std::uint32_t worker, Registered registered) = 0;
  };

  // Makes the shards and their tables. All but `job` outlive it.
  static absl::StatusOr<std::unique_ptr<SimulatedServer>> Create(const Job& job, const ServerTimes& times,
                                                                 std::uint32_t index, const Layout* layout,
                                                                 Timeline* timeline, Meter* meter, Sink* sink);

  void Register(std::uint32_t worker);
  // As a worker that is done.
  void Leave(std::uint32_t worker, std::uint64_t fence);
  // A frame has arrived: its header as it travelled, and what is behind it.
  void Receive(std::uint32_t worker, std::span<const std::byte> header, Payload payload);
  // Time passes for the shards.
  void Tick();

  // Over this server's shards.
  struct Counts {
    std::uint64_t gradients = 0;  // parts
    std::uint64_t updates = 0;    // parts
    std::uint64_t lead_sum = 0;
    std::uint64_t largest_lead = 0;
  };
  Counts counts() const;
  // By shard, how long it was busy.
  std::vector<Ns> busy() const;
  std::uint64_t Checksum() const;

 private:
  struct Queued {
    ps::Event event;
    Ns arrived = 0;
    double bytes = 0;  // as the shard's queue would count them, of the full part
  };
  // What is left of an event once the core has it.
  struct Handled {
    bool tick = false;
    FrameKind frame = FrameKind::kHello;  // of a set or a push
    std::uint32_t part = 0;               // likewise
  };
  struct Shard {
    std::unique_ptr<ps::ShardCore> core;
    std::deque<Queued> queue;
    double queued_bytes = 0;  // of full parts
    bool working = false;
    Ns taken = 0;  // all that it has begun
    Ns free_at = 0;
    double part_bytes = 0;                           // of a full part, on average
    std::map<std::uint32_t, const void*> snapshots;  // by part, the values that were sent last
    // Arrivals of pushes that wait for their round, by worker and part.
    std::map<std::pair<std::uint32_t, std::uint32_t>, Ns> arrivals;
  };
  struct Gathered {
    std::uint32_t reports = 0;
    Registered registered;
    std::optional<ps::PartitionProgress> progress;
  };

  SimulatedServer(const Job& job, const ServerTimes& times, std::uint32_t index, const Layout* layout,
                  Timeline* timeline, Meter* meter, Sink* sink);

  // False where the shard's queue is full.
  bool Post(std::uint32_t shard, ps::Event event, bool bounded);
  void Work(Shard& shard);
  void Deliver(Shard& shard, ps::Action action);
  void Deliver(const ps::Report& report);
  Ns TimeOf(Shard& shard, const Handled& handled, const ps::CoreStats& before,
            std::span<const ps::Action> actions) const;
  void Answer(std::uint32_t worker, std::uint32_t bytes, Message message);
  std::int64_t NowMs() const { return timeline_->now() / 1'000'000; }

  const Job job_;
  const ServerTimes times_;
  const std::uint32_t index_;
  const Layout* const layout_;
  Timeline* const timeline_;
  Meter* const meter_;
  Sink* const sink_;

  const std::shared_ptr<const ps::Directory> directory_;
  ps::Membership membership_;
  std::vector<std::optional<ps::Intake>> streams_;  // by worker
  std::vector<Shard> shards_;
  std::map<std::uint64_t, Gathered> gathered_;  // by ticket, which is the worker
};

}  // namespace downpour::bench
