#include "bench/simulation/server.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "ps/flow_limits.h"

namespace downpour::bench {
namespace {

constexpr double kEventBytes = 256;  // beside its payload, as in ps/shard.cc
constexpr std::array kEventNames = {"create table", "join", "leave",  "hangup", "set",   "push",
                                    "pull",         "change", "tick", "drain", "checkpoint", "restore"};
static_assert(kEventNames.size() == std::variant_size_v<ps::Event>);

Ns NsOf(double bytes, double gbps) { return static_cast<Ns>(bytes / gbps); }

// The frame of a set or a push; null for anything else.
const Message* MessageOf(const ps::Event& event) {
  if (const auto* push = std::get_if<ps::Push>(&event)) return &push->message;
  if (const auto* set = std::get_if<ps::Set>(&event)) return &set->message;
  return nullptr;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SimulatedServer>> SimulatedServer::Create(const Job& job, const ServerTimes& times,
                                                                         std::uint32_t index, const Layout* layout,
                                                                         Timeline* timeline, Meter* meter, Sink* sink) {
  std::unique_ptr<SimulatedServer> server(new SimulatedServer(job, times, index, layout, timeline, meter, sink));
  for (std::uint32_t i = 0; i < job.servers().shards(); ++i) {
    auto core = ps::ShardCore::Create(job);
    if (!core.ok()) return core.status();
    Shard& shard = server->shards_.emplace_back();
    shard.core = *std::move(core);
    ps::CreateTable create;
    for (const PartLayout& part : layout->parts) {
      if (part.server != index || part.shard != i) continue;
      create.parts.push_back(part.range);
      shard.part_bytes += part.float_bytes;
    }
    shard.part_bytes /= static_cast<double>(std::max<std::size_t>(1, create.parts.size()));
    std::vector<ps::Action> actions;
    shard.core->Handle(std::move(create), actions);
    if (!std::get<ps::Created>(actions.at(0)).ok) return absl::ResourceExhaustedError("no memory for the tables");
  }
  return server;
}

SimulatedServer::SimulatedServer(const Job& job, const ServerTimes& times, std::uint32_t index, const Layout* layout,
                                 Timeline* timeline, Meter* meter, Sink* sink)
    : job_(job),
      times_(times),
      index_(index),
      layout_(layout),
      timeline_(timeline),
      meter_(meter),
      sink_(sink),
      directory_(layout->DirectoryOf(index)),
      membership_(job.workers(), job.worker().lease_ms()),
      streams_(job.workers()) {}

void SimulatedServer::Register(std::uint32_t worker) {
  const auto admission = membership_.Register({.partition = worker, .host = "simulated", .pid = worker}, NowMs());
  if (!admission.ok()) return meter_->Fail(admission.status());
  FrameHeader hello;
  hello.worker = worker;
  hello.fence = admission->fence;
  hello.job = JobId(job_.name());
  streams_[worker].emplace(directory_, hello, layout_->credit_bytes);
  gathered_[worker].registered.fence = admission->fence;
  for (std::uint32_t i = 0; i < shards_.size(); ++i) {
    Post(i, ps::Join{.ticket = worker, .partition = worker, .fence = admission->fence}, false);
  }
}

void SimulatedServer::Leave(std::uint32_t worker, std::uint64_t fence) {
  LeaveRequest request;
  request.set_partition(worker);
  request.set_fence(fence);
  request.set_outcome(DONE);
  if (absl::Status status = membership_.Leave(request, NowMs()); !status.ok()) return meter_->Fail(status);
  // A ticket that nobody waits for.
  for (std::uint32_t i = 0; i < shards_.size(); ++i) {
    Post(i, ps::Leave{.ticket = job_.workers(), .partition = worker, .fence = fence, .done = true}, false);
  }
}

void SimulatedServer::Receive(std::uint32_t worker, std::span<const std::byte> bytes, Payload payload) {
  const auto header = DecodeFrameHeader(bytes);
  if (!header.ok()) return meter_->Fail(header.status());
  const ps::Intake::Verdict verdict = streams_[worker]->Take(*header);
  if (!verdict.end.ok()) return meter_->Fail(verdict.end);
  const ps::Route route{worker, header->payload_bytes};
  if (!verdict.shard) {
    return Answer(worker, route.bytes, ps::MakeRefusal(*header, verdict.reason, verdict.sentence));
  }
  Message message{*header, std::move(payload)};
  bool taken = false;
  switch (header->kind) {
    case FrameKind::kSet: taken = Post(*verdict.shard, ps::Set{route, std::move(message)}, true); break;
    case FrameKind::kPush: taken = Post(*verdict.shard, ps::Push{route, std::move(message)}, true); break;
    default: taken = Post(*verdict.shard, ps::Pull{route, *header}, true); break;
  }
  if (!taken) {
    Answer(worker, route.bytes, ps::MakeRefusal(*header, Refusal::kOverload, "the shard's queue is full"));
  }
}

void SimulatedServer::Tick() {
  for (std::uint32_t i = 0; i < shards_.size(); ++i) Post(i, ps::Tick{NowMs()}, false);
}

bool SimulatedServer::Post(std::uint32_t index, ps::Event event, bool bounded) {
  Shard& shard = shards_[index];
  const Message* const message = MessageOf(event);
  const double bytes = kEventBytes + (message == nullptr ? 0 : static_cast<double>(layout_->LinkBytes(*message)));
  const std::uint64_t more = std::holds_alternative<ps::Pull>(event) ? ps::RoomForPulls(layout_->queue_limit_bytes) : 0;
  if (bounded && shard.queued_bytes + bytes > static_cast<double>(layout_->queue_limit_bytes + more)) return false;
  shard.queued_bytes += bytes;
  if (meter_->measuring) meter_->queued_bytes = std::max(meter_->queued_bytes, shard.queued_bytes);
  shard.queue.push_back({std::move(event), timeline_->now(), bytes});
  Work(shard);
  return true;
}

void SimulatedServer::Work(Shard& shard) {
  if (shard.working || shard.queue.empty()) return;
  Queued next = std::move(shard.queue.front());
  shard.queue.pop_front();
  Handled handled{.tick = std::holds_alternative<ps::Tick>(next.event)};
  CoreTime& core = meter_->core[kEventNames[next.event.index()]];
  if (const Message* const message = MessageOf(next.event)) {
    handled.frame = message->header.kind;
    handled.part = message->header.part;
    if (handled.frame == FrameKind::kPush) {
      shard.arrivals[{message->header.worker, message->header.part}] = next.arrived;
    }
  }
  const ps::CoreStats before = shard.core->stats();
  std::vector<ps::Action> actions;
  const auto began = std::chrono::steady_clock::now();
  shard.core->Handle(std::move(next.event), actions);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  ++core.events;
  core.seconds += seconds;
  core.longest = std::max(core.longest, seconds);
  if (meter_->measuring) {
    double held = 0;
    for (const Shard& each : shards_) held += static_cast<double>(each.core->stats().held) * each.part_bytes;
    meter_->held_bytes = std::max(meter_->held_bytes, held);
  }

  const Ns taken = TimeOf(shard, handled, before, actions);
  shard.working = true;
  shard.taken += taken;
  shard.free_at = timeline_->now() + taken;
  timeline_->At(shard.free_at, [this, &shard, bytes = next.bytes, actions = std::move(actions)]() mutable {
    shard.queued_bytes -= bytes;
    for (ps::Action& action : actions) Deliver(shard, std::move(action));
    shard.working = false;
    Work(shard);
  });
}

Ns SimulatedServer::TimeOf(Shard& shard, const Handled& handled, const ps::CoreStats& before,
                           std::span<const ps::Action> actions) const {
  if (handled.tick) return 0;
  const ps::CoreStats& after = shard.core->stats();
  const double bytes = layout_->parts[handled.part].float_bytes;
  double us = times_.frame_us;
  Ns ns = 0;
  if (handled.frame == FrameKind::kPush && (after.held > before.held || after.pushes > before.pushes)) {
    ns += NsOf(bytes, times_.check_rate);
  }
  if (handled.frame == FrameKind::kSet && after.sets > before.sets) {
    ns += NsOf(bytes, times_.check_rate) + NsOf(bytes, times_.copy_rate);
  }
  const std::uint64_t gradients = after.pushes - before.pushes;
  const std::uint64_t updates = after.updates - before.updates;
  ns += NsOf(static_cast<double>(updates) * shard.part_bytes, times_.apply_rate);
  if (gradients > updates) ns += NsOf(static_cast<double>(gradients) * shard.part_bytes, times_.sum_rate);
  for (const ps::Action& action : actions) {
    const auto* reply = std::get_if<ps::Reply>(&action);
    if (reply == nullptr) continue;
    us += times_.answer_us;
    if (reply->message.header.kind != FrameKind::kValues) continue;
    const std::uint32_t part = reply->message.header.part;
    const void* const values = reply->message.payload.owner().get();
    if (std::exchange(shard.snapshots[part], values) != values) {
      ns += NsOf(layout_->parts[part].float_bytes, times_.copy_rate);
    }
  }
  return ns + static_cast<Ns>(us * 1e3);
}

void SimulatedServer::Deliver(Shard& shard, ps::Action action) {
  if (const auto* report = std::get_if<ps::Report>(&action)) return Deliver(*report);
  ps::Reply& reply = std::get<ps::Reply>(action);
  const FrameHeader& header = reply.message.header;
  if (header.kind == FrameKind::kAck && header.sequence > 0) {
    const auto arrival = shard.arrivals.find({header.worker, header.part});
    if (arrival != shard.arrivals.end()) {
      if (meter_->measuring && header.reason == Refusal::kNone) {
        meter_->apply_ms.push_back(
            static_cast<float>(static_cast<double>(timeline_->now() - arrival->second) / kNsInMs));
      }
      shard.arrivals.erase(arrival);
    }
  }
  Answer(static_cast<std::uint32_t>(reply.route.stream), reply.route.bytes, std::move(reply.message));
}

void SimulatedServer::Deliver(const ps::Report& report) {
  const auto found = gathered_.find(report.ticket);
  if (found == gathered_.end()) return;
  Gathered& gathered = found->second;
  auto& unset = gathered.registered.unset_parts;
  unset.insert(unset.end(), report.unset_parts.begin(), report.unset_parts.end());
  if (report.progress && (!gathered.progress || std::pair(report.progress->sequence, report.progress->clock) <
                                                    std::pair(gathered.progress->sequence, gathered.progress->clock))) {
    gathered.progress = report.progress;
  }
  if (++gathered.reports < shards_.size()) return;
  std::ranges::sort(unset);
  if (gathered.progress) gathered.registered.progress = *gathered.progress;
  sink_->OnRegistered(index_, static_cast<std::uint32_t>(report.ticket), std::move(gathered.registered));
  gathered_.erase(found);
}

void SimulatedServer::Answer(std::uint32_t worker, std::uint32_t bytes, Message message) {
  streams_[worker]->Release(message.header.kind, bytes);
  sink_->ToWorker(index_, worker, std::move(message));
}

SimulatedServer::Counts SimulatedServer::counts() const {
  Counts counts;
  for (const Shard& shard : shards_) {
    const ps::CoreStats& stats = shard.core->stats();
    counts.gradients += stats.pushes;
    counts.updates += stats.updates;
    counts.lead_sum += stats.lead_sum;
    counts.largest_lead = std::max(counts.largest_lead, stats.largest_lead);
  }
  return counts;
}

std::vector<Ns> SimulatedServer::busy() const {
  std::vector<Ns> busy;
  for (const Shard& shard : shards_) busy.push_back(shard.taken - std::max<Ns>(0, shard.free_at - timeline_->now()));
  return busy;
}

std::uint64_t SimulatedServer::Checksum() const {
  std::uint64_t sum = 0;
  for (const Shard& shard : shards_) sum += shard.core->Checksum();
  return sum;
}

}  // namespace downpour::bench
