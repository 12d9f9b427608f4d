#include "ps/shard_core.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "proto/schedule.h"
#include "ps/core_harness.h"
#include "proto/shard_map.h"

namespace downpour::ps {
namespace {

TEST_CASE("a job with an unknown optimizer or mode is refused") {
  CHECK(!ShardCore::Create(MakeJob("bsq")).ok());
  CHECK(!ShardCore::Create(MakeJob("bsp", "sdg")).ok());
}

TEST_CASE("weak modes apply each push as it comes") {
  for (const char* mode : {"downpour", "asp"}) {
    Cluster cluster(MakeJob(mode));
    const Message ack = cluster.One(Cluster::PushOf(0, 1, 4, 0.25f));
    CHECK(ack.header.kind == FrameKind::kAck);
    CHECK(ack.header.reason == Refusal::kNone);
    CHECK(ack.header.sequence == 1);
    CHECK(cluster.First() == 1.0f - 0.5f * 0.25f);
    cluster.One(Cluster::PushOf(1, 1, 4, 0.5f));
    const Message values = cluster.One(Cluster::PullOf(0, 9));
    CHECK(values.header.kind == FrameKind::kValues);
    CHECK(values.header.version == 2);
    CHECK(values.header.elements == kElements);
    CHECK(Values(values.payload) == std::vector<float>(kElements, 0.875f - 0.25f));
    CHECK(cluster.stats().pushes == 2);
    CHECK(cluster.stats().staleness_sum == 1);
    CHECK(cluster.stats().staleness[0] == 1);
    CHECK(cluster.stats().staleness[1] == 1);
  }
}

TEST_CASE("the rate of a push is that of its clock") {
  Job job = MakeJob("asp");
  job.mutable_schedule()->set_policy("poly");
  job.mutable_schedule()->set_power(1);
  job.mutable_schedule()->set_steps(10);
  Cluster cluster(job);
  cluster.One(Cluster::PushOf(0, 1, 5, 1.0f));
  CHECK(cluster.First() == 1.0f - LearningRate(job, 5));
}

TEST_CASE("bsp applies one update from all, weighted by samples, and then answers the pulls") {
  Cluster cluster(MakeJob("bsp"));
  Push first = Cluster::PushOf(1, 1, 0, 1.0f);
  first.message.header.samples = 16;
  CHECK(cluster.Do(first).empty());
  CHECK(cluster.stats().held == 1);
  CHECK(cluster.Do(Cluster::PullOf(1, 1)).empty());
  CHECK(cluster.One(Cluster::PullOf(0, 0)).header.kind == FrameKind::kValues);
  Push second = Cluster::PushOf(0, 1, 0, 3.0f);
  second.message.header.samples = 48;
  const auto actions = cluster.Do(second);
  REQUIRE(actions.size() == 3);
  CHECK(std::get<Reply>(actions[0]).message.header.kind == FrameKind::kAck);
  CHECK(std::get<Reply>(actions[0]).route.stream == 0);
  CHECK(std::get<Reply>(actions[1]).route.stream == 1);
  const Message& values = std::get<Reply>(actions[2]).message;
  CHECK(values.header.kind == FrameKind::kValues);
  CHECK(values.header.clock == 1);
  CHECK(Values(values.payload)[7] == 1.0f - 0.5f * (0.75f * 3.0f + 0.25f * 1.0f));
  CHECK(cluster.stats().held == 0);
  CHECK(cluster.stats().parked == 0);
  CHECK(cluster.stats().updates == 1);
  CHECK(cluster.stats().pushes == 2);

  CHECK(cluster.One(Cluster::PushOf(0, 2, 0, 1.0f)).header.reason == Refusal::kClockClosed);
  const Message ahead = cluster.One(Cluster::PushOf(0, 2, 5, 1.0f));
  CHECK(ahead.header.reason == Refusal::kClockAhead);
  CHECK(Text(ahead.payload).find("clock 5") != std::string::npos);
}

TEST_CASE("the order in which a clock's pushes arrive does not change the bits") {
  std::vector<std::vector<float>> gradients(3, std::vector<float>(kElements));
  std::mt19937 random(5);
  for (auto& g : gradients) {
    for (float& x : g) x = static_cast<float>(random()) / 4e9f - 0.5f;
  }
  std::vector<uint64_t> sums;
  for (const std::array<int, 3>& order : {std::array{0, 1, 2}, std::array{2, 0, 1}, std::array{1, 2, 0}}) {
    Cluster cluster(MakeJob("bsp", "adam", 3));
    for (uint64_t clock = 0; clock < 3; ++clock) {
      for (const int p : order) cluster.Do(Cluster::PushOf(p, clock + 1, clock, gradients[(p + clock) % 3]));
    }
    CHECK(cluster.stats().updates == 3);
    sums.push_back(cluster.core().Checksum());
  }
  CHECK(sums[0] == sums[1]);
  CHECK(sums[0] == sums[2]);
}

TEST_CASE("a push that was applied is acknowledged again and not applied again") {
  Cluster cluster(MakeJob("downpour"));
  cluster.One(Cluster::PushOf(0, 3, 14, 1.0f));
  const float after = cluster.First();
  CHECK(cluster.One(Cluster::PushOf(0, 3, 14, 1.0f)).header.reason == Refusal::kDuplicate);
  CHECK(cluster.One(Cluster::PushOf(0, 2, 9, 1.0f)).header.reason == Refusal::kDuplicate);
  CHECK(cluster.First() == after);
  CHECK(cluster.Refused(Refusal::kDuplicate) == 2);
}

TEST_CASE("an older attempt is fenced, and the newer one learns where it got to") {
  Cluster cluster(MakeJob("downpour"), 2);
  cluster.One(Cluster::PushOf(0, 1, 4, 1.0f, 0));
  cluster.One(Cluster::PushOf(0, 1, 4, 1.0f, 1));
  cluster.One(Cluster::PushOf(0, 2, 9, 1.0f, 0));  // and dies before part 1 of it
  const Report report = cluster.Rejoin(0, 99);
  CHECK(report.ticket == 3);
  CHECK(report.progress == PartitionProgress{1, 5, 64});
  CHECK(report.unset_parts.empty());

  const Message late = cluster.One(Cluster::PushOf(0, 2, 9, 1.0f, 1));
  CHECK(late.header.reason == Refusal::kFenced);
  CHECK(cluster.One(Cluster::PullOf(0, 0)).header.reason == Refusal::kFenced);

  Push again = Cluster::PushOf(0, 2, 9, 1.0f, 0);
  again.message.header.fence = 99;
  CHECK(cluster.One(again).header.reason == Refusal::kDuplicate);
  again.message.header.part = 1;
  CHECK(cluster.One(again).header.reason == Refusal::kNone);
  CHECK(cluster.First(0) == cluster.First(1));
}

TEST_CASE("a fence that was never given holds nothing") {
  Cluster cluster(MakeJob("downpour"));
  Push push = Cluster::PushOf(0, 1, 0, 1.0f);
  for (const uint64_t fence : {uint64_t{0}, uint64_t{11}, uint64_t{5000}}) {
    push.message.header.fence = fence;
    CHECK(cluster.One(push).header.reason == Refusal::kFenced);
  }
  push.message.header.worker = 12345;
  CHECK(cluster.One(push).header.reason == Refusal::kFenced);
}

TEST_CASE("bsp: what a dead attempt had waiting is sent again by the next") {
  Cluster cluster(MakeJob("bsp"), 2);
  CHECK(cluster.Do(Cluster::PushOf(0, 1, 0, 8.0f, 0)).empty());
  const auto actions = cluster.Do(Join{.ticket = 4, .partition = 0, .fence = 99});
  REQUIRE(actions.size() == 2);
  CHECK(std::get<Reply>(actions[0]).message.header.reason == Refusal::kFenced);
  CHECK(std::get<Report>(actions[1]).progress == PartitionProgress{0, 0, 0});
  CHECK(cluster.stats().held == 0);
  CHECK(cluster.Do(Cluster::PushOf(1, 1, 0, 1.0f, 0)).empty());
  Push again = Cluster::PushOf(0, 1, 0, 3.0f, 0);
  again.message.header.fence = 99;
  CHECK(cluster.Do(again).size() == 2);
  CHECK(cluster.First() == 1.0f - 0.5f * 2.0f);
}

TEST_CASE("bsp: nobody waits for more of a push that an earlier attempt had applied in an earlier clock") {
  Cluster cluster(MakeJob("bsp"), 2);
  const auto take = [](Push push, uint64_t fence) {
    push.message.header.fence = fence;
    return push;
  };
  // Worker 0 dies behind the push for part 0 and before that for part 1; worker 1 goes on without it.
  cluster.Do(Cluster::PushOf(0, 1, 0, 1.0f, 0));
  for (uint32_t part : {0, 1}) cluster.Do(Cluster::PushOf(1, 1, 0, 1.0f, part));
  cluster.Do(Leave{.partition = 0, .fence = 10});
  CHECK(cluster.stats().updates == 2);
  CHECK(cluster.Rejoin(0, 99).progress == PartitionProgress{0, 1, 0});
  // The next attempt pushes the same at the clock that it finds, and part 0 has it.
  const float after = cluster.First(0);
  const bool first = GENERATE(true, false);
  if (!first) {
    for (uint32_t part : {0, 1}) cluster.Do(take(Cluster::PushOf(1, 2, 1, 0.0f, part), 11));
  }
  const auto answers = cluster.Do(take(Cluster::PushOf(0, 1, 1, 1.0f, 0), 99));
  CHECK(std::get<Reply>(answers[0]).message.header.reason == Refusal::kDuplicate);
  cluster.Do(take(Cluster::PushOf(0, 1, 1, 1.0f, 1), 99));
  if (first) {
    for (uint32_t part : {0, 1}) cluster.Do(take(Cluster::PushOf(1, 2, 1, 0.0f, part), 11));
  }
  CHECK(cluster.stats().updates == 4);
  CHECK(cluster.stats().held == 0);
  CHECK(cluster.First(0) == after);
  CHECK(cluster.core().table(0)->parts()[0].clock == 2);
  CHECK(cluster.core().table(0)->parts()[1].clock == 2);
}

TEST_CASE("bsp: a clock for which there are only duplicates closes without an update") {
  Cluster cluster(MakeJob("bsp", "sgd", 1));
  cluster.Do(Cluster::PushOf(0, 1, 0, 1.0f));
  const float after = cluster.First();
  cluster.Do(Cluster::PushOf(0, 1, 1, 1.0f));
  CHECK(cluster.core().table(0)->parts()[0].clock == 2);
  CHECK(cluster.stats().updates == 1);
  CHECK(cluster.First() == after);
  // Long closed: it says nothing of the clock that is open.
  cluster.Do(Cluster::PushOf(0, 1, 0, 1.0f));
  CHECK(cluster.core().table(0)->parts()[0].clock == 2);
}

TEST_CASE("bsp: a push repeated while it waits counts once, and the last sender gets the answer") {
  Cluster cluster(MakeJob("bsp"));
  CHECK(cluster.Do(Cluster::PushOf(0, 1, 0, 1.0f)).empty());
  Push again = Cluster::PushOf(0, 1, 0, 1.0f);
  again.route.stream = 77;
  CHECK(cluster.Do(again).empty());
  CHECK(cluster.stats().held == 1);
  const auto actions = cluster.Do(Cluster::PushOf(1, 1, 0, 1.0f));
  CHECK(cluster.stats().updates == 1);
  CHECK(cluster.First() == 0.5f);
  bool told = false;
  for (const Action& action : actions) told |= std::get<Reply>(action).route.stream == 77;
  CHECK(told);
}

TEST_CASE("a gradient that is not finite is refused as a whole and named") {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    Cluster cluster(MakeJob("downpour"), 2);
    std::vector<float> gradient(kElements, 1.0f);
    gradient[61] = bad;
    const Message ack = cluster.One(Cluster::PushOf(0, 1, 0, gradient, 1));
    CHECK(ack.header.reason == Refusal::kNotFinite);
    CHECK(Text(ack.payload).find("element 161 ") != std::string::npos);
    CHECK(Values(cluster.One(Cluster::PullOf(0, 0, 1)).payload) == std::vector<float>(kElements, 1.0f));
    CHECK(cluster.Refused(Refusal::kNotFinite) == 1);
    CHECK(cluster.One(Cluster::PushOf(0, 1, 0, 1.0f, 1)).header.reason == Refusal::kNone);
  }
}

TEST_CASE("frames that do not fit the table are refused") {
  Cluster cluster(MakeJob("downpour"));
  const uint64_t before = cluster.core().Checksum();
  const auto reason = [&](Push push) { return cluster.One(std::move(push)).header.reason; };
  CHECK(reason(Cluster::PushOf(0, 0, 0, 1.0f)) == Refusal::kMalformed);
  CHECK(reason(Cluster::PushOf(0, 1, 0, 1.0f, 9)) == Refusal::kMalformed);
  CHECK(reason(Cluster::PushOf(0, 1, 0, std::vector<float>(kElements + 1))) == Refusal::kMalformed);
  CHECK(reason(Cluster::PushOf(0, 1, 0, std::vector<float>())) == Refusal::kMalformed);
  Push lies = Cluster::PushOf(0, 1, 0, std::vector<float>(kElements - 1));
  lies.message.header.elements = kElements;
  CHECK(reason(lies) == Refusal::kMalformed);
  Push other = Cluster::PushOf(0, 1, 0, 1.0f);
  other.message.header.table = 3;
  CHECK(reason(other) == Refusal::kMalformed);
  other = Cluster::PushOf(0, 1, 0, 1.0f);
  other.message.header.codec = static_cast<CodecId>(200);
  CHECK(reason(other) == Refusal::kMalformed);
  const Message refused = cluster.One(Cluster::PullOf(0, 0, 4000000000u));
  CHECK(refused.header.kind == FrameKind::kRefused);
  CHECK(refused.header.reason == Refusal::kMalformed);
  CHECK(cluster.core().Checksum() == before);
}

TEST_CASE("first values: the first to come win; pulls wait for them and pushes are refused") {
  Cluster cluster(MakeJob("downpour"), 1, false);
  CHECK(cluster.Rejoin(0, 10).unset_parts == std::vector<uint32_t>{0});
  CHECK(cluster.Do(Cluster::PullOf(1, 0)).empty());
  CHECK(cluster.One(Cluster::PushOf(0, 1, 0, 1.0f)).header.reason == Refusal::kNotSet);
  const auto actions = cluster.Do(Set{{}, Cluster::SetOf(0, 0, std::vector<float>(kElements, 4.0f))});
  REQUIRE(actions.size() == 2);
  CHECK(std::get<Reply>(actions[0]).message.header.kind == FrameKind::kAck);
  CHECK(Values(std::get<Reply>(actions[1]).message.payload)[0] == 4.0f);
  const Message second = cluster.One(Set{{}, Cluster::SetOf(1, 0, std::vector<float>(kElements, 9.0f))});
  CHECK(second.header.reason == Refusal::kNone);
  CHECK(cluster.First() == 4.0f);
  CHECK(cluster.Rejoin(0, 10).unset_parts.empty());
}

TEST_CASE("bsp: a worker that leaves closes the clock that waited for it") {
  Cluster cluster(MakeJob("bsp", "sgd", 3));
  for (uint32_t p : {0, 2}) {
    CHECK(cluster.Do(Cluster::PushOf(p, 1, 0, 1.0f)).empty());
    CHECK(cluster.Do(Cluster::PullOf(p, 1)).empty());
  }
  const auto own = cluster.Do(Leave{.ticket = 5, .partition = 2, .fence = 12});
  REQUIRE(own.size() == 2);  // its own pull is refused
  CHECK(std::get<Reply>(own[0]).message.header.reason == Refusal::kLeaseEnded);
  const auto actions = cluster.Do(Leave{.ticket = 5, .partition = 1, .fence = 11});
  // The others' pushes are applied and the pull that is left is answered.
  REQUIRE(actions.size() == 4);
  CHECK(std::get<Reply>(actions[0]).message.header.kind == FrameKind::kAck);
  CHECK(std::get<Reply>(actions[2]).message.header.kind == FrameKind::kValues);
  CHECK(std::get<Report>(actions[3]).progress == PartitionProgress{0, 1, 0});
  CHECK(cluster.First() == 0.5f);
  CHECK(cluster.One(Cluster::PushOf(1, 1, 1, 1.0f)).header.reason == Refusal::kLeaseEnded);
  CHECK(cluster.stats().parked == 0);
  // Alone, it goes on.
  CHECK(cluster.One(Cluster::PushOf(0, 2, 1, 1.0f)).header.reason == Refusal::kNone);

  SECTION("and comes back for the clock that is open") {
    CHECK(cluster.Rejoin(1, 50).progress == PartitionProgress{0, 2, 0});
    CHECK(cluster.Do(Cluster::PushOf(0, 3, 2, 1.0f)).empty());
    Push back = Cluster::PushOf(1, 1, 2, 1.0f);
    back.message.header.fence = 50;
    CHECK(cluster.Do(back).size() == 2);
  }
}

TEST_CASE("a leave of a lease that is no longer held changes nothing") {
  Cluster cluster(MakeJob("bsp"));
  cluster.Rejoin(1, 50);
  cluster.Do(Leave{.ticket = 0, .partition = 1, .fence = 11});
  cluster.Do(Leave{.ticket = 0, .partition = 999, .fence = 11});
  CHECK(cluster.Do(Cluster::PushOf(0, 1, 0, 1.0f)).empty());
}

TEST_CASE("what nobody is left to answer is refused") {
  Cluster cluster(MakeJob("bsp"));
  cluster.Do(Join{.ticket = 0, .partition = 0, .fence = 70, .observer = true});
  Pull pull = Cluster::PullOf(0, 5);
  pull.header.fence = 70;
  CHECK(cluster.Do(pull).empty());
  cluster.Do(Leave{.ticket = 0, .partition = 0, .fence = 10});
  const auto actions = cluster.Do(Leave{.ticket = 0, .partition = 1, .fence = 11});
  REQUIRE(actions.size() == 2);
  CHECK(std::get<Reply>(actions[0]).message.header.reason == Refusal::kNoMembers);
  CHECK(cluster.One(pull).header.reason == Refusal::kNoMembers);
  pull.header.clock = 0;
  CHECK(cluster.One(pull).header.kind == FrameKind::kValues);
}

TEST_CASE("an observer reads, and neither sets nor pushes") {
  Cluster cluster(MakeJob("downpour"));
  cluster.Do(Join{.ticket = 0, .partition = 7, .fence = 70, .observer = true});
  Pull pull = Cluster::PullOf(7, 0);
  pull.header.fence = 70;
  CHECK(cluster.One(pull).header.kind == FrameKind::kValues);
  Push push = Cluster::PushOf(0, 1, 0, 1.0f);
  push.message.header.fence = 70;
  CHECK(cluster.One(push).header.reason == Refusal::kFenced);
  cluster.Do(Leave{.ticket = 0, .partition = 7, .fence = 70});
  CHECK(cluster.One(pull).header.reason == Refusal::kFenced);
}

TEST_CASE("an observer that leaves waits for nothing any more, whatever its partition was") {
  Cluster cluster(MakeJob("bsp"));
  constexpr uint32_t kNoPartition = 1u << 31;
  cluster.Do(Join{.ticket = 0, .partition = kNoPartition, .fence = 70, .observer = true});
  Pull pull = Cluster::PullOf(kNoPartition, 1);
  pull.header.fence = 70;
  CHECK(cluster.Do(pull).empty());
  CHECK(cluster.stats().parked == 1);
  const auto actions = cluster.Do(Leave{.ticket = 0, .partition = kNoPartition, .fence = 70});
  REQUIRE(actions.size() == 2);
  CHECK(std::get<Reply>(actions[0]).message.header.reason == Refusal::kLeaseEnded);
  CHECK(cluster.stats().parked == 0);
  CHECK(cluster.Do(Cluster::PushOf(0, 1, 0, 1.0f)).empty());
  CHECK(cluster.Do(Cluster::PushOf(1, 1, 0, 1.0f)).size() == 2);
}

TEST_CASE("bsp: workers that never come are named") {
  Job job = MakeJob("bsp", "sgd", 2);
  job.set_workers(4);
  auto core = *ShardCore::Create(job);
  std::vector<Action> actions;
  core->Handle(CreateTable{1, 0, {{0, 0, kElements}}}, actions);
  core->Handle(Tick{5000}, actions);
  core->Handle(Join{.ticket = 1, .partition = 1, .fence = 11}, actions);
  core->Handle(Set{{}, Cluster::SetOf(1, 0, std::vector<float>(kElements, 1.0f))}, actions);
  core->Handle(Cluster::PushOf(1, 1, 0, 1.0f), actions);
  core->Handle(Cluster::PullOf(1, 1), actions);
  actions.clear();
  core->Handle(Tick{5999}, actions);
  CHECK(actions.empty());
  core->Handle(Tick{6000}, actions);
  REQUIRE(actions.size() == 2);  // the pull, and the push that waits for the same
  CHECK(std::get<Reply>(actions[1]).message.header.kind == FrameKind::kAck);
  CHECK(std::get<Reply>(actions[1]).message.header.reason == Refusal::kNoMembers);
  const Message& refused = std::get<Reply>(actions[0]).message;
  CHECK(refused.header.reason == Refusal::kNoMembers);
  CHECK(Text(refused.payload).find(": 0, 2, 3") != std::string::npos);
}

TEST_CASE("a stream that hangs up is forgotten") {
  Cluster cluster(MakeJob("bsp"));
  cluster.Do(Cluster::PushOf(0, 1, 0, 1.0f));
  CHECK(cluster.Do(Cluster::PullOf(0, 1)).empty());
  CHECK(cluster.stats().parked == 1);
  cluster.Do(Hangup{0});
  CHECK(cluster.stats().parked == 0);
}

TEST_CASE("a draining shard refuses what waits and what comes") {
  Cluster cluster(MakeJob("bsp"));
  cluster.Do(Cluster::PushOf(0, 1, 0, 1.0f));
  cluster.Do(Cluster::PullOf(0, 1));
  const auto actions = cluster.Do(Drain{});
  REQUIRE(actions.size() == 2);
  for (const Action& action : actions) {
    CHECK(std::get<Reply>(action).message.header.reason == Refusal::kShuttingDown);
  }
  CHECK(cluster.One(Cluster::PushOf(1, 1, 0, 1.0f)).header.reason == Refusal::kShuttingDown);
  CHECK(cluster.One(Cluster::PullOf(1, 0)).header.reason == Refusal::kShuttingDown);
  CHECK(cluster.First() == 1.0f);
}

TEST_CASE("replies share one snapshot until the part changes") {
  Cluster cluster(MakeJob("downpour"));
  const Message a = cluster.One(Cluster::PullOf(0, 0));
  const Message b = cluster.One(Cluster::PullOf(1, 0));
  CHECK(a.payload.chunks()[0].data() == b.payload.chunks()[0].data());
  cluster.One(Cluster::PushOf(0, 1, 0, 1.0f));
  const Message c = cluster.One(Cluster::PullOf(0, 0));
  CHECK(Values(a.payload)[0] == 1.0f);
  CHECK(Values(c.payload)[0] == 0.5f);
}

// ---- The same events, the same bits.

// Weak or strong, with pushes of parts in a random order, repeats, a death and garbage.
std::vector<Event> RecordedRun(const std::string& mode, uint32_t parts) {
  std::mt19937 random(11);
  std::vector<Event> events;
  std::vector<uint64_t> fence = {10, 11, 12};
  for (uint64_t clock = 0; clock < 12; ++clock) {
    std::vector<Event> round;
    for (uint32_t p = 0; p < 3; ++p) {
      for (uint32_t part = 0; part < parts; ++part) {
        std::vector<float> g(kElements);
        for (float& x : g) x = static_cast<float>(random()) / 4e9f - 0.5f;
        if (random() % 17 == 0) g[3] = std::numeric_limits<float>::quiet_NaN();
        Push push = Cluster::PushOf(p, clock + 1, clock, g, part);
        push.message.payload = Shredded(g, random());
        push.message.header.fence = fence[p];
        push.message.header.version = clock;
        round.push_back(push);
        if (random() % 5 == 0) round.push_back(push);
      }
    }
    std::shuffle(round.begin(), round.end(), random);
    events.insert(events.end(), round.begin(), round.end());
    // A NaN leaves bsp waiting for that worker: it sends another gradient.
    for (uint32_t p = 0; p < 3 && mode == "bsp"; ++p) {
      for (uint32_t part = 0; part < parts; ++part) {
        Push push = Cluster::PushOf(p, clock + 1, clock, 0.125f, part);
        push.message.header.fence = fence[p];
        events.push_back(push);
      }
    }
    if (clock == 5) {
      events.push_back(Leave{.ticket = 1, .partition = 2, .fence = fence[2]});
      fence[2] = 40;
      events.push_back(Join{.ticket = 1, .partition = 2, .fence = fence[2]});
    }
    events.push_back(Tick{static_cast<int64_t>(clock) * 10});
  }
  return events;
}

// Replays on `cores` cores, among which the parts are dealt in turn.
std::pair<uint64_t, std::vector<float>> Replay(const Job& job, const std::vector<Event>& events,
                                               uint32_t parts, uint32_t cores) {
  std::vector<std::unique_ptr<ShardCore>> shards;
  std::vector<Action> actions;
  for (uint32_t c = 0; c < cores; ++c) {
    shards.push_back(*ShardCore::Create(job));
    CreateTable create{.ticket = 1, .table = 0, .parts = {}};
    for (uint32_t i = c; i < parts; i += cores)
      create.parts.push_back({i, i * kElements, (i + 1) * kElements});
    shards[c]->Handle(create, actions);
    for (uint32_t p = 0; p < job.workers(); ++p) shards[c]->Handle(Join{1, p, 10 + p, false}, actions);
    for (const PartRange& range : create.parts) {
      shards[c]->Handle(Set{{}, Cluster::SetOf(0, range.part, std::vector<float>(kElements, 0.5f))}, actions);
    }
  }
  for (const Event& event : events) {
    if (const auto* push = std::get_if<Push>(&event)) {
      shards[push->message.header.part % cores]->Handle(event, actions);
    } else {
      for (auto& shard : shards) shard->Handle(event, actions);
    }
  }
  uint64_t checksum = 0;
  std::vector<float> values(parts * kElements);
  uint64_t updates = 0;
  for (const auto& shard : shards) {
    checksum += shard->Checksum();
    updates += shard->stats().updates;
    for (const Table::Part& part : shard->table(0)->parts()) {
      std::copy(part.values.begin(), part.values.end(), values.begin() + part.begin);
    }
  }
  CHECK(updates >= 12 * parts);
  return {checksum, values};
}

TEST_CASE("a replay gives the same bits, on any number of shards") {
  constexpr uint32_t kParts = 5;
  for (const char* mode : {"downpour", "asp", "bsp"}) {
    for (const kernels::UpdateRule* rule : kernels::UpdateRules()) {
      DYNAMIC_SECTION(mode << " " << rule->name) {
        const Job job = MakeJob(mode, std::string(rule->name), 3);
        const std::vector<Event> events = RecordedRun(mode, kParts);
        const auto first = Replay(job, events, kParts, 1);
        for (const uint32_t cores : {1u, 2u, 3u, 5u}) {
          const auto again = Replay(job, events, kParts, cores);
          CHECK(again.first == first.first);
          CHECK(std::memcmp(again.second.data(), first.second.data(), first.second.size() * sizeof(float)) ==
                0);
        }
      }
    }
  }
}

TEST_CASE("parts cut elsewhere hold the same values") {
  // One part of 200 against two of 100: the same gradients, whole and in halves.
  std::mt19937 random(3);
  const Job job = MakeJob("downpour", "adam");
  auto whole = *ShardCore::Create(job);
  Cluster halves(job, 2);
  std::vector<Action> actions;
  whole->Handle(CreateTable{1, 0, {{0, 0, 2 * kElements}}}, actions);
  for (uint32_t p = 0; p < 2; ++p) whole->Handle(Join{1, p, 10 + p, false}, actions);
  whole->Handle(Set{{}, Cluster::SetOf(0, 0, std::vector<float>(2 * kElements, 1.0f))}, actions);
  for (uint64_t n = 1; n <= 10; ++n) {
    std::vector<float> g(2 * kElements);
    for (float& x : g) x = static_cast<float>(random()) / 4e9f - 0.5f;
    const uint32_t worker = random() % 2;
    whole->Handle(Cluster::PushOf(worker, n, n, g), actions);
    halves.One(Cluster::PushOf(worker, n, n, std::vector<float>(g.begin(), g.begin() + kElements), 0));
    halves.One(Cluster::PushOf(worker, n, n, std::vector<float>(g.begin() + kElements, g.end()), 1));
  }
  const auto& values = whole->table(0)->parts()[0].values;
  for (uint32_t part = 0; part < 2; ++part) {
    const auto& half = halves.core().table(0)->parts()[part].values;
    CHECK(std::equal(half.begin(), half.end(), values.begin() + part * kElements));
  }
}

// The values after some clocks of two workers' gradients, with the table cut by `map`.
std::vector<float> TrainCut(const Job& job, const ShardMap& map, const std::vector<ParamGroup>& groups,
                            uint32_t cores) {
  const auto& parts = map.tables(0).parts();
  std::vector<std::unique_ptr<ShardCore>> shards;
  std::vector<Action> actions;
  std::vector<float> values(map.tables(0).elements());
  std::mt19937 random(7);
  const auto draw = [&] {
    for (float& x : values) x = static_cast<float>(random()) / 4e9f - 0.5f;
    return values;
  };
  const auto slice = [&](const std::vector<float>& all, int part) {
    return std::vector<float>(all.begin() + parts[part].begin(), all.begin() + parts[part].end());
  };
  const std::vector<float> start = draw();
  for (uint32_t core = 0; core < cores; ++core) {
    shards.push_back(*ShardCore::Create(job));
    CreateTable create{.ticket = 1, .table = 0, .parts = {}, .groups = groups};
    for (int i = 0; i < parts.size(); ++i) {
      if (parts[i].shard() != core) continue;
      create.parts.push_back({static_cast<uint32_t>(i), parts[i].begin(), parts[i].end()});
    }
    shards[core]->Handle(create, actions);
    for (uint32_t worker = 0; worker < 2; ++worker) shards[core]->Handle(Join{1, worker, 10 + worker, false}, actions);
  }
  for (int i = 0; i < parts.size(); ++i) {
    shards[parts[i].shard()]->Handle(Set{{}, Cluster::SetOf(0, i, slice(start, i))}, actions);
  }
  for (uint64_t clock = 0; clock < 6; ++clock) {
    for (uint32_t worker = 0; worker < 2; ++worker) {
      const std::vector<float> gradient = draw();
      for (int i = 0; i < parts.size(); ++i) {
        Push push = Cluster::PushOf(worker, clock + 1, clock, slice(gradient, i), i);
        if (clock % 2 == 0) push.message.payload = Shredded(slice(gradient, i), clock + worker);
        shards[parts[i].shard()]->Handle(std::move(push), actions);
      }
    }
  }
  for (int i = 0; i < parts.size(); ++i) {
    const auto& held = shards[parts[i].shard()]->table(0)->parts();
    const auto part = std::find_if(held.begin(), held.end(), [i](const auto& p) { return p.index == uint32_t(i); });
    CHECK(part->version == (job.sync().mode() == "bsp" ? 6 : 12));
    std::copy(part->values.begin(), part->values.end(), values.begin() + parts[i].begin());
  }
  return values;
}

TEST_CASE("an optimizer gives the same bits however the map cuts the table") {
  std::vector<ParamGroup> groups;
  uint64_t end = 0;
  for (const uint64_t size : {512, 32, 9008, 64, 16, 16, 5008}) {
    groups.push_back({end, end + size, groups.size() % 2 == 1 ? 2.0f : 1.0f, 1});
    end += size;
  }
  std::vector<uint64_t> begins;
  for (const ParamGroup& group : groups) begins.push_back(group.begin);
  for (const char* mode : {"asp", "bsp"}) {
    for (const kernels::UpdateRule* rule : kernels::UpdateRules()) {
      DYNAMIC_SECTION(mode << " " << rule->name) {
        Job job = MakeJob(mode, std::string(rule->name));
        job.mutable_optimizer()->set_learning_rate(0.01f);
        job.mutable_optimizer()->set_weight_decay(0.001f);
        const auto map = [&](uint32_t shards, uint64_t part_bytes) {
          return rule->per_tensor ? MakeShardMap(end, 1, shards, part_bytes, begins)
                                  : MakeShardMap(end, 1, shards, part_bytes);
        };
        const std::vector<float> dense = TrainCut(job, map(1, 1 << 20), groups, 1);
        for (const uint32_t shards : {1, 2, 3, 7}) {
          const std::vector<float> split = TrainCut(job, map(shards, 1 << 13), groups, shards);
          CHECK(std::memcmp(dense.data(), split.data(), dense.size() * sizeof(float)) == 0);
        }
      }
    }
  }
}

TEST_CASE("each group of parameters goes by its own multiples") {
  constexpr uint32_t kTwoParts = 2 * kElements;
  // One begins and ends inside parts, one is as if frozen; what has none goes by the job's settings.
  const std::vector<ParamGroup> groups = {{0, 20}, {20, 50}, {50, 130, 2, 0.5f}, {130, 180, 0, 3}};
  for (const kernels::UpdateRule* rule : kernels::UpdateRules()) {
    if (rule->per_tensor) continue;
    DYNAMIC_SECTION(rule->name) {
      Job job = MakeJob("downpour", std::string(rule->name));
      auto* settings = job.mutable_optimizer();
      settings->set_learning_rate(0.05f);
      settings->set_weight_decay(0.1f);
      settings->set_l1(0.02f);
      settings->set_l2(0.2f);
      Cluster grouped(job, 2, true, groups);
      Cluster plain(job, 2);
      settings->set_learning_rate(0.1f);
      settings->set_weight_decay(0.05f);
      settings->set_l1(0.01f);
      settings->set_l2(0.1f);
      Cluster faster(job, 2);
      std::mt19937 random(5);
      for (uint64_t n = 1; n <= 5; ++n) {
        for (uint32_t part = 0; part < 2; ++part) {
          std::vector<float> g(kElements);
          for (float& x : g) x = static_cast<float>(random()) / 4e9f - 0.5f;
          for (Cluster* cluster : {&grouped, &plain, &faster}) cluster->One(Cluster::PushOf(0, n, n, g, part));
        }
      }
      const auto value = [](Cluster& cluster, uint32_t i) {
        return cluster.core().table(0)->parts()[i / kElements].values[i % kElements];
      };
      for (uint32_t i = 0; i < kTwoParts; ++i) {
        const bool in_faster = i >= 50 && i < 130;
        const bool frozen = i >= 130 && i < 180;
        REQUIRE(value(grouped, i) == (frozen ? 1.0f : value(in_faster ? faster : plain, i)));
      }
    }
  }
}

TEST_CASE("a table that is asked for again with other groups is made anew") {
  Cluster cluster(MakeJob("downpour"), 1, false);
  cluster.Do(CreateTable{1, 0, {{0, 0, kElements}}, {{0, kElements, 2, 1}}});
  cluster.One(Set{{}, Cluster::SetOf(0, 0, std::vector<float>(kElements, 1.0f))});
  cluster.One(Cluster::PushOf(0, 1, 0, 1.0f));
  CHECK(cluster.First() == 0);  // 1 - 2 * 0.5
  CHECK(cluster.stats().parts == 1);
}

TEST_CASE("the checksum sees each kind of state") {
  Cluster cluster(MakeJob("downpour", "momentum"));
  uint64_t last = cluster.core().Checksum();
  const auto changed = [&] { return std::exchange(last, cluster.core().Checksum()) != last; };
  CHECK(!changed());
  cluster.Do(Cluster::PushOf(0, 1, 0, 1.0f));
  CHECK(changed());
  cluster.Do(Leave{.ticket = 0, .partition = 1, .fence = 11});
  CHECK(changed());
  cluster.Do(Cluster::PullOf(0, 0));
  CHECK(!changed());
}

TEST_CASE("events of random content neither crash a shard nor change its values") {
  std::mt19937_64 random(17);
  Cluster cluster(MakeJob("bsp"));
  const std::vector<float> before(cluster.core().table(0)->parts()[0].values.begin(),
                                  cluster.core().table(0)->parts()[0].values.end());
  for (int i = 0; i < 20000; ++i) {
    FrameHeader header;
    const auto pick = [&]() -> uint64_t { return random() % 3 == 0 ? random() : random() % 4; };
    header.kind = static_cast<FrameKind>(pick());
    header.codec = static_cast<CodecId>(pick());
    header.table = pick();
    header.part = pick();
    header.worker = pick();
    header.fence = pick();
    header.clock = pick();
    header.sequence = pick();
    header.version = pick();
    header.samples = pick();
    header.elements = random() % 2 == 0 ? kElements : pick();
    const Payload payload = MakePayload(std::vector<float>(random() % 2 == 0 ? kElements : random() % 300));
    if (random() % 2 == 0) {
      // All right but for one field, so that more than the first check is put to the test. Zeros move clocks alone.
      Push push = Cluster::PushOf(random() % 2, 1 + i, cluster.core().table(0)->parts()[0].clock, 0.0f);
      FrameHeader& right = push.message.header;
      switch (random() % 6) {
        case 0: right.clock = header.clock; break;
        case 1: right.sequence = header.sequence; break;
        case 2: right.elements = header.elements; break;
        case 3: right.fence = header.fence; break;
        case 4: right.samples = header.samples; break;
        case 5: right.version = header.version; break;
      }
      cluster.Do(std::move(push));
      continue;
    }
    switch (random() % 4) {
      case 0: cluster.Do(Push{{}, {header, payload}}); break;
      case 1: cluster.Do(Set{{}, {header, payload}}); break;
      case 2: cluster.Do(Pull{{}, header}); break;
      case 3:
        if (random() % 100 != 0) break;
        cluster.Do(Leave{pick(), header.worker, header.fence});
        cluster.Do(Join{.ticket = 0, .partition = header.worker, .fence = 10 + header.worker});
        break;
    }
  }
  CHECK(cluster.core().table(0)->parts()[0].clock > 0);
  const auto& after = cluster.core().table(0)->parts()[0].values;
  CHECK(std::equal(before.begin(), before.end(), after.begin()));
}

}  // namespace
}  // namespace downpour::ps
