// Makes one push of several: of those that workers on one host make while a push of theirs is on its way.
//
// Part by part: as long as one push of a part is unacknowledged, what comes waits, and goes with the next, as transactions
// share the writes of a log (group commit; DeWitt et al. 1984, "Implementation techniques for main memory database
// systems"). So nobody waits for anybody where the wire is free, and the slower it is the more goes together. Where a clock
// waits for all workers, and so the answer too, a push waits for those of the other members instead, for as long as they
// were late before; who is later than that pushes by itself. So does each worker of a push that a server does not take.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "kernels/aligned_buffer.h"
#include "proto/codec/byte_buffer.h"
#include "proto/frame.h"

namespace downpour::worker {

// The ack of a worker's push that went by another: of `version` where it was taken.
Message AckFor(const FrameHeader& push, Refusal reason, uint64_t version);

class Combiner {
 public:
  enum class Waiting : uint8_t {
    kForNobody,
    kForAll,   // until their clock closes, which takes all workers
    kForMost,  // which takes some of them
  };

  // The worker that pushes for all. Any thread, and none of its locks may be held by whoever calls the combiner.
  class Wire {
   public:
    virtual ~Wire() = default;
    // Of a push of its own for a part, as far as it does not depend on the push.
    virtual FrameHeader HeaderFor(uint32_t part) = 0;
    // For what those who push under that version of the settings wait; none where it is not known.
    virtual std::optional<Waiting> WaitsUnder(uint32_t settings) = 0;
    // Whether values are encoded; otherwise they travel as they are.
    virtual bool encodes() const = 0;
    // Writes what finite values become on the wire.
    virtual CodecId Encode(uint32_t part, std::span<const float> values, ByteBuffer* payload) = 0;
    // What Encode made of these values was not taken: the error that it carries is what it was without.
    virtual void TakeBack(uint32_t part, std::span<const float> values, const Message& sent) = 0;
    virtual void Send(Message push) = 0;
  };

  // A member's push of one part, raw.
  struct Contribution {
    Message push;
    // Called once, from any thread, with an ack of this push; kAlone where the worker has to send it by itself. Not
    // called where the member is gone.
    std::function<void(Message ack)> answer;
    uint64_t member = 0;

    // The combiner's.
    bool alone = false;  // not with others
    Waiting waits = Waiting::kForNobody;

    bool in_rounds() const { return waits != Waiting::kForNobody; }
    std::chrono::steady_clock::time_point since = {};
  };

  static constexpr uint64_t kOwn = 0;  // the member that pushes for all
  static constexpr std::chrono::milliseconds kPatience{100};       // with a push of a clock, at least
  static constexpr std::chrono::milliseconds kMostPatience{5000};

  // Starts the thread. `elements` of each part. `wire` outlives it.
  Combiner(std::vector<uint32_t> elements, Wire* wire, std::chrono::milliseconds patience = kPatience);
  // Sends nothing more, and answers nobody.
  ~Combiner();
  Combiner(const Combiner&) = delete;
  Combiner& operator=(const Combiner&) = delete;

  // Any thread.
  void Join(uint64_t member);
  // What waits of the member is forgotten.
  void Leave(uint64_t member);
  // `contribution` is of a part that there is, and as long. Answers may come before it returns.
  void Add(Contribution contribution);
  // A server's answer. The bytes of payload that are acknowledged by it; none where it is of no push of the combiner's.
  std::optional<uint64_t> OnAck(const Message& ack);

 private:
  using Clock = std::chrono::steady_clock;

  // A push that is on its way, and the memory that it is in.
  struct Flight {
    std::vector<Contribution> members;
    bool answered = false;
    Message sent;
    std::shared_ptr<kernels::AlignedBuffer> sum;
    std::shared_ptr<ByteBuffer> coded;
    std::span<const float> values;  // what was encoded
  };
  using Flights = std::vector<std::unique_ptr<Flight>>;
  struct Part {
    std::deque<Contribution> waiting;
    Flights flights;
    Flights spare;             // whose memory may be used again
    uint64_t rounds_sent = 0;  // clocks of which something went, or was to go
    Clock::time_point begun;   // the last of them, by its first push
    Clock::duration patience{};
    std::map<uint64_t, int> missed;  // by member: clocks in a row that went without it
  };
  void Run();
  // When something of a part is to be sent; none where that depends on what comes.
  std::optional<Clock::time_point> DueAt(const Part& part) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // How many members a clock is worth waiting for: who has missed some in a row has stopped, or does something else.
  size_t Expected(const Part& part) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Learns of a member that comes later than others with a clock how long to wait with the next.
  void Expect(Part* part, Waiting waits, Clock::duration late) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes those that go in one push with the first.
  std::vector<Contribution> TakeTogether(Part* part) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Makes what is to be sent of a flight's members; false where what they come to together is not finite.
  bool Make(uint32_t index, Flight* flight);
  // A flight is over: its members, of whom the own one is to push by itself where `again` says so.
  std::vector<Contribution> Release(Part* part, std::unique_ptr<Flight> flight, bool again)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The others are to push by themselves.
  static void SendAway(const std::vector<Contribution>& members);
  // Their weighted sum, or the only one's values where they lie.
  std::span<const float> ValuesOf(uint32_t index, Flight* flight);

  const std::vector<uint32_t> elements_;
  Wire* const wire_;
  const std::chrono::milliseconds patience_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Part> parts_ ABSL_GUARDED_BY(mutex_);
  std::set<uint64_t> members_ ABSL_GUARDED_BY(mutex_);
  uint64_t sent_ ABSL_GUARDED_BY(mutex_) = 0;  // pushes with nothing of its own in them
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;
};

}  // namespace downpour::worker
