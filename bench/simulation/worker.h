// A worker in virtual time: what worker/trainer.cc and worker/ps_client.cc do at each step, by the same mode, with the
// net's computation a span of time and the gradient any numbers.
//
// One thread, the timeline's.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "bench/simulation/draws.h"
#include "bench/simulation/layout.h"
#include "bench/simulation/meter.h"
#include "bench/simulation/process.h"
#include "bench/simulation/server.h"
#include "bench/simulation/settings.h"
#include "proto/frame.h"
#include "proto/settings.h"

namespace downpour::bench {

class SimulatedWorker {
 public:
  // How frames and calls reach servers.
  class Transport {
   public:
    virtual ~Transport() = default;
    virtual void Register(std::uint32_t server, std::uint32_t worker) = 0;
    virtual void Leave(std::uint32_t server, std::uint32_t worker, std::uint64_t fence) = 0;
    virtual void ToServer(std::uint32_t server, std::uint32_t worker, const Message& message) = 0;
  };

  // All that is pointed at outlives it. `values` are what it sends: as many as the tables have.
  struct Surroundings {
    const SimulationSettings* settings = nullptr;
    const Settings* sync = nullptr;
    const Layout* layout = nullptr;
    std::shared_ptr<const std::vector<float>> values;
    Timeline* timeline = nullptr;
    Transport* transport = nullptr;
    Meter* meter = nullptr;
  };

  // `slow` is the factor on its steps.
  SimulatedWorker(const Surroundings& surroundings, std::uint32_t index, double slow);

  // Comes now. At its next step after Stop() it ends as one whose data has ended.
  void Start() { process_ = Run(); }
  void Stop() { stopping_ = true; }
  bool done() const { return process_.done(); }

  // From servers.
  void OnRegistered(std::uint32_t server, const Registered& registered);
  void OnMessage(const Message& message);

  // How long it has waited for servers up to now, once it had begun.
  Ns waited() const { return waited_ + (waiting_since_ < 0 ? 0 : s_.timeline->now() - waiting_since_); }

 private:
  struct PushInFlight {
    std::uint64_t sequence = 0;
    Ns sent = 0;
    std::vector<std::uint64_t> versions;
    std::vector<std::uint64_t> clocks;
    std::vector<bool> answered;
    std::size_t missing = 0;
  };
  // One stream to a server, as worker/server_stream.cc.
  struct Stream {
    std::uint64_t fence = 0;
    std::uint64_t credit = 0;
    std::deque<Message> outgoing;
  };
  struct Snapshot {
    std::vector<std::uint64_t> versions;  // by part
    std::vector<std::uint64_t> clocks;    // by part
  };

  Process Run();
  StepPlan Plan() const;
  bool fetch_arrived() const { return fetch_started_ && fetch_missing_ == 0; }
  void StartFetch(std::uint64_t clock, bool after_own_push);
  void Install();
  void Push(std::uint64_t last_step);
  void SendPart(const PushInFlight& push, std::uint32_t part);
  void OnAck(const FrameHeader& header);
  void OnValues(const FrameHeader& header);

  FrameHeader HeaderFor(FrameKind kind, std::uint32_t part) const;
  Payload Values(std::uint32_t part) const;
  void Send(std::uint32_t part, Message message);
  void Flush(std::uint32_t server);
  std::uint32_t parts() const { return static_cast<std::uint32_t>(s_.layout->parts.size()); }
  // What is between the two is time that it waits for servers.
  void StartWaiting() { waiting_since_ = s_.timeline->now(); }
  void StopWaiting();

  const Surroundings s_;
  const std::uint32_t index_;
  const double slow_;

  worker::Random random_;
  Process process_;
  Signal changed_;
  bool stopping_ = false;
  bool begun_ = false;     // has taken a step
  Ns waiting_since_ = -1;  // -1 where it does not wait
  Ns waited_ = 0;
  Ns heard_ = 0;  // when a frame came last

  std::vector<Stream> streams_;  // by server
  std::uint32_t registered_ = 0;
  std::vector<std::uint32_t> unset_parts_;
  std::uint32_t sets_in_flight_ = 0;

  // As in Trainer and PsClient.
  std::uint64_t step_ = 0;
  std::uint64_t first_step_ = 0;
  bool fetched_ = false;
  bool refetch_ = false;
  Snapshot current_;
  Snapshot fetch_;
  std::vector<bool> fetch_seen_;
  std::uint64_t seen_clock_ = 0;
  std::vector<std::uint64_t> owed_clocks_;
  std::uint64_t next_sequence_ = 1;
  std::uint64_t next_fetch_ = 1;
  std::size_t fetch_missing_ = 0;
  bool fetch_started_ = false;
  std::uint32_t accrued_steps_ = 0;
  std::vector<std::uint64_t> accrued_versions_;
  std::uint64_t samples_ = 0;
  std::deque<PushInFlight> pushes_;
  std::uint64_t refused_parts_ = 0;
};

}  // namespace downpour::bench
