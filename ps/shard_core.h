// A shard's rules: a deterministic state machine. One event in, any number of actions out; the same events
// give the same actions and the same bits. Inside there are no sockets, threads, clocks, random numbers,
// files or logs, so a recorded sequence of events can be replayed, logged, sent to a backup or driven by
// virtual time.
//
// Owned and used by one thread at a time. Events may say anything: what makes no sense is refused, never
// trusted.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/optimizer/update_rule.h"
#include "proto/codec/wire_codecs.h"
#include "proto/job.pb.h"
#include "proto/settings.h"
#include "proto/sync/mode.h"
#include "ps/event.h"
#include "ps/leases.h"
#include "ps/table.h"

namespace downpour::ps {

// Upper bounds of the staleness histogram, in updates that came between; what is above falls into one more
// bucket.
inline constexpr std::array<uint64_t, 11> kStalenessBounds = {0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 1024};

// What is said to those whom a server refuses because it stops.
inline constexpr char kDraining[] = "the server is shutting down";

// Counts since the start, and the state of the moment.
struct CoreStats {
  uint64_t pushes = 0;   // gradients applied
  uint64_t combined = 0;  // of them, that came in one push with others
  uint64_t updates = 0;  // of a part; a clock's held pushes are one
  uint64_t sets = 0;
  uint64_t pulls = 0;                                             // answered with values
  uint64_t received_bytes = 0;                                    // payload of sets and pushes, taken or not
  uint64_t sent_bytes = 0;                                        // payload of values
  std::array<uint64_t, kRefusalCount> refused{};                      // by Refusal
  std::array<uint64_t, kStalenessBounds.size() + 1> staleness{};  // gradients applied, by bucket
  uint64_t staleness_sum = 0;
  // Likewise by lead: how many clocks the pusher was ahead of the slowest worker that was there.
  std::array<uint64_t, kStalenessBounds.size() + 1> lead{};
  uint64_t lead_sum = 0;
  uint64_t largest_lead = 0;
  // Now:
  uint64_t parts = 0;
  uint64_t elements = 0;
  uint64_t table_bytes = 0;  // values and slots
  uint64_t clock = 0;        // the furthest step of which a gradient was applied
  uint64_t held = 0;
  uint64_t parked = 0;
};

class ShardCore {
 public:
  // InvalidArgument for an optimizer or a sync mode that does not exist.
  static absl::StatusOr<std::unique_ptr<ShardCore>> Create(const Job& job);

  // Appends what is to be done to `actions`, in order.
  void Handle(Event event, std::vector<Action>& actions);

  const CoreStats& stats() const { return stats_; }

  // Of values, slots, and what is known of each part and partition; leases, settings and what was sent are not in it. The
  // checksums of several shards add up (modulo 2^64) to one that does not depend on how parts were dealt to shards.
  uint64_t Checksum() const;

  // For tests and checkpoints.
  const Table* table(uint32_t id) const;

 private:
  ShardCore(const Job& job, SettingsHistory settings, const kernels::UpdateRule* rule, const WireCodecs& codecs);

  void On(CreateTable event, std::vector<Action>& actions);
  void On(Join event, std::vector<Action>& actions);
  void On(Leave event, std::vector<Action>& actions);
  void On(Hangup event, std::vector<Action>& actions);
  void On(Set event, std::vector<Action>& actions);
  void On(Push event, std::vector<Action>& actions);
  void On(Pull event, std::vector<Action>& actions);
  void On(Change event, std::vector<Action>& actions);
  void On(Tick event, std::vector<Action>& actions);
  void On(Drain event, std::vector<Action>& actions);
  void On(Checkpoint event, std::vector<Action>& actions);
  void On(Restore event, std::vector<Action>& actions);

  // The part that a frame means, once everything but the fence is checked; null, with `sentence` set,
  // otherwise.
  Table::Part* Locate(const FrameHeader& header, const Payload* payload, Table** table,
                      std::string* sentence);
  // Why a frame may not have its codec; `job_codec` is the one that the job names for such frames.
  static std::string WrongCodec(const FrameHeader& header, const Codec& job_codec);

  PartView View(const Table::Part& part) const;
  // The settings that a part's next clock goes by.
  const Settings& SettingsOf(const Table::Part& part) const { return settings_.At(part.clock); }
  // The settings that a worker who comes now goes by.
  const Settings& EntrySettings(const Table::Part& part) const;
  // Where a part comes to rounds from settings without, no clock was counted: counts from the settings' own, or from
  // where the furthest worker is.
  void EnterRounds(Table::Part& part, const Settings& settings);
  Leases::Joined JoinLease(const Join& event);
  // A partition's worker has come or gone; from which clock on it is there, the mode says.
  void Enter(Table::Part& part, uint32_t partition);
  // The first worker's steps alone are over, where it has taken them or is gone: the others come in.
  void WarmUp(Table::Part& part);

  kernels::Hyper HyperAt(uint64_t clock, const Settings& settings) const;
  // A push that an earlier attempt had applied: this one's clock passes without it, and nobody waits for more.
  void PassOver(Table& table, Table::Part& part, const Push& push, std::vector<Action>& actions);
  // Why a push is not taken, whatever the sync mode; kNone where nothing is wrong.
  Refusal CheckPush(const Table::Part& part, const FrameHeader& header, std::string* sentence) const;
  // A push with the gradients of several workers: it is taken with all of them, or refused and nothing has happened.
  void OnCombined(Push event, std::vector<Action>& actions);
  // What can be said of one of them without looking at the others.
  Refusal CheckContribution(const Table::Part& part, const FrameHeader& one, std::string* sentence) const;
  // Keeps a push until its clock closes.
  void Hold(Table::Part& part, Push push);
  // One that is held no longer.
  void ForgetHeld(Table::Part& part, const Message& push);
  // Once its worker has gone on.
  void Count(const Table::Part& part, const FrameHeader& push);
  void Apply(Table& table, Table::Part& part, const Settings& settings, Push push, std::vector<Action>& actions);
  // The clock of a push is behind its worker.
  void Advance(Table::Part& part, const FrameHeader& push);
  // Sees to all that a worker's clock, its leaving or other settings may have made due.
  void Settle(Table& table, Table::Part& part, std::vector<Action>& actions);
  // Applies what is held if the mode says so.
  void CloseIfDue(Table& table, Table::Part& part, std::vector<Action>& actions);
  // Saves it where a checkpoint has come to it.
  void SaveIfDue(const Table& table, Table::Part& part, std::vector<Action>& actions) const;
  // What waits is looked through only where a clock has moved that reads go by.
  void AnswerParked(Table& table, Table::Part& part, std::vector<Action>& actions);
  bool MayRead(const Table::Part& part, const FrameHeader& pull) const;
  void RefuseParked(Refusal reason, const std::string& sentence, std::vector<Action>& actions);
  // Refuses what is held for which `why` has a reason: its workers are where they were without it.
  template <typename Why>
  void DropHeld(Table::Part& part, Why why, std::vector<Action>& actions);
  // Of what waits for the part, that which should wait no longer.
  void RefuseOverdue(Table::Part& part, std::vector<Action>& actions);

  void SendValues(Table& table, Table::Part& part, const Route& route, const FrameHeader& pull,
                  std::vector<Action>& actions);
  void Acknowledge(const Route& route, const FrameHeader& frame, Refusal reason, std::string sentence,
                   std::vector<Action>& actions);
  void RefusePull(const Route& route, const FrameHeader& pull, Refusal reason, std::string sentence,
                  std::vector<Action>& actions);
  Report MakeReport(uint64_t ticket, uint32_t partition) const;
  template <typename Function>
  void ForEachPart(Function function);

  // Constant after construction.
  const Job job_;
  const kernels::UpdateRule* const rule_;  // null where workers step by themselves
  const kernels::Hyper hyper_;
  const WireCodecs codecs_;

  // Changed by events alone.
  SettingsHistory settings_;
  Leases leases_;
  std::map<uint32_t, std::unique_ptr<Table>> tables_;
  int64_t now_ms_ = 0;
  bool draining_ = false;
  CoreStats stats_;
};

// Words for a person, as frames carry them.
Payload Sentence(std::string text);

// What a server answers to a frame it does not take: an ack for a set or a push, a refusal for anything else.
Message MakeRefusal(const FrameHeader& frame, Refusal reason, std::string sentence);

}  // namespace downpour::ps
