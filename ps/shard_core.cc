#include "ps/shard_core.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/codec/block_reader.h"
#include "proto/hyper.h"
#include "proto/schedule.h"
#include "ps/overdue.h"

namespace downpour::ps {
namespace {

// The answer's header, with everything by which the worker knows what it is the answer to.
FrameHeader AnswerTo(const FrameHeader& frame, FrameKind kind) {
  FrameHeader header = frame;
  header.kind = kind;
  header.codec = CodecId::kRaw;
  header.reason = Refusal::kNone;
  header.samples = 0;
  header.elements = 0;
  header.payload_bytes = 0;
  header.contributors = 0;
  return header;
}

bool IsFrom(const Message& push, uint32_t worker) {
  bool found = false;
  ForEachContribution(push, [&](const FrameHeader& one) { found = found || one.worker == worker; });
  return found;
}

FrameHeader FirstContribution(const Message& push) {
  std::optional<FrameHeader> first;
  ForEachContribution(push, [&](const FrameHeader& one) {
    if (!first) first = one;
  });
  return *first;
}

}  // namespace

Payload Sentence(std::string text) {
  if (text.empty()) return {};
  auto owner = std::make_shared<const std::string>(std::move(text));
  const auto bytes = std::as_bytes(std::span(*owner));
  return Payload(owner, {bytes});
}

Message MakeRefusal(const FrameHeader& frame, Refusal reason, std::string sentence) {
  const bool acknowledged = frame.kind == FrameKind::kSet || frame.kind == FrameKind::kPush;
  Message answer;
  answer.header = AnswerTo(frame, acknowledged ? FrameKind::kAck : FrameKind::kRefused);
  answer.header.reason = reason;
  answer.payload = Sentence(std::move(sentence));
  answer.header.payload_bytes = static_cast<uint32_t>(answer.payload.size());
  return answer;
}

absl::StatusOr<std::unique_ptr<ShardCore>> ShardCore::Create(const Job& job) {
  auto settings = SettingsHistory::Create(job);
  if (!settings.ok()) return settings.status();
  const auto rule = ServerRule(job);
  if (!rule.ok()) return rule.status();
  const auto codecs = WireCodecsOf(job);
  if (!codecs.ok()) return codecs.status();
  return std::unique_ptr<ShardCore>(new ShardCore(job, *std::move(settings), *rule, *codecs));
}

ShardCore::ShardCore(const Job& job, SettingsHistory settings, const kernels::UpdateRule* rule,
                     const WireCodecs& codecs)
    : job_(job),
      rule_(rule),
      hyper_(MakeHyper(job.optimizer())),
      codecs_(codecs),
      settings_(std::move(settings)),
      leases_(job.workers()) {}

void ShardCore::Handle(Event event, std::vector<Action>& actions) {
  std::visit([&](auto&& e) { On(std::move(e), actions); }, std::move(event));
}

template <typename Why>
void ShardCore::DropHeld(Table::Part& part, Why why, std::vector<Action>& actions) {
  std::erase_if(part.held, [&](const Table::Held& held) {
    const std::optional<Overdue> reason = why(held);
    if (!reason) return false;
    ForEachContribution(held.message, [&](const FrameHeader& one) {
      part.clocks.SetClock(one.worker, one.clock);
    });
    ForgetHeld(part, held.message);
    Acknowledge(held.route, held.message.header, reason->reason, reason->sentence, actions);
    return true;
  });
}

template <typename Function>
void ShardCore::ForEachPart(Function function) {
  for (auto& [id, table] : tables_) {
    for (Table::Part& part : table->parts()) function(*table, part);
  }
}

const Table* ShardCore::table(uint32_t id) const {
  const auto found = tables_.find(id);
  return found == tables_.end() ? nullptr : found->second.get();
}

uint64_t ShardCore::Checksum() const {
  uint64_t sum = 0;
  for (const auto& [id, table] : tables_) sum += table->Checksum();
  return sum;
}

// ---- Tables and members.

void ShardCore::On(CreateTable event, std::vector<Action>& actions) {
  std::sort(event.parts.begin(), event.parts.end(), [](auto& a, auto& b) { return a.part < b.part; });
  auto& table = tables_[event.table];
  if (table != nullptr && !table->Covers(event.parts, event.groups)) {
    // Made for a registration that was given up; no values were ever set, for nobody learned of it.
    stats_.parts -= table->parts().size();
    stats_.elements -= table->elements();
    stats_.table_bytes -= table->bytes();
    table = nullptr;
  }
  if (table == nullptr) {
    table = Table::Create(event.table, event.parts, std::move(event.groups), rule_, job_.workers());
    if (table == nullptr) {
      tables_.erase(event.table);
      actions.push_back(Created{event.ticket, false});
      return;
    }
    stats_.parts += table->parts().size();
    stats_.elements += table->elements();
    stats_.table_bytes += table->bytes();
    for (Table::Part& part : table->parts()) {
      part.warm = job_.sync().warmup_steps() == 0;
      for (uint32_t i = 0; i < leases_.partitions(); ++i) Enter(part, i);
    }
  }
  actions.push_back(Created{event.ticket, true});
}

void ShardCore::On(Join event, std::vector<Action>& actions) {
  if (event.observer) {
    leases_.Observe(event.fence);
  } else if (const auto joined = JoinLease(event); joined != Leases::Joined::kRefused) {
    ForEachPart([&](Table&, Table::Part& part) {
      Enter(part, event.partition);
      if (joined != Leases::Joined::kNewer) return;
      // What an earlier attempt has waiting was not acknowledged: this attempt sends it again, all of it.
      const auto superseded = [&](const Table::Held& held) -> std::optional<Overdue> {
        if (!IsFrom(held.message, event.partition)) return std::nullopt;
        return Overdue{Refusal::kFenced, "a newer attempt holds the partition"};
      };
      DropHeld(part, superseded, actions);
      stats_.parked -= std::erase_if(part.parked, [&](const Table::Parked& parked) {
        if (parked.header.worker != event.partition || leases_.IsObserver(parked.header.fence)) return false;
        RefusePull(parked.route, parked.header, Refusal::kFenced, "a newer attempt holds the partition",
                   actions);
        return true;
      });
    });
  }
  actions.push_back(MakeReport(event.ticket, event.partition));
}

Leases::Joined ShardCore::JoinLease(const Join& event) {
  const uint32_t before = leases_.generation();
  const Leases::Joined joined = leases_.Join(event.partition, event.fence, event.generation, now_ms_);
  if (leases_.generation() != before) {
    ForEachPart([&](Table&, Table::Part& part) {
      for (uint32_t i = 0; i < leases_.partitions(); ++i) Enter(part, i);
    });
  }
  return joined;
}

void ShardCore::On(Leave event, std::vector<Action>& actions) {
  if (leases_.EndObserving(event.fence)) {
    // Its partition need be none of the job's, and it is no worker's: it waits no longer.
    ForEachPart([&](Table&, Table::Part& part) {
      stats_.parked -= std::erase_if(part.parked, [&](const Table::Parked& parked) {
        if (parked.header.fence != event.fence) return false;
        RefusePull(parked.route, parked.header, Refusal::kLeaseEnded, "the lease has ended", actions);
        return true;
      });
    });
    actions.push_back(MakeReport(event.ticket, event.partition));
    return;
  }
  if (leases_.End(event.partition, event.fence, event.done)) {
    ForEachPart([&](Table& table, Table::Part& part) {
      Enter(part, event.partition);
      if (!part.sent.empty()) part.sent[event.partition].clear();
      Table::ForgetWorker(part, event.partition);
      stats_.parked -= std::erase_if(part.parked, [&](const Table::Parked& parked) {
        if (parked.header.worker != event.partition || parked.header.fence != event.fence) return false;
        RefusePull(parked.route, parked.header, Refusal::kLeaseEnded, "the lease has ended", actions);
        return true;
      });
      Settle(table, part, actions);
    });
    if (leases_.NobodyIsLeft()) {
      RefuseParked(Refusal::kNoMembers, "no worker is left that could complete what this fetch waits for",
                   actions);
    }
  }
  actions.push_back(MakeReport(event.ticket, event.partition));
}

void ShardCore::On(Hangup event, std::vector<Action>&) {
  ForEachPart([&](Table&, Table::Part& part) {
    stats_.parked -=
        std::erase_if(part.parked, [&](const auto& p) { return p.route.stream == event.stream; });
  });
}

Report ShardCore::MakeReport(uint64_t ticket, uint32_t partition) const {
  Report report;
  report.ticket = ticket;
  for (const auto& [id, table] : tables_) {
    for (const Table::Part& part : table->parts()) {
      if (!part.set) report.unset_parts.push_back(part.index);
      if (partition >= leases_.partitions()) continue;
      // Whoever comes when others have gone on goes on with them.
      const uint64_t clock =
          std::max(part.clocks[partition].clock, EntrySettings(part).mode->entry_clock(View(part)));
      const PartitionProgress progress{part.members[partition].sequence, clock,
                                       part.members[partition].position};
      if (!report.progress || progress.sequence < report.progress->sequence ||
          (progress.sequence == report.progress->sequence && progress.clock < report.progress->clock)) {
        report.progress = progress;
      }
    }
  }
  return report;
}

// ---- Checks.

Table::Part* ShardCore::Locate(const FrameHeader& header, const Payload* payload, Table** table,
                               std::string* sentence) {
  const auto found = tables_.find(header.table);
  Table::Part* part = found == tables_.end() ? nullptr : found->second->Find(header.part);
  if (part == nullptr) {
    *sentence = absl::StrCat("part ", header.part, " of table ", header.table, " is not on this shard");
    return nullptr;
  }
  *table = found->second.get();
  if (payload == nullptr) return part;
  const uint64_t elements = part->values.size();
  const bool length_fits = header.codec != CodecId::kRaw || payload->size() == elements * sizeof(float);
  if (header.elements != elements || !length_fits) {
    *sentence = absl::StrCat("part ", header.part, " has ", elements, " elements; the frame carries ",
                             header.elements, " in ", payload->size(), " bytes");
    return nullptr;
  }
  return part;
}

std::string ShardCore::WrongCodec(const FrameHeader& header, const Codec& job_codec) {
  const Codec* const codec = FindCodec(header.codec);
  return absl::StrCat("codec ", codec == nullptr ? absl::StrCat(static_cast<int>(header.codec)) : codec->name, " for a ",
                      FrameKindName(header.kind), "; the job's is ", job_codec.name);
}

PartView ShardCore::View(const Table::Part& part) const {
  return {part.clock, part.held_pushes, part.clocks.views(), part.clocks.slowest()};
}

const Settings& ShardCore::EntrySettings(const Table::Part& part) const {
  return settings_.At(std::max(part.clock, part.clocks.slowest()));
}

void ShardCore::EnterRounds(Table::Part& part, const Settings& settings) {
  if (!InRounds(settings) || settings.version < part.next_rounds) return;
  bool after_none = false;
  for (uint32_t version = part.next_rounds; version < settings.version; ++version) {
    after_none = after_none || !InRounds(*settings_.Version(version));
  }
  part.next_rounds = settings.version + 1;
  if (!after_none) return;
  part.clock = std::max(part.clock, settings.from_clock);
  for (const MemberView& member : part.clocks.views()) part.clock = std::max(part.clock, member.clock);
}

void ShardCore::Enter(Table::Part& part, uint32_t partition) {
  // Nobody waits for the others while the first worker is alone.
  if (!part.warm && partition != 0) return part.clocks.SetMembership(partition, Membership::kGone);
  if (const Leases::State state = leases_.Of(partition); state != Leases::State::kLive) {
    const bool absent = state == Leases::State::kAbsent;
    return part.clocks.SetMembership(partition, absent ? Membership::kAbsent : Membership::kGone);
  }
  MemberView member = part.clocks[partition];
  if (member.membership == Membership::kLive) return;
  const Settings& settings = EntrySettings(part);
  // Where all come back, each goes on from where it was, whoever comes first.
  const bool comes_back = partition < part.restored.size() && part.restored[partition];
  if (comes_back) part.restored[partition] = false;
  if (settings.mode->coupling(settings.sync) == Coupling::kBounded && !comes_back) {
    member.clock = std::max(member.clock, settings.mode->entry_clock(View(part)));
  }
  member.membership = Membership::kLive;
  part.clocks.Set(partition, member);
}

void ShardCore::WarmUp(Table::Part& part) {
  if (part.warm) return;
  const Settings& settings = SettingsOf(part);
  const uint64_t steps = part.clocks[0].clock * settings.mode->steps_a_clock(settings.sync);
  const bool gone = leases_.Of(0) == Leases::State::kEnded;
  if (steps < job_.sync().warmup_steps() && !gone) return;
  part.warm = true;
  for (uint32_t i = 1; i < leases_.partitions(); ++i) Enter(part, i);
}

// ---- Sets and pushes.

void ShardCore::On(Set event, std::vector<Action>& actions) {
  const FrameHeader& header = event.message.header;
  stats_.received_bytes += event.message.payload.size();
  Table* table = nullptr;
  std::string sentence;
  Table::Part* part = Locate(header, &event.message.payload, &table, &sentence);
  if (part != nullptr && header.codec != CodecId::kRaw) sentence = WrongCodec(header, kRawCodec);
  if (!sentence.empty()) {
    return Acknowledge(event.route, header, Refusal::kMalformed, sentence, actions);
  }
  if (!leases_.Holds(header)) {
    const auto [reason, why] = leases_.WhyNot(header);
    return Acknowledge(event.route, header, reason, why, actions);
  }
  if (draining_) return Acknowledge(event.route, header, Refusal::kShuttingDown, kDraining, actions);
  if (!part->set) {
    const auto bad = FirstNonFinite(event.message);
    if (!bad.ok()) {
      return Acknowledge(event.route, header, Refusal::kMalformed, std::string(bad.status().message()), actions);
    }
    if (bad->has_value()) {
      return Acknowledge(event.route, header, Refusal::kNotFinite,
                         absl::StrCat("element ", part->begin + **bad, " of the first values is not finite"),
                         actions);
    }
    table->Assign(*part, event.message);
    ++stats_.sets;
  }
  Acknowledge(event.route, header, Refusal::kNone, "", actions);
  AnswerParked(*table, *part, actions);
}

void ShardCore::On(Push event, std::vector<Action>& actions) {
  if (!event.message.contributors.empty()) return OnCombined(std::move(event), actions);
  const FrameHeader& header = event.message.header;
  stats_.received_bytes += event.message.payload.size();
  const auto refuse = [&](Refusal reason, std::string sentence) {
    Acknowledge(event.route, header, reason, std::move(sentence), actions);
  };
  Table* table = nullptr;
  std::string sentence;
  Table::Part* part = Locate(header, &event.message.payload, &table, &sentence);
  if (part != nullptr && !MayPush(codecs_, header.codec)) sentence = WrongCodec(header, *codecs_.push);
  if (!sentence.empty()) {
    return refuse(Refusal::kMalformed, sentence);
  }
  if (header.sequence == 0) return refuse(Refusal::kMalformed, "a push's sequence counts from 1");
  if (!leases_.Holds(header)) {
    const auto [reason, why] = leases_.WhyNot(header);
    return refuse(reason, why);
  }
  if (header.sequence <= part->members[header.worker].sequence) return PassOver(*table, *part, event, actions);
  if (draining_) return refuse(Refusal::kShuttingDown, kDraining);
  if (!part->set) return refuse(Refusal::kNotSet, absl::StrCat("part ", header.part, " has no values yet"));

  const Settings& settings = settings_.At(header.clock);
  // Its gradient is lost, but the worker has gone on: without rounds nobody waits for that clock.
  const auto pass_by = [&](Refusal reason, std::string why) {
    refuse(reason, std::move(why));
    if (InRounds(settings)) return;
    Advance(*part, header);
    Settle(*table, *part, actions);
  };
  if (const Refusal reason = CheckPush(*part, header, &sentence); reason != Refusal::kNone) {
    return reason == Refusal::kClockAhead ? refuse(reason, sentence) : pass_by(reason, sentence);
  }
  EnterRounds(*part, settings);
  const PushDecision decision =
      settings.mode->on_push(settings.sync, View(*part), {header.worker, header.clock});
  if (decision.action == PushAction::kRefuse) {
    return refuse(decision.reason, absl::StrCat("a push of clock ", header.clock, " for part ", header.part,
                                                ", which is at clock ", part->clock, ", the slowest worker at ",
                                                part->clocks.slowest()));
  }
  const auto bad = event.finite ? std::nullopt : FirstNonFinite(event.message);
  if (!bad.ok()) return refuse(Refusal::kMalformed, std::string(bad.status().message()));
  if (bad->has_value()) {
    return pass_by(Refusal::kNotFinite,
                   absl::StrCat("element ", part->begin + **bad, " of the gradient of clock ", header.clock,
                                " is not finite"));
  }
  if (decision.action == PushAction::kApply) {
    Apply(*table, *part, settings, std::move(event), actions);
  } else {
    // The same push again, after its stream broke: whoever sent it last waits for the answer. Had it come with others,
    // these have to come again too.
    if (part->clocks[header.worker].clock > header.clock) {
      const auto again = [&](const Table::Held& held) -> std::optional<Overdue> {
        if (held.message.contributors.empty() || !IsFrom(held.message, header.worker)) return std::nullopt;
        return Overdue{Refusal::kAlone, absl::StrCat("worker ", header.worker, " has pushed by itself")};
      };
      DropHeld(*part, again, actions);
      std::erase_if(part->held, [&](const Table::Held& held) {
        const bool same = held.message.contributors.empty() && held.message.header.worker == header.worker;
        if (same) ForgetHeld(*part, held.message);
        return same;
      });
    }
    Hold(*part, std::move(event));
  }
  Settle(*table, *part, actions);
}

void ShardCore::Hold(Table::Part& part, Push push) {
  ForEachContribution(push.message, [&](const FrameHeader& one) { Advance(part, one); });
  part.held_pushes += ContributionCount(push.message);
  stats_.held += ContributionCount(push.message);
  part.held.push_back({push.route, std::move(push.message), now_ms_});
}

void ShardCore::ForgetHeld(Table::Part& part, const Message& push) {
  part.held_pushes -= ContributionCount(push);
  stats_.held -= ContributionCount(push);
}

void ShardCore::PassOver(Table& table, Table::Part& part, const Push& push, std::vector<Action>& actions) {
  const FrameHeader& header = push.message.header;
  Acknowledge(push.route, header, Refusal::kDuplicate, "", actions);
  const Settings& settings = settings_.At(header.clock);
  if (settings.mode->on_push(settings.sync, View(part), {header.worker, header.clock}).action == PushAction::kRefuse) {
    return;
  }
  Advance(part, header);
  Settle(table, part, actions);
}

void ShardCore::Advance(Table::Part& part, const FrameHeader& push) {
  part.clocks.SetClock(push.worker, std::max(part.clocks[push.worker].clock, push.clock + 1));
}

void ShardCore::Settle(Table& table, Table::Part& part, std::vector<Action>& actions) {
  CloseIfDue(table, part, actions);
  SaveIfDue(table, part, actions);
  WarmUp(part);
  AnswerParked(table, part, actions);
}

Refusal ShardCore::CheckPush(const Table::Part& part, const FrameHeader& header, std::string* sentence) const {
  if (!part.warm && header.worker != 0) {
    *sentence = "the first worker's steps alone are not over";
    return Refusal::kClockAhead;
  }
  const Settings& settings = settings_.At(header.clock);
  const Settings* const made_under = settings_.Version(header.settings);
  if (made_under == nullptr || made_under->mode != settings.mode) {
    *sentence = absl::StrCat("made under version ", header.settings, " of the settings; for clock ", header.clock,
                             " it is ", settings.version);
    return Refusal::kNewSettings;
  }
  if (header.content != settings.mode->content) {
    *sentence = absl::StrCat("sync mode ", std::string(settings.mode->name), " does not exchange such values");
    return Refusal::kWrongContent;
  }
  const uint64_t age = part.version - std::min(part.version, header.version);
  if (settings.sync.max_age() > 0 && age > settings.sync.max_age()) {
    *sentence = absl::StrCat("a gradient from parameters that have had ", age, " updates since; sync.max_age is ",
                             settings.sync.max_age());
    return Refusal::kTooOld;
  }
  return Refusal::kNone;
}

void ShardCore::Count(const Table::Part& part, const FrameHeader& push) {
  const auto bucket = [](uint64_t n) {
    return std::lower_bound(kStalenessBounds.begin(), kStalenessBounds.end(), n) - kStalenessBounds.begin();
  };
  const uint64_t staleness = part.version - std::min(part.version, push.version);
  ++stats_.staleness[bucket(staleness)];
  stats_.staleness_sum += staleness;
  // The pusher itself is past the clock.
  const uint64_t slowest = part.clocks.anybody_is_live() ? part.clocks.slowest() : push.clock;
  const uint64_t lead = push.clock - std::min(push.clock, slowest);
  ++stats_.lead[bucket(lead)];
  stats_.lead_sum += lead;
  stats_.largest_lead = std::max(stats_.largest_lead, lead);
  ++stats_.pushes;
  stats_.clock = std::max(stats_.clock, push.clock + 1);
}

kernels::Hyper ShardCore::HyperAt(uint64_t clock, const Settings& settings) const {
  kernels::Hyper hyper = hyper_;
  hyper.learning_rate = static_cast<float>(settings.learning_rate * ScheduleFactor(job_.schedule(), clock));
  return hyper;
}

void ShardCore::Apply(Table& table, Table::Part& part, const Settings& settings, Push push,
                      std::vector<Action>& actions) {
  FrameHeader& header = push.message.header;
  const uint64_t version = part.version;
  uint64_t staleness = 0;
  if (ContributionCount(push.message) > 1) stats_.combined += ContributionCount(push.message);
  ForEachContribution(push.message, [&](const FrameHeader& one) { Advance(part, one); });
  ForEachContribution(push.message, [&](const FrameHeader& one) {
    Count(part, one);
    staleness = std::max(staleness, version - std::min(version, one.version));
    part.members[one.worker] = {one.sequence, one.position};
  });
  const Table::Gradient one{&push.message, 1};
  if (settings.mode->content == PushContent::kDifference) {
    table.Add(part, {&one, 1});
  } else {
    kernels::Hyper hyper = HyperAt(header.clock, settings);
    if (settings.sync.divide_by_staleness() && staleness > 1) {
      // Zhang et al. 2016, "Staleness-aware async-SGD".
      hyper.learning_rate /= static_cast<float>(staleness);
    }
    const Payload* then = nullptr;
    if (settings.sync.delay_compensation() > 0 && staleness > 0 && !part.sent.empty()) {
      for (const Table::Sent& sent : part.sent[header.worker]) {
        if (sent.version == header.version) then = &sent.values;
      }
    }
    table.Apply(part, hyper, {&one, 1}, {settings.sync.delay_compensation(), then});
  }
  ++stats_.updates;
  header.version = version;
  Acknowledge(push.route, header, Refusal::kNone, "", actions);
}

void ShardCore::CloseIfDue(Table& table, Table::Part& part, std::vector<Action>& actions) {
  const Settings& settings = SettingsOf(part);
  // Where rounds have ended before their time, nobody pushes what the held ones wait for.
  const bool ended = !InRounds(settings) && !part.held.empty();
  if (!ended && !settings.mode->closes(settings.sync, View(part))) return;
  // In the order of partitions, whatever the order of arrival: the same bits each time.
  std::sort(part.held.begin(), part.held.end(), [](const auto& a, const auto& b) {
    return FirstContribution(a.message).worker < FirstContribution(b.message).worker;
  });
  uint64_t samples = 0;
  for (const Table::Held& held : part.held) {
    ForEachContribution(held.message, [&](const FrameHeader& one) { samples += one.samples; });
  }
  std::vector<Table::Gradient> pushes;
  for (const Table::Held& held : part.held) {
    double weight = 0;
    ForEachContribution(held.message, [&](const FrameHeader& one) {
      weight += samples == 0 ? 1.0 / part.held_pushes : static_cast<double>(one.samples) / samples;
      Count(part, one);
    });
    pushes.push_back({&held.message, static_cast<float>(weight)});
    if (ContributionCount(held.message) > 1) stats_.combined += ContributionCount(held.message);
  }
  const uint64_t version = part.version;
  if (!pushes.empty()) {
    switch (settings.mode->content) {
      case PushContent::kGradient: table.Apply(part, HyperAt(part.clock, settings), pushes, {}); break;
      case PushContent::kParameters: table.Replace(part, pushes); break;
      case PushContent::kDifference:
        for (Table::Gradient& push : pushes) push.weight = 1;
        table.Add(part, pushes);
        break;
    }
    ++stats_.updates;
  }
  ++part.clock;
  for (Table::Held& held : std::exchange(part.held, {})) {
    ForgetHeld(part, held.message);
    ForEachContribution(held.message, [&](const FrameHeader& one) {
      if (one.sequence > part.members[one.worker].sequence) part.members[one.worker] = {one.sequence, one.position};
    });
    FrameHeader& header = held.message.header;
    header.version = version;
    Acknowledge(held.route, header, Refusal::kNone, "", actions);
  }
}

// ---- Pulls.

void ShardCore::On(Pull event, std::vector<Action>& actions) {
  Table* table = nullptr;
  std::string sentence;
  Table::Part* part = Locate(event.header, nullptr, &table, &sentence);
  const bool may = event.header.codec == CodecId::kRaw || event.header.codec == codecs_.pull->id;
  if (part != nullptr && !may) sentence = WrongCodec(event.header, *codecs_.pull);
  if (!sentence.empty()) {
    return RefusePull(event.route, event.header, Refusal::kMalformed, sentence, actions);
  }
  if (leases_.IsObserver(event.header.fence) && !FindCodec(event.header.codec)->for_parameters) {
    return RefusePull(event.route, event.header, Refusal::kMalformed, "differences are for workers", actions);
  }
  if (!leases_.Holds(event.header) && !leases_.IsObserver(event.header.fence)) {
    const auto [reason, why] = leases_.WhyNot(event.header);
    return RefusePull(event.route, event.header, reason, why, actions);
  }
  if (draining_) return RefusePull(event.route, event.header, Refusal::kShuttingDown, kDraining, actions);
  const Settings* const settings = settings_.Version(event.header.settings);
  if (settings == nullptr) {
    return RefusePull(event.route, event.header, Refusal::kNewSettings,
                      absl::StrCat("this server knows no version ", event.header.settings, " of the settings"), actions);
  }
  EnterRounds(*part, *settings);
  AnswerParked(*table, *part, actions);
  if (part->set && MayRead(*part, event.header)) return SendValues(*table, *part, event.route, event.header, actions);
  part->parked.push_back({event.route, event.header, now_ms_});
  ++stats_.parked;
  if (leases_.NobodyIsLeft()) {
    RefuseParked(Refusal::kNoMembers, "no worker is left that could complete what this fetch waits for",
                 actions);
  }
}

void ShardCore::AnswerParked(Table& table, Table::Part& part, std::vector<Action>& actions) {
  const Table::Reads now{part.set, part.warm, part.clock, part.clocks.slowest(), settings_.changes().size()};
  if (!part.set || part.parked_at == now) return;
  part.parked_at = now;
  std::erase_if(part.parked, [&](const Table::Parked& parked) {
    if (!MayRead(part, parked.header)) return false;
    --stats_.parked;
    SendValues(table, part, parked.route, parked.header, actions);
    return true;
  });
}

bool ShardCore::MayRead(const Table::Part& part, const FrameHeader& pull) const {
  const bool observer = leases_.IsObserver(pull.fence);
  if (!part.warm && pull.worker != 0 && !observer) return false;
  const Settings& settings = *settings_.Version(pull.settings);
  uint64_t clock = pull.clock;
  if (!observer && InRounds(settings)) {
    // A push that was not taken makes no clock to wait for, and where rounds have ended no clock closes.
    clock = std::min(clock, part.clocks[pull.worker].clock);
    if (!InRounds(SettingsOf(part))) return true;
  }
  return settings.mode->read_clock(View(part)) >= clock;
}

void ShardCore::SendValues(Table& table, Table::Part& part, const Route& route, const FrameHeader& pull,
                           std::vector<Action>& actions) {
  const Settings& settings = *settings_.Version(pull.settings);
  const Sync& sync = settings.sync;
  const bool compensates = sync.delay_compensation() > 0 && !leases_.IsObserver(pull.fence);
  const Codec& codec = *FindCodec(pull.codec);
  DeltaAnswer delta;
  if (!codec.for_parameters) delta = table.Difference(part, pull, codecs_, GoTogether(settings));
  const bool difference = delta.kind == DeltaAnswer::Kind::kDifference;
  const bool raw = codec.id == CodecId::kRaw || (!codec.for_parameters && !difference);
  const Payload values = delta.kind != DeltaAnswer::Kind::kValues ? delta.payload
                         : raw                                    ? table.Snapshot(part)
                                                                  : table.Snapshot(part, codec);
  if (values.size() == 0) {
    ++stats_.refused[static_cast<size_t>(Refusal::kOverload)];
    actions.push_back(Reply{route, MakeRefusal(pull, Refusal::kOverload, "the server is out of memory")});
    return;
  }
  FrameHeader header = AnswerTo(pull, FrameKind::kValues);
  const uint64_t clock = settings.mode->read_clock(View(part));
  header.clock = clock == kAnyClock ? part.clock : clock;
  header.version = part.version;
  header.elements = static_cast<uint32_t>(part.values.size());
  header.codec = raw ? CodecId::kRaw : codec.id;
  header.content = difference ? PushContent::kDifference : PushContent::kParameters;
  header.payload_bytes = static_cast<uint32_t>(values.size());
  if (compensates) {
    part.sent.resize(leases_.partitions());
    auto& sent = part.sent[pull.worker];
    if (sent.empty() || sent.back().version != part.version) {
      if (const Payload exact = raw ? values : table.Snapshot(part); exact.size() != 0) {
        sent.push_back({part.version, exact});
      }
    }
    // What a worker may have in use: installed, on its way, accrued, and behind each push under way.
    if (sent.size() > sync.max_pushes_in_flight() + 3) sent.erase(sent.begin());
  }
  ++stats_.pulls;
  stats_.sent_bytes += values.size();
  actions.push_back(Reply{route, {header, values}});
}

void ShardCore::RefuseParked(Refusal reason, const std::string& sentence, std::vector<Action>& actions) {
  ForEachPart([&](Table&, Table::Part& part) {
    for (const Table::Parked& parked : std::exchange(part.parked, {})) {
      RefusePull(parked.route, parked.header, reason, sentence, actions);
      --stats_.parked;
    }
  });
}

void ShardCore::On(Change event, std::vector<Action>& actions) {
  if (!settings_.Add(event.change).ok()) return;
  ForEachPart([&](Table& table, Table::Part& part) {
    Settle(table, part, actions);
  });
}

void ShardCore::On(Tick event, std::vector<Action>& actions) {
  now_ms_ = std::max(now_ms_, event.now_ms);
  if (stats_.parked + stats_.held == 0) return;
  ForEachPart([&](Table&, Table::Part& part) { RefuseOverdue(part, actions); });
}

void ShardCore::RefuseOverdue(Table::Part& part, std::vector<Action>& actions) {
  const auto why = [&](const FrameHeader& frame, int64_t since_ms) {
    return WhyOverdue(*settings_.Version(frame.settings), leases_, {View(part), part.set, part.warm},
                      {frame.worker, frame.clock, since_ms}, now_ms_);
  };
  stats_.parked -= std::erase_if(part.parked, [&](const Table::Parked& parked) {
    const auto overdue = why(parked.header, parked.since_ms);
    if (overdue) RefusePull(parked.route, parked.header, overdue->reason, overdue->sentence, actions);
    return overdue.has_value();
  });
  const auto held_too_long = [&](const Table::Held& held) {
    const auto overdue = why(FirstContribution(held.message), held.since_ms);
    if (overdue) part.parked_at.reset();  // what its workers wait for is less now
    return overdue;
  };
  DropHeld(part, held_too_long, actions);
}

void ShardCore::On(Drain, std::vector<Action>& actions) {
  draining_ = true;
  RefuseParked(Refusal::kShuttingDown, kDraining, actions);
  ForEachPart([&](Table&, Table::Part& part) {
    const auto all = [](const Table::Held&) { return std::optional(Overdue{Refusal::kShuttingDown, kDraining}); };
    DropHeld(part, all, actions);
  });
}

// ---- Answers.

void ShardCore::Acknowledge(const Route& route, const FrameHeader& frame, Refusal reason,
                            std::string sentence, std::vector<Action>& actions) {
  if (reason != Refusal::kNone) ++stats_.refused[static_cast<size_t>(reason)];
  actions.push_back(Reply{route, MakeRefusal(frame, reason, std::move(sentence))});
}

void ShardCore::RefusePull(const Route& route, const FrameHeader& pull, Refusal reason, std::string sentence,
                           std::vector<Action>& actions) {
  ++stats_.refused[static_cast<size_t>(reason)];
  actions.push_back(Reply{route, MakeRefusal(pull, reason, std::move(sentence))});
}

}  // namespace downpour::ps
