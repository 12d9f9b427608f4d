// One worker's stream to one server with nothing behind it: frames as fast as the server takes and gives them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/frame.h"
#include "proto/job.pb.h"
#include "proto/shared_region.h"
#include "worker/exchanged_vector.h"
#include "worker/registration.h"
#include "worker/server_stream.h"

namespace downpour::bench {

// Threads: one for pushing and one for pulling may be inside at once.
class WireLink {
 public:
  // Registers as a partition with a table of so many floats, and gives it its first values. The job has one server with
  // one shard, and a mode whose pushes are applied as they come. `region` is the memory for gradient and parameters
  // that the server is offered, and has to take; null for none.
  static absl::StatusOr<std::unique_ptr<WireLink>> Open(const Job& job, std::uint32_t partition, std::uint64_t elements,
                                                        std::shared_ptr<SharedRegion> region);
  ~WireLink();

  // Bytes a second of gradients that the server has applied, or of parameters that lie in this process's memory, with
  // so many whole tables under way at once.
  absl::StatusOr<double> PushRate(double seconds, std::uint32_t under_way);
  absl::StatusOr<double> PullRate(double seconds, std::uint32_t under_way);
  // Rows a second that the server has applied, of pushes of `rows` of `width` floats each, encoded as `sparse`. Which
  // rows of the table, chance says. The job allows that codec. What it takes to encode them is part of it.
  absl::StatusOr<double> SparsePushRate(double seconds, std::uint32_t under_way, std::uint32_t rows,
                                        std::uint32_t width);
  // Seconds of pulls of the whole table, one after the other.
  absl::StatusOr<std::vector<double>> PullTimes(int count);

 private:
  struct Counted {
    std::uint64_t sent = 0;  // parts
    std::uint64_t answered = 0;
  };

  WireLink(const Job& job, std::uint32_t partition, std::uint64_t elements, const worker::Registration& registration,
           std::shared_ptr<SharedRegion> region);
  absl::Status SetInitial(const std::vector<std::uint32_t>& unset);
  FrameHeader HeaderFor(FrameKind kind, std::uint32_t part) const;
  void Send(FrameKind kind, std::uint32_t part, std::uint64_t number);
  // A set or a push.
  void SendValues(FrameKind kind, std::uint32_t part, std::uint64_t number, CodecId codec, Payload payload);
  void OnMessage(const Message& message);
  // Once the number under way allows it.
  absl::Status SendTable(FrameKind kind, Counted* counted, std::uint32_t under_way);
  absl::StatusOr<double> Rate(FrameKind kind, Counted* counted, double seconds, std::uint32_t under_way);
  // A part of a table is on its way, once the number of them allows it.
  absl::Status Begin(Counted* counted, std::uint32_t under_way);
  // Until at most so many parts are unanswered.
  absl::Status Await(const Counted& counted, std::uint64_t unanswered);
  std::uint32_t parts() const { return static_cast<std::uint32_t>(map_.tables(0).parts_size()); }

  const Job job_;
  const ShardMap map_;
  const std::uint32_t partition_;
  const std::uint64_t fence_;
  const std::shared_ptr<SharedRegion> region_;
  const std::shared_ptr<worker::ExchangedVector> gradient_;
  worker::ExchangedVector parameters_;  // as pulls bring them
  std::uint64_t pushes_ = 0;            // whole tables
  std::uint64_t pulls_ = 0;

  std::mutex mutex_;
  std::condition_variable answered_;
  // Protected by mutex_.
  Counted pushed_;
  Counted pulled_;
  std::deque<std::uint64_t> costs_;  // of what is pushed and not acknowledged, in order
  absl::Status failure_;

  std::unique_ptr<worker::ServerStream> stream_;
};

}  // namespace downpour::bench
