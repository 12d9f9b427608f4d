#include "worker/combine/combiner.h"

#include <catch2/catch.hpp>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <thread>

namespace downpour::worker {
namespace {

using namespace std::chrono_literals;

constexpr uint32_t kElements = 5;
constexpr uint32_t kRoundsVersion = 1;
constexpr uint32_t kBackupVersion = 2;  // rounds that close without the last
constexpr uint32_t kUnknownVersion = 9;

// Keeps what is sent until the test answers it.
class FakeWire final : public Combiner::Wire {
 public:
  FrameHeader HeaderFor(uint32_t part) override {
    FrameHeader header;
    header.kind = FrameKind::kPush;
    header.worker = 7;
    header.fence = 70;
    header.part = part;
    return header;
  }
  std::optional<Combiner::Waiting> WaitsUnder(uint32_t settings) override {
    if (settings == kUnknownVersion) return std::nullopt;
    return settings == kRoundsVersion  ? Combiner::Waiting::kForAll
           : settings == kBackupVersion ? Combiner::Waiting::kForMost
                                        : Combiner::Waiting::kForNobody;
  }
  bool encodes() const override { return coded; }
  CodecId Encode(uint32_t, std::span<const float> values, ByteBuffer* payload) override {
    payload->Clear();
    payload->Append(values[0]);
    return CodecId::kOneBit;
  }
  void TakeBack(uint32_t, std::span<const float> values, const Message& sent) override {
    std::lock_guard lock(mutex_);
    taken_back.push_back(values[0]);
    CHECK(sent.payload.size() == sizeof(float));
  }
  void Send(Message push) override {
    std::lock_guard lock(mutex_);
    sent_.push_back(std::move(push));
    changed_.notify_all();
  }

  Message Next() {
    std::unique_lock lock(mutex_);
    REQUIRE(changed_.wait_for(lock, 20s, [this] { return sent_.size() > read_; }));
    return sent_[read_++];
  }
  // What was sent and not taken by Next; gives the combiner's thread a moment to send what it should not.
  size_t unread() {
    std::this_thread::sleep_for(10ms);
    std::lock_guard lock(mutex_);
    return sent_.size() - read_;
  }

  bool coded = false;
  std::vector<float> taken_back;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Message> sent_;
  size_t read_ = 0;
};

// What members were told, by worker.
class Answers {
 public:
  std::function<void(Message)> Of(uint32_t worker) {
    return [this, worker](Message ack) {
      std::lock_guard lock(mutex_);
      all_[worker].push_back(ack.header);
      changed_.notify_all();
    };
  }
  FrameHeader Only(uint32_t worker) {
    std::lock_guard lock(mutex_);
    REQUIRE(all_[worker].size() == 1);
    return all_[worker][0];
  }
  size_t count(uint32_t worker) {
    std::lock_guard lock(mutex_);
    return all_[worker].size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint32_t, std::vector<FrameHeader>> all_;
};

Message PushOf(uint32_t worker, uint64_t sequence, float value, uint32_t part = 0) {
  auto values = std::make_shared<std::vector<float>>(kElements, value);
  Message push{{}, Payload(values, std::span<const float>(*values))};
  push.header.kind = FrameKind::kPush;
  push.header.worker = worker;
  push.header.fence = 10 * worker;
  push.header.part = part;
  push.header.sequence = sequence;
  push.header.clock = sequence - 1;
  push.header.position = 64 * sequence;
  push.header.version = 1000 + worker;
  push.header.samples = 64;
  push.header.elements = kElements;
  push.header.payload_bytes = kElements * sizeof(float);
  return push;
}

std::vector<float> Floats(const Payload& payload) {
  std::vector<float> floats(payload.size() / sizeof(float));
  PayloadReader(payload).Read(std::as_writable_bytes(std::span(floats)));
  return floats;
}

Message AckOf(const Message& push, Refusal reason = Refusal::kNone, uint64_t version = 5000) {
  Message ack{push.header, {}};
  ack.header.kind = FrameKind::kAck;
  ack.header.reason = reason;
  ack.header.version = version;
  ack.header.contributors = 0;
  ack.header.payload_bytes = 0;
  return ack;
}

// A combiner for worker 7, whose own pushes are member 0's, with workers 1 and 2 as members 1 and 2.
struct Host {
  explicit Host(std::chrono::milliseconds patience = 20s) : combiner({kElements, kElements}, &wire, patience) {
    combiner.Join(1);
    combiner.Join(2);
  }
  void Add(Message push, bool alone = false) {
    const uint32_t worker = push.header.worker;
    combiner.Add({.push = std::move(push),
                  .answer = answers.Of(worker),
                  .member = worker == 7 ? Combiner::kOwn : worker,
                  .alone = alone});
  }

  void AddUnder(uint32_t settings, uint32_t worker, uint64_t sequence) {
    Message push = PushOf(worker, sequence, 1);
    push.header.settings = settings;
    Add(std::move(push));
  }

  FakeWire wire;
  Answers answers;
  Combiner combiner;
};

TEST_CASE("where nothing is on its way a push goes at once, as it is") {
  Host host;
  const Message own = PushOf(7, 1, 2);
  host.Add(own);
  const Message sent = host.wire.Next();
  CHECK(sent.header.kind == FrameKind::kPush);
  CHECK(sent.header.sequence == 1);
  CHECK(sent.header.position == 64);
  CHECK(sent.header.samples == 64);
  CHECK(sent.contributors.empty());
  CHECK(sent.payload.chunks()[0].data() == own.payload.chunks()[0].data());
  CHECK(host.combiner.OnAck(AckOf(sent)) == kElements * sizeof(float));
  CHECK(host.answers.Only(7).reason == Refusal::kNone);
  CHECK(host.answers.Only(7).version == 5000);
}

TEST_CASE("what comes while a push is on its way goes together with the next") {
  Host host;
  host.Add(PushOf(7, 1, 1));
  const Message first = host.wire.Next();
  host.Add(PushOf(2, 1, 20));
  host.Add(PushOf(1, 4, 10));
  host.Add(PushOf(7, 2, 2));
  host.Add(PushOf(7, 3, 100));  // of one worker only one goes in one push
  CHECK(host.wire.unread() == 0);
  host.combiner.OnAck(AckOf(first));
  const Message second = host.wire.Next();
  CHECK(second.header.worker == 7);
  CHECK(second.header.sequence == 2);
  CHECK(second.header.contributors == 2);
  REQUIRE(second.contributors.size() == 2);
  CHECK(second.contributors[0] == Contributor{1, 64, 10, 3, 4, 256, 1001});
  CHECK(second.contributors[1] == Contributor{2, 64, 20, 0, 1, 64, 1002});
  CHECK(Floats(second.payload) == std::vector<float>(kElements, 32));
  host.combiner.OnAck(AckOf(second, Refusal::kNone, 9));
  for (const uint32_t worker : {1, 2}) {
    CHECK(host.answers.Only(worker).reason == Refusal::kNone);
    CHECK(host.answers.Only(worker).version == 9);
    CHECK(host.answers.Only(worker).kind == FrameKind::kAck);
  }
  CHECK(host.answers.Only(1).sequence == 4);
  CHECK(Floats(host.wire.Next().payload) == std::vector<float>(kElements, 100));
}

TEST_CASE("parts don't wait for one another") {
  Host host;
  host.Add(PushOf(7, 1, 1, 0));
  host.Add(PushOf(7, 1, 2, 1));
  std::set<uint32_t> parts = {host.wire.Next().header.part, host.wire.Next().header.part};
  CHECK(parts == std::set<uint32_t>{0, 1});
}

TEST_CASE("others are pushed for where there is nothing of one's own") {
  Host host;
  host.Add(PushOf(1, 3, 8));
  const Message sent = host.wire.Next();
  CHECK(sent.header.worker == 7);
  CHECK(sent.header.fence == 70);
  CHECK(sent.header.sequence == 0);
  CHECK(sent.header.samples == 0);
  REQUIRE(sent.contributors.size() == 1);
  CHECK(sent.contributors[0].worker == 1);
  // An ack of some other push of worker 7 is none of it.
  Message other = AckOf(sent);
  other.header.sequence = 5;
  CHECK_FALSE(host.combiner.OnAck(other).has_value());
  CHECK(host.combiner.OnAck(AckOf(sent)).has_value());
  CHECK(host.answers.Only(1).reason == Refusal::kNone);
  CHECK_FALSE(host.combiner.OnAck(AckOf(sent)).has_value());
}

TEST_CASE("in rounds a push waits for all members, and is their mean by samples") {
  Host host;
  const auto in_round = [](uint32_t worker, float value, uint32_t samples) {
    Message push = PushOf(worker, 1, value);
    push.header.settings = kRoundsVersion;
    push.header.samples = samples;
    return push;
  };
  host.Add(in_round(7, 1, 10));
  host.Add(in_round(1, 2, 10));
  CHECK(host.wire.unread() == 0);
  host.Add(in_round(2, 6, 20));
  const Message sent = host.wire.Next();
  CHECK(sent.contributors.size() == 2);
  CHECK(Floats(sent.payload) == std::vector<float>(kElements, 3.75f));
}

TEST_CASE("in rounds nobody's answer is waited for, for it comes when all have pushed") {
  Host host;
  const auto add = [&](uint64_t sequence) {
    for (const uint32_t worker : {1, 2, 7}) {
      Message push = PushOf(worker, sequence, 1);
      push.header.settings = kRoundsVersion;
      host.Add(push);
    }
    return host.wire.Next();
  };
  const Message first = add(1), second = add(2);
  CHECK(second.contributors.size() == 2);
  // Nor does what waits for a clock keep those who are not there yet.
  host.Add(PushOf(1, 3, 5));
  const Message before = host.wire.Next();
  CHECK(before.header.settings == 0);
  for (const Message& sent : {second, before, first}) CHECK(host.combiner.OnAck(AckOf(sent)).has_value());
  CHECK(host.answers.count(1) == 3);
  CHECK(host.answers.count(7) == 2);
}

TEST_CASE("who is later than others with a clock pushes by itself") {
  Host host(1ms);
  const auto add = [&](uint32_t worker) { host.AddUnder(kRoundsVersion, worker, 1); };
  add(1);
  CHECK(host.wire.Next().contributors.size() == 1);
  add(2);
  CHECK(host.answers.Only(2).reason == Refusal::kAlone);
  add(7);
  CHECK(host.wire.Next().contributors.empty());
}

TEST_CASE("who was late is waited for, where the clock waits too") {
  const auto together = [](uint32_t settings) {
    Host host(1ms);
    host.combiner.Leave(2);
    const auto add = [&](uint32_t worker, uint64_t sequence) { host.AddUnder(settings, worker, sequence); };
    add(7, 1);
    host.wire.Next();
    std::this_thread::sleep_for(1s);
    add(1, 1);  // a second late
    CHECK(host.answers.Only(1).reason == Refusal::kAlone);
    add(7, 2);
    std::this_thread::sleep_for(50ms);
    add(1, 2);
    return host.wire.Next().contributors.size() == 1;
  };
  CHECK(together(kRoundsVersion));
  CHECK_FALSE(together(kBackupVersion));
}

TEST_CASE("who has stopped is not waited for any more, until it comes again") {
  Host host(200ms);
  host.combiner.Leave(2);
  const auto add = [&](uint32_t worker, uint64_t sequence) { host.AddUnder(kRoundsVersion, worker, sequence); };
  for (uint64_t sequence = 1; sequence <= 2; ++sequence) {
    add(7, sequence);
    CHECK(host.wire.unread() == 0);
    host.wire.Next();
  }
  for (uint64_t sequence = 3; sequence <= 20; ++sequence) {
    add(7, sequence);
    host.wire.Next();
  }
  add(1, 20);  // late
  CHECK(host.answers.Only(1).reason == Refusal::kAlone);
  add(7, 21);
  CHECK(host.wire.unread() == 0);
  add(1, 21);
  CHECK(host.wire.Next().contributors.size() == 1);
}

TEST_CASE("where a clock goes on without the slow, these are not waited for each time") {
  Host host(200ms);
  host.combiner.Leave(2);
  const auto add = [&](uint32_t worker, uint64_t sequence) { host.AddUnder(kBackupVersion, worker, sequence); };
  for (uint64_t sequence = 1; sequence <= 20; ++sequence) {
    add(7, sequence);
    if (sequence <= 2) CHECK(host.wire.unread() == 0);
    host.wire.Next();
    add(1, sequence);
    CHECK(host.answers.count(1) == sequence);
  }
}

TEST_CASE("a clock that can't be is no reason to take all others for late") {
  Host host(1ms);
  Message own = PushOf(7, 1, 1);
  own.header.settings = kRoundsVersion;
  host.Add(own);
  host.wire.Next();
  Message absurd = PushOf(1, 1, 1);
  absurd.header.settings = kRoundsVersion;
  absurd.header.clock = UINT64_MAX - 1;
  host.Add(absurd);
  CHECK(host.answers.Only(1).reason == Refusal::kAlone);
  Message next = PushOf(2, 2, 1);
  next.header.settings = kRoundsVersion;
  host.Add(next);
  CHECK(host.wire.Next().contributors.size() == 1);
}

TEST_CASE("nobody pushes for others under settings that it does not know") {
  Host host;
  Message push = PushOf(1, 1, 1);
  push.header.settings = kUnknownVersion;
  host.Add(push);
  CHECK(host.answers.Only(1).reason == Refusal::kAlone);
}

TEST_CASE("what is not finite together each pushes by itself, and nothing of it is encoded") {
  Host host;
  host.wire.coded = true;
  host.Add(PushOf(7, 1, 1));
  const Message first = host.wire.Next();
  host.Add(PushOf(7, 2, 3e38f));
  host.Add(PushOf(1, 1, 3e38f));
  host.combiner.OnAck(AckOf(first));
  const Message own = host.wire.Next();
  CHECK(own.header.sequence == 2);
  CHECK(own.contributors.empty());
  CHECK(host.answers.Only(1).reason == Refusal::kAlone);
}

TEST_CASE("a round waits for nobody who is gone, nor for long") {
  SECTION("gone") {
    Host host;
    Message push = PushOf(7, 1, 1);
    push.header.settings = kRoundsVersion;
    host.Add(push);
    host.combiner.Leave(1);
    CHECK(host.wire.unread() == 0);
    host.combiner.Leave(2);
    CHECK(host.wire.Next().contributors.empty());
  }
  SECTION("slow") {
    Host host(1ms);
    Message push = PushOf(1, 1, 1);
    push.header.settings = kRoundsVersion;
    host.Add(push);
    CHECK(host.wire.Next().contributors.size() == 1);
  }
}

TEST_CASE("what can't go together goes one after the other") {
  Host host;
  host.Add(PushOf(7, 1, 1));
  const Message first = host.wire.Next();
  Message other_settings = PushOf(1, 1, 1);
  other_settings.header.settings = 5;
  Message parameters = PushOf(2, 1, 1);
  parameters.header.content = PushContent::kParameters;
  host.Add(other_settings);
  host.Add(parameters);
  CHECK(host.answers.Only(2).reason == Refusal::kAlone);
  host.Add(PushOf(7, 2, 1));
  host.combiner.OnAck(AckOf(first));
  for (int i = 0; i < 2; ++i) {
    const Message next = host.wire.Next();
    CHECK(next.contributors.size() == (next.header.sequence == 0 ? 1 : 0));
    host.combiner.OnAck(AckOf(next));
  }
  CHECK(host.wire.unread() == 0);
}

TEST_CASE("what is refused of several each sends by itself, and what was encoded is taken back") {
  Host host;
  host.wire.coded = true;
  host.Add(PushOf(7, 1, 1));
  const Message first = host.wire.Next();
  host.Add(PushOf(1, 1, 2));
  host.Add(PushOf(7, 2, 3));
  host.combiner.OnAck(AckOf(first));
  const Message both = host.wire.Next();
  CHECK(both.header.codec == CodecId::kOneBit);
  host.Add(PushOf(2, 1, 9));
  CHECK(host.combiner.OnAck(AckOf(both, Refusal::kFenced)) == sizeof(float));
  CHECK(host.wire.taken_back == std::vector<float>{5});
  CHECK(host.answers.Only(1).reason == Refusal::kAlone);
  CHECK(host.answers.count(7) == 1);
  const Message own = host.wire.Next();
  CHECK(own.header.sequence == 2);
  CHECK(own.contributors.empty());
  // Before what came meanwhile, and by itself it has the answer that it gets.
  host.combiner.OnAck(AckOf(own, Refusal::kTooOld));
  CHECK(host.wire.taken_back.size() == 1);
  CHECK(host.answers.count(7) == 2);
}

TEST_CASE("where a server has no room the same comes again") {
  Host host;
  host.Add(PushOf(1, 1, 2));
  const Message sent = host.wire.Next();
  CHECK(host.combiner.OnAck(AckOf(sent, Refusal::kOverload)).has_value());
  const Message again = host.wire.Next();
  CHECK(again.header == sent.header);
  CHECK(again.contributors == sent.contributors);
  CHECK(host.answers.count(1) == 0);
  host.combiner.OnAck(AckOf(again));
  CHECK(host.answers.count(1) == 1);
}

TEST_CASE("zeros that stand for a bad gradient take along nothing of what waits") {
  Host host;
  host.wire.coded = true;
  Message push = PushOf(7, 1, 0);
  push.header.samples = 0;
  host.Add(push);
  CHECK(host.wire.Next().header.codec == CodecId::kRaw);
}

TEST_CASE("what a member that is gone had waiting is not sent") {
  Host host;
  host.Add(PushOf(7, 1, 1));
  const Message first = host.wire.Next();
  host.Add(PushOf(1, 1, 2));
  host.Add(PushOf(2, 1, 3));
  host.combiner.Leave(1);
  host.combiner.OnAck(AckOf(first));
  const Message next = host.wire.Next();
  REQUIRE(next.contributors.size() == 1);
  CHECK(next.contributors[0].worker == 2);
  CHECK(host.answers.count(1) == 0);
}

TEST_CASE("an ack of no part that there is, is of no push") {
  Host host;
  Message ack = AckOf(PushOf(7, 1, 1, 99));
  CHECK_FALSE(host.combiner.OnAck(ack).has_value());
}

}  // namespace
}  // namespace downpour::worker
