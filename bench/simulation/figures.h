// What came of a simulation.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "proto/frame.h"

namespace downpour::bench {

struct Spread {
  double mean = 0;
  double p50 = 0;
  double p99 = 0;
  double max = 0;

  friend bool operator==(const Spread&, const Spread&) = default;
};

// Of any numbers; zeros where there are none.
Spread SpreadOf(std::vector<float> values);

// Share of the time in which something was busy: over all of a kind, and the busiest.
struct Use {
  double mean = 0;
  double max = 0;

  friend bool operator==(const Use&, const Use&) = default;
};

// What became of every frame of the whole run, to its very end. A push is one of a part.
struct Account {
  std::uint64_t pushes = 0;
  std::uint64_t pushes_applied = 0;                    // and acknowledged so
  std::array<std::uint64_t, kRefusalCount> refused{};  // pushes and sets, by reason
  std::uint64_t sent_again = 0;                        // pushes whose shard's queue was full
  std::uint64_t sets = 0;
  std::uint64_t sets_taken = 0;
  std::uint64_t pulls = 0;
  std::uint64_t pulls_answered = 0;
  std::uint64_t unexpected = 0;        // answers that nobody waited for
  std::uint64_t bytes_to_servers = 0;  // on links
  std::uint64_t bytes_from_servers = 0;

  friend bool operator==(const Account&, const Account&) = default;
};

struct Figures {
  // Of the measured span.
  double seconds = 0;
  std::uint64_t steps = 0;  // of all workers
  double steps_per_second = 0;
  double of_ideal = 0;              // beside these workers, were there nothing to wait for
  double updates_per_second = 0;    // of the whole model: a gradient, or in rounds the mean of one from each
  double gradients_per_second = 0;  // of the whole model, that were applied
  double waiting = 0;               // share of the workers' time
  Spread staleness;                 // updates that came between, of parts
  double lead_mean = 0;             // clocks that a pusher is ahead of the slowest worker
  double lead_max = 0;              // likewise; of the whole run
  Spread push_ms;                   // from sending a push until its last part was acknowledged
  Spread apply_ms;                  // from a part's arrival at the server until its acknowledgement leaves
  double bytes_per_step = 0;        // both ways
  Use servers_in;                   // links
  Use servers_out;
  Use workers_out;
  Use workers_in;
  Use shards;                  // threads
  double held_bytes = 0;       // most that a server held for rounds to close, of the full model
  double queued_bytes = 0;     // most that a shard had in its queue, likewise
  double silence_seconds = 0;  // longest that a waiting worker heard nothing

  // Of the whole run.
  double begin_seconds = 0;  // until the last worker took its first step
  Account account;
  std::uint64_t checksum = 0;  // of all shards, at the end

  friend bool operator==(const Figures&, const Figures&) = default;
};

// Real time that the servers' code took, by the kind of event; it differs from run to run.
struct CoreTime {
  std::uint64_t events = 0;
  double seconds = 0;
  double longest = 0;
};

struct RealTime {
  double seconds = 0;  // of the whole simulation
  std::map<std::string, CoreTime> core;
};

nlohmann::ordered_json ToJson(const Figures& figures);
nlohmann::ordered_json ToJson(const RealTime& real);

}  // namespace downpour::bench
