#include "worker/combine/combiner.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "kernels/vector_ops.h"
#include "proto/codec/block_reader.h"

namespace downpour::worker {
namespace {

constexpr int kMostMissed = 2;

// The floats of a raw payload where they lie; empty where they lie in pieces.
std::span<const float> InPlace(const Payload& payload) {
  if (payload.chunks().size() != 1) return {};
  const Payload::Bytes bytes = payload.chunks().front();
  if (reinterpret_cast<uintptr_t>(bytes.data()) % alignof(float) != 0) return {};
  return {reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)};
}

void AddScaled(float weight, const Message& push, std::span<float> to) {
  if (const std::span<const float> values = InPlace(push.payload); values.size() == to.size()) {
    return kernels::Axpy(weight, values, to);
  }
  auto reader = BlockReader::Open(CodecId::kRaw, push.payload, static_cast<uint32_t>(to.size()));
  if (!reader.ok()) return;  // whoever added it has seen to its length
  std::vector<float> scratch(4096);
  for (size_t at = 0; at < to.size();) {
    const std::span<const float> block = (*reader)->Next(to.size() - at, scratch);
    if (block.empty()) return;
    kernels::Axpy(weight, block, to.subspan(at, block.size()));
    at += block.size();
  }
}

Contributor ContributorOf(const FrameHeader& header) {
  return {header.worker,   header.samples,  header.fence,  header.clock,
          header.sequence, header.position, header.version};
}

}  // namespace

Message AckFor(const FrameHeader& push, Refusal reason, uint64_t version) {
  Message ack{push, {}};
  ack.header.kind = FrameKind::kAck;
  ack.header.codec = CodecId::kRaw;
  ack.header.place = PayloadPlace::kFollows;
  ack.header.reason = reason;
  ack.header.samples = 0;
  ack.header.elements = 0;
  ack.header.payload_bytes = 0;
  if (reason == Refusal::kNone) ack.header.version = version;
  return ack;
}

Combiner::Combiner(std::vector<uint32_t> elements, Wire* wire, std::chrono::milliseconds patience)
    : elements_(std::move(elements)), wire_(wire), patience_(patience), parts_(elements_.size()), members_({kOwn}) {
  thread_ = std::thread([this] { Run(); });
}

Combiner::~Combiner() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Combiner::Join(uint64_t member) {
  std::lock_guard lock(mutex_);
  members_.insert(member);
}

void Combiner::Leave(uint64_t member) {
  {
    std::lock_guard lock(mutex_);
    members_.erase(member);
    for (Part& part : parts_) {
      std::erase_if(part.waiting, [member](const Contribution& one) { return one.member == member; });
      part.missed.erase(member);
    }
  }
  changed_.notify_all();
}

void Combiner::Add(Contribution contribution) {
  const FrameHeader& header = contribution.push.header;
  const std::optional<Waiting> waits = wire_->WaitsUnder(header.settings);
  contribution.waits = waits.value_or(Waiting::kForNobody);
  contribution.since = Clock::now();
  const bool own = contribution.member == kOwn;
  {
    std::lock_guard lock(mutex_);
    Part& part = parts_[header.part];
    // Behind what waits for its clock there may be no room for what it waits for.
    const bool late = contribution.in_rounds() && header.clock < part.rounds_sent;
    if (!late || contribution.waits == Waiting::kForAll) part.missed[contribution.member] = 0;
    // No clock can be more than one ahead of the last, whatever a member says; only one's own may begin later.
    const bool ahead = contribution.in_rounds() && header.clock > part.rounds_sent && !own;
    if (late && header.clock + 1 == part.rounds_sent) {
      Expect(&part, contribution.waits, contribution.since - part.begun);
    }
    contribution.alone = late || ahead || !waits || header.content != PushContent::kGradient;
    if (!contribution.alone || own) {
      part.waiting.push_back(std::move(contribution));
      changed_.notify_all();
      return;
    }
  }
  contribution.answer(AckFor(contribution.push.header, Refusal::kAlone, 0));
}

void Combiner::Run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    std::optional<Clock::time_point> first;
    std::optional<uint32_t> due;
    for (uint32_t i = 0; i < parts_.size() && !due; ++i) {
      const auto at = DueAt(parts_[i]);
      if (at && *at <= Clock::now()) due = i;
      if (at && (!first || *at < *first)) first = at;
    }
    if (!due) {
      if (first) {
        changed_.wait_until(lock, *first);
      } else {
        changed_.wait(lock);
      }
      continue;
    }
    Part& part = parts_[*due];
    if (part.spare.empty()) part.spare.push_back(std::make_unique<Flight>());
    std::unique_ptr<Flight> flight = std::move(part.spare.back());
    part.spare.pop_back();
    flight->answered = false;
    flight->members = TakeTogether(&part);
    const uint64_t number = ++sent_;
    lock.unlock();
    if (Make(*due, flight.get())) {
      // By which the answer is known.
      if (flight->sent.header.sequence == 0) flight->sent.header.position = number;
      Message push = flight->sent;
      lock.lock();
      part.flights.push_back(std::move(flight));
      lock.unlock();
      wire_->Send(std::move(push));
    } else {
      lock.lock();
      const std::vector<Contribution> members = Release(&part, std::move(flight), true);
      lock.unlock();
      SendAway(members);
    }
    lock.lock();
  }
}

std::optional<Combiner::Clock::time_point> Combiner::DueAt(const Part& part) {
  if (part.waiting.empty()) return std::nullopt;
  const Contribution& first = part.waiting.front();
  if (first.in_rounds()) {
    const bool now = first.alone || part.waiting.size() >= Expected(part);
    return now ? first.since : first.since + std::max<Clock::duration>(patience_, part.patience);
  }
  const bool busy = std::ranges::any_of(part.flights, [](const auto& flight) { return !flight->members[0].in_rounds(); });
  return busy ? std::nullopt : std::optional(first.since);
}

size_t Combiner::Expected(const Part& part) const {
  return std::ranges::count_if(members_, [&part](uint64_t member) {
    const auto missed = part.missed.find(member);
    return missed == part.missed.end() || missed->second < kMostMissed;
  });
}

void Combiner::Expect(Part* part, Waiting waits, Clock::duration late) {
  if (waits != Waiting::kForAll) return;  // others need not wait for whoever is slow
  part->patience = std::max(part->patience, std::min<Clock::duration>(late * 3 / 2, kMostPatience));
}

std::vector<Combiner::Contribution> Combiner::TakeTogether(Part* part) {
  std::vector<Contribution> together;
  together.push_back(std::move(part->waiting.front()));
  part->waiting.pop_front();
  const FrameHeader first = together.front().push.header;
  const bool in_rounds = together.front().in_rounds();
  const bool next_clock = in_rounds && first.clock >= part->rounds_sent;
  if (next_clock) {
    part->rounds_sent = first.clock + 1;
    part->begun = together.front().since;
    part->patience = part->patience * 9 / 10;  // less may do
  }
  if (together.front().alone) return together;
  std::set<uint32_t> workers = {first.worker};
  std::erase_if(part->waiting, [&](Contribution& next) {
    const FrameHeader& header = next.push.header;
    const bool fits = !next.alone && header.content == first.content && header.settings == first.settings &&
                      (!in_rounds || header.clock == first.clock) && together.size() <= kMaxContributors;
    // Of a worker that has two the earlier is in front.
    if (!workers.insert(header.worker).second || !fits) return false;
    together.push_back(std::move(next));
    return true;
  });
  if (next_clock) {
    Expect(part, together.front().waits, together.back().since - together.front().since);
    for (const uint64_t member : members_) {
      const bool came = std::ranges::any_of(together, [member](const auto& one) { return one.member == member; });
      part->missed[member] = came ? 0 : part->missed[member] + 1;
    }
  }
  // The same sum whoever came first.
  std::ranges::sort(together, {}, [](const Contribution& one) { return one.push.header.worker; });
  return together;
}

std::span<const float> Combiner::ValuesOf(uint32_t index, Flight* flight) {
  const std::vector<Contribution>& together = flight->members;
  // Another's memory may change before what was made of it is known to be taken.
  if (together.size() == 1 && (together.front().member == kOwn || !wire_->encodes())) {
    if (const std::span<const float> values = InPlace(together.front().push.payload); !values.empty()) return values;
  }
  // Of the push before, its frame may not have left its last place yet.
  if (flight->sum == nullptr || flight->sum.use_count() > 1) {
    flight->sum = std::make_shared<kernels::AlignedBuffer>(elements_[index]);
  }
  std::atomic_thread_fence(std::memory_order_acquire);  // what the last holder read, it has read
  const std::span<float> sum(flight->sum->data(), elements_[index]);
  kernels::Zero(sum);
  uint64_t samples = 0;
  for (const Contribution& one : together) samples += one.push.header.samples;
  const bool mean = together.front().in_rounds();
  for (const Contribution& one : together) {
    double weight = 1;
    if (mean) {
      weight = samples == 0 ? 1.0 / static_cast<double>(together.size())
                            : static_cast<double>(one.push.header.samples) / static_cast<double>(samples);
    }
    AddScaled(static_cast<float>(weight), one.push, sum);
  }
  return sum;
}

bool Combiner::Make(uint32_t index, Flight* flight) {
  const std::vector<Contribution>& together = flight->members;
  Message& push = flight->sent;
  push = {wire_->HeaderFor(index), {}, {}};
  FrameHeader& header = push.header;
  const FrameHeader& first = together.front().push.header;
  header.kind = FrameKind::kPush;
  header.content = first.content;
  header.settings = first.settings;
  header.elements = first.elements;
  uint64_t samples = 0;
  for (const Contribution& one : together) {
    const FrameHeader& its = one.push.header;
    samples += its.samples;
    header.clock = std::max(header.clock, its.clock);
    if (one.member != kOwn) push.contributors.push_back(ContributorOf(its));
  }
  for (const Contribution& one : together) {
    const FrameHeader& its = one.push.header;
    if (one.member != kOwn) continue;
    header.clock = its.clock;
    header.sequence = its.sequence;
    header.position = its.position;
    header.version = its.version;
    header.samples = its.samples;
  }
  header.contributors = static_cast<uint16_t>(push.contributors.size());

  flight->values = ValuesOf(index, flight);
  // What is not finite would stay in the error that is carried.
  if (!push.contributors.empty() && !kernels::AllFinite(flight->values)) return false;
  // Where nothing is behind it nothing of what waits may go with it.
  if (samples > 0 && wire_->encodes()) {
    if (flight->coded == nullptr || flight->coded.use_count() > 1) flight->coded = std::make_shared<ByteBuffer>();
    std::atomic_thread_fence(std::memory_order_acquire);
    header.codec = wire_->Encode(index, flight->values, flight->coded.get());
    push.payload = Payload(flight->coded, std::vector<Payload::Bytes>{flight->coded->bytes()});
  } else if (flight->sum != nullptr && flight->values.data() == flight->sum->data()) {
    push.payload = Payload(flight->sum, flight->values);
  } else {
    push.payload = together.front().push.payload;
  }
  header.payload_bytes = static_cast<uint32_t>(push.payload.size());
  return true;
}

std::optional<uint64_t> Combiner::OnAck(const Message& ack) {
  const FrameHeader& header = ack.header;
  std::unique_lock lock(mutex_);
  if (header.part >= parts_.size()) return std::nullopt;
  Part& part = parts_[header.part];
  const auto found = std::ranges::find_if(part.flights, [&](const auto& flight) {
    return !flight->answered && flight->sent.header.sequence == header.sequence &&
           flight->sent.header.position == header.position;
  });
  if (found == part.flights.end()) return std::nullopt;
  Flight* const flight = found->get();
  const uint64_t bytes = flight->sent.payload.size();
  if (header.reason == Refusal::kOverload) {
    // The same again, which the sequence numbers make safe.
    Message again = flight->sent;
    lock.unlock();
    wire_->Send(std::move(again));
    return bytes;
  }
  flight->answered = true;  // and still in the way of what waits
  const bool shared = !flight->sent.contributors.empty();
  const bool refused = shared && header.reason != Refusal::kNone;
  lock.unlock();
  if (refused && flight->sent.header.codec != CodecId::kRaw) {
    wire_->TakeBack(header.part, flight->values, flight->sent);
  }
  lock.lock();
  const auto over = std::ranges::find_if(part.flights, [flight](const auto& each) { return each.get() == flight; });
  std::unique_ptr<Flight> ended = std::move(*over);
  part.flights.erase(over);
  const std::vector<Contribution> members = Release(&part, std::move(ended), refused);
  lock.unlock();
  if (refused) {
    SendAway(members);
  } else {
    for (const Contribution& one : members) {
      one.answer(shared ? AckFor(one.push.header, Refusal::kNone, header.version) : ack);
    }
  }
  return bytes;
}

std::vector<Combiner::Contribution> Combiner::Release(Part* part, std::unique_ptr<Flight> flight, bool again) {
  std::vector<Contribution> members = std::exchange(flight->members, {});
  flight->sent = {};
  part->spare.push_back(std::move(flight));
  for (const Contribution& one : members) {
    if (one.member != kOwn || !again) continue;
    part->waiting.push_front(one);
    part->waiting.front().alone = true;
  }
  changed_.notify_all();
  return members;
}

void Combiner::SendAway(const std::vector<Contribution>& members) {
  for (const Contribution& one : members) {
    if (one.member != kOwn) one.answer(AckFor(one.push.header, Refusal::kAlone, 0));
  }
}

}  // namespace downpour::worker
