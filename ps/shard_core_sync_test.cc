// How a shard combines pushes, beyond what the sync modes' truth tables say: ages, delays, steps alone, settings that change.
#include <catch2/catch.hpp>

#include "proto/job_config.h"
#include "ps/core_harness.h"

namespace downpour::ps {
namespace {

Push At(Push push, uint64_t version) {
  push.message.header.version = version;
  return push;
}

Push Carrying(Push push, PushContent content) {
  push.message.header.content = content;
  return push;
}

TEST_CASE("parameters are averaged by samples when all have pushed") {
  Job job = MakeJob("local_sgd", "adam");
  Cluster cluster(job);
  CHECK(cluster.core().table(0)->parts()[0].slots.empty());
  Push first = Carrying(Cluster::PushOf(0, 1, 0, 3.0f), PushContent::kParameters);
  first.message.header.samples = 16;
  CHECK(cluster.Do(first).empty());
  Push second = Carrying(Cluster::PushOf(1, 1, 0, 7.0f), PushContent::kParameters);
  second.message.header.samples = 48;
  CHECK(cluster.Do(second).size() == 2);
  CHECK(cluster.First() == 6.0f);
}

TEST_CASE("differences are added, one by one or in rounds") {
  Job job = MakeJob("easgd");
  Cluster one_by_one(job);
  one_by_one.One(Carrying(Cluster::PushOf(0, 1, 9, 0.5f), PushContent::kDifference));
  CHECK(one_by_one.First() == 1.5f);
  job.mutable_sync()->set_rounds(true);
  Cluster rounds(job);
  rounds.Do(Carrying(Cluster::PushOf(0, 1, 0, 0.5f), PushContent::kDifference));
  CHECK(rounds.First() == 1.0f);
  rounds.Do(Carrying(Cluster::PushOf(1, 1, 0, 0.25f), PushContent::kDifference));
  CHECK(rounds.First() == 1.75f);
}

TEST_CASE("a push that carries something else than the mode exchanges is refused") {
  for (const char* mode : {"downpour", "bsp", "local_sgd", "easgd"}) {
    Cluster cluster(MakeJob(mode));
    for (const PushContent content : {PushContent::kGradient, PushContent::kParameters, PushContent::kDifference}) {
      if (content == (*FindSyncMode(mode))->content) continue;
      CAPTURE(mode, static_cast<int>(content));
      CHECK(cluster.One(Carrying(Cluster::PushOf(0, 1, 0, 1.0f), content)).header.reason == Refusal::kWrongContent);
    }
    CHECK(cluster.First() == 1.0f);
  }
}

TEST_CASE("a gradient older than max_age is refused, counted, and may be followed by a fresh one") {
  Job job = MakeJob("asp");
  job.mutable_sync()->set_max_age(1);
  Cluster cluster(job);
  cluster.One(At(Cluster::PushOf(0, 1, 0, 1.0f), 0));
  cluster.One(At(Cluster::PushOf(0, 2, 1, 1.0f), 0));  // one update since: as old as it may be
  const Message refused = cluster.One(At(Cluster::PushOf(1, 1, 0, 1.0f), 0));
  CHECK(refused.header.reason == Refusal::kTooOld);
  CHECK(Text(refused.payload).find("had 2 updates since; sync.max_age is 1") != std::string::npos);
  CHECK(cluster.Refused(Refusal::kTooOld) == 1);
  CHECK(cluster.First() == 0.0f);
  CHECK(cluster.One(At(Cluster::PushOf(1, 2, 1, 1.0f), 2)).header.reason == Refusal::kNone);
}

TEST_CASE("a stale gradient counts for less where steps are divided by staleness") {
  Job job = MakeJob("asp");
  job.mutable_sync()->set_divide_by_staleness(true);
  Cluster cluster(job);  // rate 0.5
  for (uint64_t n = 1; n <= 4; ++n) cluster.One(At(Cluster::PushOf(0, n, n, 0.0f), n - 1));
  const auto step = [&](uint64_t sequence, uint64_t version) {
    const float before = cluster.First();
    cluster.One(At(Cluster::PushOf(1, sequence, sequence, 1.0f), version));
    return before - cluster.First();
  };
  CHECK(step(1, 0) == Approx(0.5 / 4));
  CHECK(step(2, 4) == Approx(0.5));  // one update since: staleness 1
  CHECK(step(3, 6) == Approx(0.5));  // fresh
}

TEST_CASE("a delay is compensated by how far the parameters went since the worker read them") {
  Job job = MakeJob("asp");
  job.mutable_sync()->set_delay_compensation(0.5f);
  Cluster cluster(job);
  CHECK(cluster.One(Cluster::PullOf(1, 0)).header.version == 0);  // worker 1 reads 1.0
  cluster.One(At(Cluster::PushOf(0, 1, 0, 1.0f), 0));             // w = 0.5
  // g = 2: 2 + 0.5 * 4 * (0.5 - 1.0) = 1
  cluster.One(At(Cluster::PushOf(1, 1, 0, 2.0f), 0));
  CHECK(cluster.First() == 0.0f);
  // Of a version that it never read nothing is known: the gradient counts as it is.
  cluster.One(At(Cluster::PushOf(1, 2, 1, 1.0f), 1));
  CHECK(cluster.First() == -0.5f);
  // What was read by an attempt that is gone is forgotten.
  cluster.One(Cluster::PullOf(1, 0));
  cluster.Do(Leave{.ticket = 1, .partition = 1, .fence = 11});
  CHECK(cluster.core().table(0)->parts()[0].sent[1].empty());
}

TEST_CASE("the first worker's steps alone: others read nothing and push nothing until they are over") {
  for (const char* mode : {"asp", "bsp", "ssp"}) {
    CAPTURE(mode);
    Job job = MakeJob(mode);
    job.mutable_sync()->set_warmup_steps(2);
    Cluster cluster(job);
    CHECK(cluster.Do(Cluster::PullOf(1, 0)).empty());
    CHECK(cluster.One(Cluster::PushOf(1, 1, 0, 1.0f)).header.reason == Refusal::kClockAhead);
    CHECK(cluster.Do(Cluster::PullOf(0, 0)).size() == 1);
    CHECK(cluster.One(Cluster::PushOf(0, 1, 0, 1.0f)).header.reason == Refusal::kNone);
    // With the last of them the parked pull is answered.
    const auto actions = cluster.Do(Cluster::PushOf(0, 2, 1, 1.0f));
    REQUIRE(actions.size() == 2);
    CHECK(std::get<Reply>(actions[1]).message.header.kind == FrameKind::kValues);
    CHECK(cluster.First() == 0.0f);
    if (std::string(mode) != "asp") CHECK(std::get<Reply>(actions[1]).message.header.clock == 2);
  }
}

TEST_CASE("where the first worker is gone the others begin without it") {
  Job job = MakeJob("bsp");
  job.mutable_sync()->set_warmup_steps(100);
  Cluster cluster(job);
  CHECK(cluster.Do(Cluster::PullOf(1, 0)).empty());
  const auto actions = cluster.Do(Leave{.ticket = 1, .partition = 0, .fence = 10});
  REQUIRE(actions.size() == 2);
  CHECK(std::get<Reply>(actions[0]).message.header.kind == FrameKind::kValues);
  CHECK(cluster.One(Cluster::PushOf(1, 1, 0, 1.0f)).header.reason == Refusal::kNone);
}

TEST_CASE("ssp: a read waits for the slowest, is answered when it moves, and refused when that takes too long") {
  Job job = MakeJob("ssp");
  job.mutable_sync()->set_s(0);
  job.mutable_sync()->set_read_timeout_ms(1000);
  Cluster cluster(job);
  cluster.Do(Tick{10000});
  cluster.One(Cluster::PushOf(0, 1, 0, 1.0f));
  CHECK(cluster.One(Cluster::PushOf(0, 2, 1, 1.0f)).header.reason == Refusal::kClockAhead);
  CHECK(cluster.Do(Cluster::PullOf(0, 1)).empty());
  const auto actions = cluster.Do(Cluster::PushOf(1, 1, 0, 1.0f));
  REQUIRE(actions.size() == 2);
  CHECK(std::get<Reply>(actions[1]).message.header.clock == 1);
  cluster.One(Cluster::PushOf(0, 2, 1, 1.0f));
  CHECK(cluster.Do(Cluster::PullOf(0, 2)).empty());
  CHECK(cluster.Do(Tick{10999}).empty());
  const auto late = cluster.Do(Tick{11000});
  REQUIRE(late.size() == 1);
  const Message& refused = std::get<Reply>(late[0]).message;
  CHECK(refused.header.reason == Refusal::kReadTimeout);
  CHECK(Text(refused.payload).find("1 (clock 1)") != std::string::npos);
  CHECK(cluster.stats().parked == 0);
}

TEST_CASE("ssp: who comes again begins at the slowest of those who are there, not where it died") {
  Job job = MakeJob("ssp", "sgd", 2);
  job.mutable_sync()->set_s(2);
  Cluster cluster(job);
  cluster.One(Cluster::PushOf(1, 1, 0, 0.0f));
  cluster.Do(Leave{.ticket = 1, .partition = 1, .fence = 11});
  for (uint64_t clock = 0; clock < 20; ++clock) {
    CHECK(cluster.One(Cluster::PushOf(0, clock + 1, clock, 0.0f)).header.reason == Refusal::kNone);
  }
  const Report report = cluster.Rejoin(1, 99);
  CHECK(report.progress->clock == 20);
  CHECK(report.progress->sequence == 1);
  CHECK(cluster.One(Cluster::PushOf(0, 21, 20, 0.0f)).header.reason == Refusal::kNone);
  CHECK(cluster.stats().largest_lead == 0);
}

SettingsChange To(uint32_t version, uint64_t from_clock, const std::string& mode, float rate) {
  SettingsChange change;
  change.set_version(version);
  change.set_from_clock(from_clock);
  const auto job = ParseJob("name: test\nworkers: 2\nsync: {mode: " + mode + "}\nnet: [{name: l, type: softmax_loss}]\n", "");
  REQUIRE(job.ok());
  *change.mutable_sync() = job->sync();
  change.set_learning_rate(rate);
  return change;
}

Push Under(Push push, uint32_t settings) {
  push.message.header.settings = settings;
  return push;
}

TEST_CASE("settings count for the pushes of their clock and later") {
  Cluster cluster(MakeJob("asp"));
  cluster.Do(Change{To(1, 5, "asp", 0.25f)});
  cluster.One(Cluster::PushOf(0, 1, 4, 1.0f));
  CHECK(cluster.First() == 0.5f);
  cluster.One(Cluster::PushOf(1, 1, 5, 1.0f));  // it has not heard yet, and the mode is the same
  CHECK(cluster.First() == 0.25f);
}

TEST_CASE("a push made under another mode than its clock's is refused, and so is one of a version nobody knows") {
  Cluster cluster(MakeJob("asp"));
  cluster.Do(Change{To(1, 5, "bsp", 0.5f)});
  CHECK(cluster.One(Cluster::PushOf(0, 1, 5, 1.0f)).header.reason == Refusal::kNewSettings);
  CHECK(cluster.One(Under(Cluster::PushOf(0, 1, 4, 1.0f), 1)).header.reason == Refusal::kNewSettings);
  CHECK(cluster.One(Under(Cluster::PushOf(0, 1, 4, 1.0f), 7)).header.reason == Refusal::kNewSettings);
  Pull pull = Cluster::PullOf(0, 0);
  pull.header.settings = 7;
  CHECK(cluster.One(pull).header.reason == Refusal::kNewSettings);
  CHECK(cluster.First() == 1.0f);
}

TEST_CASE("rounds that begin in a running job begin at their clock, or at the furthest worker's") {
  for (const uint64_t from : {3, 12}) {
    CAPTURE(from);
    Cluster cluster(MakeJob("asp"));
    for (uint64_t n = 0; n < 10; ++n) cluster.One(Cluster::PushOf(0, n + 1, n, 0.0f));
    cluster.Do(Change{To(1, from, "bsp", 0.5f)});
    Pull pull = Cluster::PullOf(0, 10);
    pull.header.settings = 1;
    const Message values = cluster.One(pull);
    const uint64_t begin = std::max<uint64_t>(from, 10);
    CHECK(values.header.clock == begin);
    CHECK(cluster.Do(Under(Cluster::PushOf(0, 11, begin, 1.0f), 1)).empty());
    CHECK(cluster.Do(Under(Cluster::PushOf(1, 1, begin, 1.0f), 1)).size() == 2);
    CHECK(cluster.First() == 0.5f);
  }
}

TEST_CASE("a push from before the rounds, which comes when others are in them, changes nothing of their clock") {
  Cluster cluster(MakeJob("asp"));
  cluster.Do(Change{To(1, 5, "bsp", 0.5f)});
  cluster.One(Cluster::PushOf(0, 1, 4, 0.0f));
  CHECK(cluster.Do(Under(Cluster::PushOf(0, 2, 5, 1.0f), 1)).empty());
  CHECK(cluster.One(Cluster::PushOf(1, 1, 3, 0.0f)).header.reason == Refusal::kNone);
  CHECK(cluster.One(Cluster::PushOf(1, 2, 4, 0.0f)).header.reason == Refusal::kNone);
  Pull pull = Cluster::PullOf(1, 5);
  pull.header.settings = 1;
  CHECK(cluster.One(pull).header.clock == 5);
  CHECK(cluster.Do(Under(Cluster::PushOf(1, 3, 5, 1.0f), 1)).size() == 2);
  CHECK(cluster.First() == 0.5f);
}

TEST_CASE("workers that start again together wait for one another, also for those whose end is noticed late") {
  Cluster cluster(MakeJob("bsp"));
  cluster.Do(Cluster::PushOf(0, 1, 0, 1.0f));
  cluster.Do(Cluster::PushOf(1, 1, 0, 1.0f));
  CHECK(cluster.First() == 0.5f);
  cluster.Do(Leave{.ticket = 1, .partition = 0, .fence = 10});
  cluster.Do(Join{.ticket = 1, .partition = 0, .fence = 20, .generation = 1});
  const auto push = [](uint32_t worker, uint64_t clock) {
    Push push = Cluster::PushOf(worker, clock + 1, clock, 1.0f);
    push.message.header.fence = 20 + worker;
    return push;
  };
  // Worker 1's old attempt ends only now: without it clock 1 would close.
  CHECK(cluster.Do(push(0, 1)).empty());
  cluster.Do(Leave{.ticket = 1, .partition = 1, .fence = 11});
  CHECK(cluster.stats().held == 1);
  CHECK(cluster.First() == 0.5f);
  cluster.Do(Join{.ticket = 1, .partition = 1, .fence = 21, .generation = 1});
  CHECK(cluster.Do(push(1, 1)).size() == 2);
  CHECK(cluster.First() == 0.0f);
  // One of them that is lost is waited for: all will start again. One that is done is not.
  CHECK(cluster.Do(push(0, 2)).empty());
  cluster.Do(Leave{.ticket = 1, .partition = 1, .fence = 21});
  CHECK(cluster.First() == 0.0f);
  cluster.Do(Join{.ticket = 1, .partition = 1, .fence = 22, .generation = 2});
  cluster.Do(Leave{.ticket = 1, .partition = 1, .fence = 22, .done = true});
  CHECK(cluster.First() == -0.5f);
}

TEST_CASE("ssp: a refused gradient holds nobody up, not even its own worker") {
  Job job = MakeJob("ssp", "sgd", 3);
  job.mutable_sync()->set_s(0);
  job.mutable_sync()->set_max_age(1);
  Cluster cluster(job);
  cluster.One(Cluster::PushOf(0, 1, 0, 0.0f));
  cluster.One(Cluster::PushOf(1, 1, 0, 0.0f));
  CHECK(cluster.Do(Cluster::PullOf(0, 1)).empty());
  const auto actions = cluster.Do(Cluster::PushOf(2, 1, 0, 0.0f));
  REQUIRE(actions.size() == 2);
  CHECK(std::get<Reply>(actions[0]).message.header.reason == Refusal::kTooOld);
  CHECK(std::get<Reply>(actions[1]).message.header.kind == FrameKind::kValues);
}

TEST_CASE("nobody waits for the clock of a push that was refused, whichever comes first, the refusal or the next pull") {
  Cluster cluster(MakeJob("bsp"));
  for (uint64_t clock = 0; clock < 3; ++clock) {
    for (uint32_t worker : {0, 1}) cluster.Do(Cluster::PushOf(worker, clock + 1, clock, 0.0f));
  }
  cluster.Do(Change{To(1, 2, "asp", 0.5f)});
  CHECK(cluster.One(Cluster::PushOf(0, 4, 3, 1.0f)).header.reason == Refusal::kNewSettings);
  CHECK(cluster.One(Cluster::PullOf(0, 4)).header.kind == FrameKind::kValues);
}

TEST_CASE("a held push does not wait for ever for who never comes, or does not move") {
  Job job = MakeJob("bsp");
  job.mutable_sync()->set_join_timeout_ms(1000);
  job.mutable_sync()->set_read_timeout_ms(5000);
  auto core = *ShardCore::Create(job);
  std::vector<Action> actions;
  core->Handle(CreateTable{1, 0, {{0, 0, kElements}}, {}}, actions);
  core->Handle(Tick{100}, actions);
  core->Handle(Join{.ticket = 1, .partition = 0, .fence = 10}, actions);
  core->Handle(Set{{}, Cluster::SetOf(0, 0, std::vector<float>(kElements, 1.0f))}, actions);
  core->Handle(Cluster::PushOf(0, 1, 0, 1.0f), actions);
  actions.clear();
  core->Handle(Tick{1099}, actions);
  CHECK(actions.empty());
  core->Handle(Tick{1100}, actions);
  REQUIRE(actions.size() == 1);
  CHECK(std::get<Reply>(actions[0]).message.header.reason == Refusal::kNoMembers);
  CHECK(core->stats().held == 0);
  // Partition 1 comes, and then does nothing.
  core->Handle(Join{.ticket = 1, .partition = 1, .fence = 11}, actions);
  core->Handle(Cluster::PushOf(0, 1, 0, 1.0f), actions);
  actions.clear();
  core->Handle(Tick{6099}, actions);
  CHECK(actions.empty());
  core->Handle(Tick{6100}, actions);
  REQUIRE(actions.size() == 1);
  CHECK(std::get<Reply>(actions[0]).message.header.reason == Refusal::kReadTimeout);
  CHECK(Text(std::get<Reply>(actions[0]).message.payload).find("partitions 1 (clock 0)") != std::string::npos);
}

TEST_CASE("with backup workers those who never come end nothing while clocks close without them") {
  Job job = MakeJob("bsp", "sgd", 3);
  job.mutable_sync()->set_backup_workers(1);
  job.mutable_sync()->set_join_timeout_ms(1000);
  auto core = *ShardCore::Create(job);
  std::vector<Action> actions;
  core->Handle(CreateTable{1, 0, {{0, 0, kElements}}, {}}, actions);
  core->Handle(Tick{100}, actions);
  for (uint32_t p : {0, 1}) core->Handle(Join{.ticket = 1, .partition = p, .fence = 10 + p}, actions);
  core->Handle(Set{{}, Cluster::SetOf(0, 0, std::vector<float>(kElements, 1.0f))}, actions);
  for (uint64_t clock = 0; clock < 5; ++clock) {
    core->Handle(Tick{static_cast<int64_t>(1000 * clock + 500)}, actions);
    core->Handle(Cluster::PushOf(0, clock + 1, clock, 1.0f), actions);
    actions.clear();
    core->Handle(Cluster::PullOf(0, clock + 1), actions);
    core->Handle(Tick{static_cast<int64_t>(1000 * clock + 900)}, actions);
    CHECK(actions.empty());
    core->Handle(Cluster::PushOf(1, clock + 1, clock, 1.0f), actions);
    CHECK(actions.size() == 3);
  }
  CHECK(core->stats().updates == 5);
}

TEST_CASE("who comes after the mode has changed comes by the new one, also where parts count no clocks") {
  Cluster cluster(MakeJob("asp"));
  cluster.Do(Change{To(1, 10, "ssp", 0.5f)});
  cluster.One(Cluster::PushOf(1, 1, 3, 0.0f));
  cluster.Do(Leave{.ticket = 1, .partition = 1, .fence = 11});
  for (uint64_t clock = 0; clock < 50; ++clock) {
    cluster.One(Under(Cluster::PushOf(0, clock + 1, clock, 0.0f), clock < 10 ? 0 : 1));
  }
  CHECK(cluster.Rejoin(1, 99).progress->clock == 50);
}

TEST_CASE("a clock that closes late takes nothing back of what its workers had applied since") {
  Cluster cluster(MakeJob("bsp"));
  cluster.Do(Change{To(1, 1, "asp", 0.5f)});
  cluster.Do(Cluster::PushOf(0, 1, 0, 1.0f));
  CHECK(cluster.One(Under(Cluster::PushOf(0, 2, 1, 1.0f), 1)).header.reason == Refusal::kNone);
  cluster.Do(Cluster::PushOf(1, 1, 0, 1.0f));
  CHECK(cluster.stats().held == 0);
  CHECK(cluster.One(Under(Cluster::PushOf(0, 2, 1, 1.0f), 1)).header.reason == Refusal::kDuplicate);
}

TEST_CASE("rounds that end before their time leave nothing held") {
  Cluster cluster(MakeJob("bsp"));
  cluster.Do(Cluster::PushOf(0, 1, 0, 1.0f));
  cluster.Do(Cluster::PullOf(0, 1));
  const auto actions = cluster.Do(Change{To(1, 0, "asp", 0.5f)});
  REQUIRE(actions.size() == 2);
  CHECK(std::get<Reply>(actions[0]).message.header.reason == Refusal::kNone);
  CHECK(std::get<Reply>(actions[1]).message.header.kind == FrameKind::kValues);
  CHECK(cluster.First() == 0.5f);
  CHECK(cluster.stats().held == 0);
}

}  // namespace
}  // namespace downpour::ps
