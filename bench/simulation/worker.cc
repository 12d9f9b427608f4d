#include "bench/simulation/worker.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace downpour::bench {

SimulatedWorker::SimulatedWorker(const Surroundings& surroundings, std::uint32_t index, double slow)
    : s_(surroundings),
      index_(index),
      slow_(slow),
      random_(surroundings.settings->seed, index + 1),
      streams_(surroundings.settings->servers),
      current_{std::vector<std::uint64_t>(parts()), std::vector<std::uint64_t>(parts())},
      fetch_(current_),
      fetch_seen_(parts()),
      owed_clocks_(parts()) {}

Process SimulatedWorker::Run() {
  const Settings& sync = *s_.sync;
  const SyncMode& mode = *sync.mode;
  for (std::uint32_t i = 0; i < streams_.size(); ++i) s_.transport->Register(i, index_);
  while (registered_ < streams_.size()) co_await changed_;
  step_ *= mode.steps_a_clock(sync.sync);
  first_step_ = step_;
  for (const std::uint32_t part : unset_parts_) {
    ++sets_in_flight_;
    ++s_.meter->account.sets;
    Send(part, {HeaderFor(FrameKind::kSet, part), Values(part)});
  }
  while (sets_in_flight_ > 0) co_await changed_;
  heard_ = s_.timeline->now();

  bool last = false;
  while (!last) {
    StepPlan plan;
    last = stopping_;
    if (!last) {
      fetched_ = false;
      do {
        plan = Plan();
        const bool again = std::exchange(refetch_, false);
        if (again && fetch_started_) {
          StartWaiting();
          while (!fetch_arrived()) co_await changed_;
          StopWaiting();
          Install();
        }
        if (again || plan.fetch) StartFetch(plan.fetch_clock, plan.after_own_push);
        if (fetch_started_ && (again || plan.wait_for_fetch)) {
          StartWaiting();
          while (!fetch_arrived()) co_await changed_;
          StopWaiting();
        }
        if (fetch_arrived()) Install();
        if (plan.follow_clock && fetched_ && seen_clock_ > step_) {
          if (step_ == first_step_) first_step_ = seen_clock_;
          step_ = seen_clock_;
        }
      } while (plan.wait_for_fetch);

      if (accrued_steps_++ == 0) accrued_versions_ = current_.versions;
      co_await Sleep{s_.timeline, DrawStep(random_, s_.settings->compute, slow_)};
      samples_ += s_.settings->batch;
    }

    if (plan.push || (last && accrued_steps_ > 0)) {
      if (mode.content == PushContent::kDifference) {
        StartFetch(0, Plan().after_own_push);
        StartWaiting();
        while (!fetch_arrived()) co_await changed_;
        StopWaiting();
        Install();
        accrued_versions_ = current_.versions;
      }
      Push(last ? step_ - 1 : step_);
      StartWaiting();
      while (pushes_.size() > plan.pushes_in_flight) co_await changed_;
      StopWaiting();
      if (std::exchange(refused_parts_, 0) > 0) refetch_ = true;
    }
    if (last) break;
    ++step_;
    ++s_.meter->steps;
    if (std::exchange(begun_, true)) continue;
    s_.meter->begin_seconds = static_cast<double>(s_.timeline->now()) / kNsInSecond;
  }
  while (!pushes_.empty() || (fetch_started_ && !fetch_arrived())) co_await changed_;
  for (std::uint32_t i = 0; i < streams_.size(); ++i) s_.transport->Leave(i, index_, streams_[i].fence);
}

StepPlan SimulatedWorker::Plan() const {
  return s_.sync->mode->on_step(s_.sync->sync, {.step = step_,
                                                .first_step = first_step_,
                                                .fetch_in_flight = fetch_started_,
                                                .fetched = fetched_,
                                                .seen_clock = seen_clock_});
}

void SimulatedWorker::StopWaiting() { waited_ += s_.timeline->now() - std::exchange(waiting_since_, -1); }

void SimulatedWorker::StartFetch(std::uint64_t clock, bool after_own_push) {
  const std::uint64_t number = next_fetch_++;
  fetch_missing_ = parts();
  fetch_seen_.assign(parts(), false);
  fetch_started_ = true;
  s_.meter->account.pulls += parts();
  for (std::uint32_t i = 0; i < parts(); ++i) {
    Message message{HeaderFor(FrameKind::kPull, i), {}};
    message.header.clock = after_own_push ? std::max(clock, owed_clocks_[i]) : clock;
    message.header.settings = s_.sync->version;
    message.header.sequence = number;
    Send(i, std::move(message));
  }
}

void SimulatedWorker::Install() {
  std::swap(current_, fetch_);
  seen_clock_ = *std::ranges::min_element(current_.clocks);
  fetch_started_ = false;
  fetched_ = true;
}

void SimulatedWorker::Push(std::uint64_t last_step) {
  accrued_steps_ = 0;
  PushInFlight& push = pushes_.emplace_back();
  push.sequence = next_sequence_++;
  push.sent = s_.timeline->now();
  push.versions = accrued_versions_;
  push.clocks = InRounds(*s_.sync) ? current_.clocks : std::vector<std::uint64_t>(parts(), last_step);
  push.answered.resize(parts());
  push.missing = parts();
  s_.meter->account.pushes += parts();
  for (std::uint32_t i = 0; i < parts(); ++i) {
    owed_clocks_[i] = push.clocks[i] + 1;
    SendPart(push, i);
  }
}

void SimulatedWorker::SendPart(const PushInFlight& push, std::uint32_t part) {
  Message message{HeaderFor(FrameKind::kPush, part), Values(part)};
  FrameHeader& header = message.header;
  header.clock = push.clocks[part];
  header.content = s_.sync->mode->content;
  header.settings = s_.sync->version;
  header.sequence = push.sequence;
  header.position = samples_;
  header.version = push.versions[part];
  header.samples = s_.settings->batch;
  Send(part, std::move(message));
}

void SimulatedWorker::OnRegistered(std::uint32_t server, const Registered& registered) {
  streams_[server].fence = registered.fence;
  streams_[server].credit = s_.layout->credit_bytes;
  step_ = std::max(step_, registered.progress.clock);
  unset_parts_.insert(unset_parts_.end(), registered.unset_parts.begin(), registered.unset_parts.end());
  ++registered_;
  changed_.Notify();
}

void SimulatedWorker::OnMessage(const Message& message) {
  const Ns now = s_.timeline->now();
  if (waiting_since_ >= 0 && s_.meter->measuring) {
    const double silence = static_cast<double>(now - std::max(heard_, waiting_since_)) / kNsInSecond;
    s_.meter->silence_seconds = std::max(s_.meter->silence_seconds, silence);
  }
  heard_ = now;
  switch (message.header.kind) {
    case FrameKind::kAck: OnAck(message.header); break;
    case FrameKind::kValues: OnValues(message.header); break;
    default:
      s_.meter->Fail(absl::UnavailableError(
          absl::StrCat("worker ", index_, " is refused: ", std::string(RefusalName(message.header.reason)))));
  }
  changed_.Notify();
}

void SimulatedWorker::OnValues(const FrameHeader& header) {
  if (header.sequence != next_fetch_ - 1 || !fetch_started_ || fetch_seen_[header.part]) {
    ++s_.meter->account.unexpected;
    return;
  }
  fetch_seen_[header.part] = true;
  fetch_.versions[header.part] = header.version;
  fetch_.clocks[header.part] = header.clock;
  --fetch_missing_;
  ++s_.meter->account.pulls_answered;
}

void SimulatedWorker::OnAck(const FrameHeader& header) {
  Account& account = s_.meter->account;
  Stream& stream = streams_[s_.layout->parts[header.part].server];
  stream.credit += s_.layout->elements(header.part) * sizeof(float);
  Flush(s_.layout->parts[header.part].server);
  if (header.sequence == 0) {
    if (sets_in_flight_ == 0) return void(++account.unexpected);
    --sets_in_flight_;
    ++(header.reason == Refusal::kNone ? account.sets_taken : account.refused[static_cast<std::size_t>(header.reason)]);
    return;
  }
  const auto push = std::ranges::find(pushes_, header.sequence, &PushInFlight::sequence);
  if (push == pushes_.end() || push->answered[header.part]) return void(++account.unexpected);
  switch (header.reason) {
    case Refusal::kNone:
      ++account.pushes_applied;
      if (s_.meter->measuring) {
        const std::uint64_t based_on = push->versions[header.part];
        s_.meter->staleness.push_back(static_cast<float>(header.version - std::min(based_on, header.version)));
      }
      break;
    case Refusal::kOverload: ++account.sent_again; return SendPart(*push, header.part);
    case Refusal::kClockClosed:
    case Refusal::kTooOld:
      ++account.refused[static_cast<std::size_t>(header.reason)];
      ++refused_parts_;
      break;
    default:
      s_.meter->Fail(absl::UnavailableError(
          absl::StrCat("a push of worker ", index_, " is refused: ", std::string(RefusalName(header.reason)))));
      return;
  }
  push->answered[header.part] = true;
  if (--push->missing > 0) return;
  if (s_.meter->measuring) {
    s_.meter->push_ms.push_back(static_cast<float>(static_cast<double>(s_.timeline->now() - push->sent) / kNsInMs));
  }
  pushes_.erase(push);
}

FrameHeader SimulatedWorker::HeaderFor(FrameKind kind, std::uint32_t part) const {
  FrameHeader header;
  header.kind = kind;
  header.job = JobId("scale");
  header.part = part;
  header.worker = index_;
  header.fence = streams_[s_.layout->parts[part].server].fence;
  if (kind != FrameKind::kPull) {
    header.elements = s_.layout->elements(part);
    header.payload_bytes = header.elements * sizeof(float);
  }
  return header;
}

Payload SimulatedWorker::Values(std::uint32_t part) const {
  const ps::PartRange& range = s_.layout->parts[part].range;
  return Payload(s_.values, std::span<const float>(*s_.values).subspan(range.begin, range.end - range.begin));
}

void SimulatedWorker::Send(std::uint32_t part, Message message) {
  const std::uint32_t server = s_.layout->parts[part].server;
  streams_[server].outgoing.push_back(std::move(message));
  Flush(server);
}

void SimulatedWorker::Flush(std::uint32_t server) {
  Stream& stream = streams_[server];
  while (!stream.outgoing.empty() && stream.outgoing.front().header.payload_bytes <= stream.credit) {
    stream.credit -= stream.outgoing.front().header.payload_bytes;
    s_.transport->ToServer(server, index_, stream.outgoing.front());
    stream.outgoing.pop_front();
  }
}

}  // namespace downpour::bench
