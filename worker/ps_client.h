// A worker's side of the parameter servers: takes the partition's lease, fetches parameters, pushes gradients.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/aligned_buffer.h"
#include "proto/codec/byte_buffer.h"
#include "proto/frame.h"
#include "proto/job.pb.h"
#include "proto/service.pb.h"
#include "proto/settings.h"
#include "proto/shared_region.h"
#include "worker/combine/host_group.h"
#include "worker/congestion_control.h"
#include "worker/exchanged_vector.h"
#include "worker/push_encoder.h"
#include "worker/registration.h"

namespace downpour::worker {

// What one push is made of. The client owns it; a trainer fills it between AcquireBuffer and Push.
struct GradientBuffer {
  explicit GradientBuffer(ExchangedVector memory) : gradient(std::move(memory)) {}

  ExchangedVector gradient;
  std::vector<uint64_t> versions;  // by part: what it was computed from
  std::vector<uint64_t> clocks;    // by part: what it is for
  uint32_t settings = 0;           // the version that it was made under
  PushContent content = PushContent::kGradient;
  uint64_t position = 0;           // the samples that it completes
  uint32_t samples = 0;            // behind it; 0 where the gradient is zero because the real one was not finite

  // The client's: how it travels, and where it is encoded, what of each part.
  CodecId codec = CodecId::kRaw;
  bool encoded = false;
  std::vector<ByteBuffer> coded;
};

// Errors of all methods: Unavailable (a server was lost or could not be found: names it), Aborted (a newer attempt
// holds the partition), FailedPrecondition (job and server disagree), DeadlineExceeded (no answer in time), Cancelled.
// The first of these is final: from then on every method returns it.
//
// One compute thread calls everything but Heartbeat, Leave and Cancel, which any thread may call.
class PsClient {
 public:
  // Registers with every server (registration.h has the errors) and opens the streams. AlreadyExists where another
  // attempt has completed the partition.
  static absl::StatusOr<std::unique_ptr<PsClient>> Connect(const Job& job, const Identity& identity,
                                                           const TableSpec& table, const RegistrationWatch& watch);
  // Opens the streams of a registration that has leases.
  static absl::StatusOr<std::unique_ptr<PsClient>> Open(const Job& job, const Identity& identity,
                                                        const TableSpec& table, const Registration& registration);
  // Closes the streams. Leave() before, or the lease has to run out.
  ~PsClient();

  PsClient(const PsClient&) = delete;
  PsClient& operator=(const PsClient&) = delete;

  // Floats in the table.
  size_t elements() const { return elements_; }
  // How far earlier attempts at this partition got, on all servers.
  const Progress& progress() const { return progress_; }
  // Whether a server has parts without values: SetInitial is owed.
  bool needs_initial() const { return !unset_parts_.empty(); }

  // Sets the parts that have no values, and waits for it. Where another worker was first, its values stand.
  absl::Status SetInitial(std::span<const float> values);

  // What to fetch: all parameters, as of `clock` or later, under a version of the settings; besides, if wanted, each
  // part as of the clock after this worker's last push to it.
  struct FetchOptions {
    uint64_t clock = 0;
    bool after_own_push = false;
    uint32_t settings = 0;
  };
  // Starts fetching. One fetch at a time.
  void StartFetch(const FetchOptions& options);
  bool fetch_in_flight() const { return fetch_started_; }
  // Whether the fetch has arrived and Install would not wait.
  bool FetchArrived();
  // Waits for the fetch and makes what it brought the parameters.
  absl::Status Install();

  // The worker's own copy: what was installed last, and what was done to it since.
  std::span<const float> parameters() const { return {current_.values->data(), elements_}; }
  // The same, to be changed until the next Install.
  std::span<float> ChangeParameters();
  // By part, the version that was installed last.
  const std::vector<uint64_t>& versions() const { return current_.versions; }
  // By part, the clock that was seen then.
  const std::vector<uint64_t>& clocks() const { return current_.clocks; }
  // The least of them.
  uint64_t seen_clock() const { return seen_clock_; }

  // A buffer that nobody reads any more; waits for one. The gradient in it is old.
  absl::StatusOr<std::shared_ptr<GradientBuffer>> AcquireBuffer();
  // Starts pushing to all servers; with `then_fetch` also a fetch, which asks for each part as soon as its push is on the
  // way, so that the first come while the last go.
  void Push(std::shared_ptr<GradientBuffer> buffer, const std::optional<FetchOptions>& then_fetch = std::nullopt);
  // How pushes go from the next one on (push_encoder.h).
  void SetWireLevel(const WireLevel& level);
  // What the data plane did since the last call; its steps and fetch_every are the caller's to fill in.
  WireWindow TakeWireWindow();
  // Waits until at most `in_flight` pushes are unacknowledged.
  absl::Status WaitForPushes(uint32_t in_flight);
  // Parts of pushes that a server did not take, since the last call; what was in them is lost.
  uint64_t TakeRefusedParts();
  // Mean staleness of the pushed parts acknowledged since the last call, in updates. Any thread.
  double TakeMeanStaleness();

  // The settings for the worker's clock, as far as all servers have told of them; none where they are of the version that
  // it goes by.
  std::optional<Settings> NewSettings(uint64_t clock, std::optional<uint32_t> version);

  // Changes of settings that all servers have told of. Any thread.
  size_t known_changes();

  // Renews the lease on every server without waiting; skips one whose last answer is still due. Where one does not
  // answer within worker.call_timeout_ms, or refuses, the client fails.
  void Heartbeat(const WorkerReport& report);
  // Gives the lease back on every server; the first error, after all were tried.
  absl::Status Leave(Outcome outcome, const std::string& reason, const WorkerReport& report);
  // Makes what waits, and everything after, fail with `status`.
  void Cancel(absl::Status status);
  absl::Status status();

 private:
  class Server;
  class HostWire;
  struct HeartbeatCall;
  // All parameters as a fetch brings them.
  struct Snapshot {
    std::unique_ptr<ExchangedVector> values;
    std::vector<uint64_t> versions;  // by part
    std::vector<uint64_t> clocks;    // by part
  };
  struct Fetch;
  struct PushInFlight;
  struct Transport {
    CodecId pull_codec = CodecId::kRaw;
    std::shared_ptr<SharedRegion> region;  // null for none
  };

  PsClient(const Job& job, SettingsHistory settings, const Identity& identity, uint64_t elements,
           const Registration& registration, const Transport& transport, std::unique_ptr<PushEncoder> encoder);

  void OpenStreams();
  // The workers of this host that push together; null where the job's don't.
  std::unique_ptr<HostGroup> MakeGroup();
  // What a server knows of changes; whatever all know counts.
  void LearnChanges(Server* server, const google::protobuf::RepeatedPtrField<SettingsChange>& changes);  // needs mutex_
  FrameHeader HeaderFor(FrameKind kind, uint32_t part) const;
  Message PushOf(const std::shared_ptr<GradientBuffer>& buffer, uint64_t sequence, uint32_t part) const;
  // By itself, whatever group there is.
  void SendPart(const std::shared_ptr<GradientBuffer>& buffer, uint64_t sequence, uint32_t part);
  Payload PayloadOf(const std::shared_ptr<GradientBuffer>& buffer, uint32_t part) const;
  // What a worker reads after its own push must not overtake it: where another worker sends that, the pull waits for its
  // ack. Whether it does.
  bool PutOff(const Message& pull);
  // Whether a push of the part is unacknowledged.
  bool IsPushing(uint32_t part) const;  // needs mutex_
  void SendPutOff(uint32_t part);  // needs mutex_
  std::vector<PushInFlight>::iterator FindPush(uint64_t sequence);  // needs mutex_
  void OnMessage(uint32_t server, Message message);
  void OnWelcome(uint32_t server, const Message& message);
  void OnValues(uint32_t server, const Message& message);
  void BeginFetch();
  // Asks for a part of the fetch that was begun.
  void Pull(int part, const FetchOptions& options);
  // Of a fetch whose answers are added to what is there.
  absl::Status AddAnswer(const Message& answer);
  void OnAck(uint32_t server, const Message& message);
  // What became of a set or a push of this worker's, whoever has sent it.
  void OnOwnAck(const Message& message);
  void OnRefused(uint32_t server, const Message& message);
  // The first failure is final.
  void Fail(absl::Status status);
  void FailLocked(absl::Status status);  // needs mutex_
  bool WaitsForWorkers() const;  // needs mutex_
  // Waits for `done`, but no longer than call_timeout_ms without any frame.
  //
  // Where workers wait for one another there is no telling how long that takes: the servers give up on workers that are
  // gone or too slow, and heartbeats on servers that are.
  template <typename Predicate>
  absl::Status WaitFor(std::unique_lock<std::mutex>& lock, const std::string& what, Predicate done);

  // Constant after Connect.
  const Job job_;
  const Identity identity_;
  const uint64_t elements_;
  const ShardMap map_;
  const Progress progress_;
  const CodecId pull_codec_;
  const bool differences_;  // from what was fetched last are what travels
  const std::shared_ptr<SharedRegion> region_;  // what servers on this host are offered; null for nothing
  std::vector<uint32_t> unset_parts_;           // until SetInitial
  std::vector<std::unique_ptr<Server>> servers_;

  std::mutex encoder_mutex_;  // taken after no other
  const std::unique_ptr<PushEncoder> encoder_;  // protected by encoder_mutex_
  std::unique_ptr<HostWire> host_wire_;
  std::unique_ptr<HostGroup> group_;  // null where workers push by themselves; constant after Open

  // The compute thread's.
  Snapshot current_;
  // As the last fetch brought them, to which differences are added; null until they are changed here, for then
  // current_ has them.
  std::unique_ptr<kernels::AlignedBuffer> base_;
  uint64_t base_fetch_ = 0;  // the number of that fetch; written under mutex_
  uint64_t seen_clock_ = 0;
  std::vector<uint64_t> owed_clocks_;  // by part: the one after that of the last push to it
  uint64_t next_sequence_ = 1;
  uint64_t next_fetch_ = 1;
  bool fetch_started_ = false;

  std::mutex mutex_;
  std::condition_variable changed_;
  // Protected by mutex_.
  absl::Status failure_;
  std::unique_ptr<Fetch> fetch_;  // its buffer is written without the lock, by whoever received the part
  std::vector<PushInFlight> pushes_;
  std::vector<Message> put_off_;  // pulls
  std::vector<std::shared_ptr<GradientBuffer>> buffers_;
  uint32_t sets_in_flight_ = 0;
  uint64_t refused_parts_ = 0;
  SettingsHistory settings_;
  WireWindow window_;  // round trips are sums
  uint64_t fetches_ = 0;  // in them
  std::chrono::steady_clock::time_point window_begun_ = std::chrono::steady_clock::now();
  uint64_t staleness_sum_ = 0;
  uint64_t staleness_count_ = 0;
  uint64_t frames_received_ = 0;
};

}  // namespace downpour::worker
