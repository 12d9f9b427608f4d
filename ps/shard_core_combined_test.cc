#include <catch2/catch.hpp>
#include <limits>

#include "ps/core_harness.h"

namespace downpour::ps {
namespace {

using Catch::Matchers::Contains;

Contributor With(uint32_t worker, uint64_t sequence, uint64_t clock, uint32_t samples = 64) {
  return {worker, samples, 10 + worker, clock, sequence, sequence * 64, 0};
}

// A push of worker 0's with others.
Push Combined(uint64_t sequence, uint64_t clock, float g, std::vector<Contributor> others) {
  Push push = Cluster::PushOf(0, sequence, clock, g);
  if (sequence == 0) push.message.header.samples = 0;
  push.message.header.contributors = static_cast<uint16_t>(others.size());
  push.message.contributors = std::move(others);
  return push;
}

Job AsyncJob(uint32_t workers) { return MakeJob("asp", "sgd", workers); }

TEST_CASE("a push of several is one update, and each of its workers has gone on") {
  Cluster cluster(AsyncJob(3));
  const Message ack = cluster.One(Combined(1, 0, 2, {With(2, 1, 0)}));
  CHECK(ack.header.reason == Refusal::kNone);
  CHECK(ack.header.contributors == 0);
  CHECK(ack.contributors.empty());
  const Table::Part& part = cluster.core().table(0)->parts()[0];
  CHECK(part.version == 1);
  CHECK(part.members[0].sequence == 1);
  CHECK(part.members[2].position == 64);
  CHECK(part.members[1].sequence == 0);
  CHECK(part.clocks[2].clock == 1);
  CHECK(cluster.stats().pushes == 2);
  CHECK(cluster.stats().updates == 1);
  CHECK(cluster.stats().combined == 2);
}

TEST_CASE("it does to the values what the sum does by itself") {
  Cluster together(AsyncJob(2));
  Cluster one(AsyncJob(2));
  together.Do(Combined(1, 0, 3, {With(1, 1, 0)}));
  one.Do(Cluster::PushOf(0, 1, 0, 3.0f));
  CHECK(together.First() == one.First());
}

TEST_CASE("the sender need have nothing in it") {
  Cluster cluster(AsyncJob(3));
  CHECK(cluster.One(Combined(0, 0, 1, {With(1, 1, 0), With(2, 1, 0)})).header.reason == Refusal::kNone);
  const Table::Part& part = cluster.core().table(0)->parts()[0];
  CHECK(part.members[0].sequence == 0);
  CHECK(part.clocks[0].clock == 0);
  CHECK(part.members[1].sequence == 1);
}

TEST_CASE("all are taken or none") {
  Cluster cluster(AsyncJob(3));
  cluster.Do(Cluster::PushOf(1, 1, 0, 1.0f));
  const float before = cluster.First();
  const auto refused = [&](std::vector<Contributor> others) {
    const Message ack = cluster.One(Combined(1, 0, 1, std::move(others)));
    CHECK(cluster.First() == before);
    CHECK(cluster.core().table(0)->parts()[0].members[0].sequence == 0);
    CHECK(cluster.core().table(0)->parts()[0].clocks[0].clock == 0);
    return ack;
  };
  SECTION("one was applied before") {
    const Message ack = refused({With(1, 1, 0), With(2, 1, 0)});
    CHECK(ack.header.reason == Refusal::kDuplicate);
    CHECK_THAT(Text(ack.payload), Contains("worker 1"));
  }
  SECTION("one has another fence") {
    Contributor fenced = With(2, 1, 0);
    fenced.fence = 5;
    CHECK(refused({fenced}).header.reason == Refusal::kFenced);
  }
  SECTION("one has left") {
    cluster.Do(Leave{.ticket = 1, .partition = 2, .fence = 12, .done = true});
    CHECK(refused({With(2, 1, 0)}).header.reason == Refusal::kLeaseEnded);
  }
  SECTION("no such worker") { CHECK(refused({With(9, 1, 0)}).header.reason == Refusal::kFenced); }
  SECTION("a worker twice") { CHECK(refused({With(2, 1, 0), With(2, 2, 0)}).header.reason == Refusal::kMalformed); }
  SECTION("the sender again") { CHECK(refused({With(0, 2, 0)}).header.reason == Refusal::kMalformed); }
  SECTION("no sequence") { CHECK(refused({With(2, 0, 0)}).header.reason == Refusal::kMalformed); }
}

TEST_CASE("what is not finite is refused, and nobody goes on") {
  Cluster cluster(AsyncJob(2));
  Push push = Combined(1, 0, std::numeric_limits<float>::infinity(), {With(1, 1, 0)});
  CHECK(cluster.One(push).header.reason == Refusal::kNotFinite);
  CHECK(cluster.core().table(0)->parts()[0].clocks[1].clock == 0);
  CHECK(cluster.One(Cluster::PushOf(1, 1, 0, 1.0f)).header.reason == Refusal::kNone);
}

TEST_CASE("parameters are not combined") {
  Cluster cluster(AsyncJob(2));
  Push push = Combined(1, 0, 1, {With(1, 1, 0)});
  push.message.header.content = PushContent::kParameters;
  CHECK(cluster.One(push).header.reason == Refusal::kMalformed);
}

TEST_CASE("where a gradient is corrected by what its worker has read, each pushes by itself") {
  Job job = AsyncJob(2);
  job.mutable_sync()->set_delay_compensation(0.5f);
  Cluster cluster(job);
  CHECK(cluster.One(Combined(1, 0, 1, {With(1, 1, 0)})).header.reason == Refusal::kAlone);
}

TEST_CASE("the oldest of several says how old they are") {
  Job job = AsyncJob(3);
  job.mutable_sync()->set_divide_by_staleness(true);
  Cluster cluster(job);
  for (uint64_t s = 1; s <= 4; ++s) cluster.Do(Cluster::PushOf(2, s, s - 1, 0.0f));
  const float before = cluster.First();
  Push push = Combined(1, 0, 1, {With(1, 1, 0)});
  push.message.header.version = 4;
  cluster.Do(push);  // of four updates ago and of none
  CHECK(cluster.First() == Approx(before - job.optimizer().learning_rate() / 4));
}

TEST_CASE("in rounds it counts for all its workers, and by their samples") {
  Cluster cluster(MakeJob("bsp", "sgd", 3));
  CHECK(cluster.Do(Combined(1, 0, 1, {With(1, 1, 0)})).empty());
  CHECK(cluster.stats().held == 2);
  const auto actions = cluster.Do(Cluster::PushOf(2, 1, 0, 4.0f));
  CHECK(actions.size() == 2);
  Cluster each(MakeJob("bsp", "sgd", 3));
  each.Do(Cluster::PushOf(0, 1, 0, 1.0f));
  each.Do(Cluster::PushOf(1, 1, 0, 1.0f));
  each.Do(Cluster::PushOf(2, 1, 0, 4.0f));
  CHECK(cluster.First() == Approx(each.First()));
  CHECK(cluster.stats().held == 0);
  CHECK(cluster.stats().updates == each.stats().updates);
  CHECK(cluster.core().table(0)->parts()[0].clock == 1);
  CHECK(cluster.core().table(0)->parts()[0].members[1].sequence == 1);
}

TEST_CASE("a worker that pushes by itself what is held with others sends these back too") {
  Cluster cluster(MakeJob("bsp", "sgd", 3));
  cluster.Do(Combined(1, 0, 1, {With(1, 1, 0)}));
  const auto actions = cluster.Do(Cluster::PushOf(1, 1, 0, 1.0f));
  REQUIRE(actions.size() == 1);
  CHECK(std::get<Reply>(actions[0]).message.header.reason == Refusal::kAlone);
  CHECK(std::get<Reply>(actions[0]).message.header.worker == 0);
  CHECK(cluster.stats().held == 1);
  CHECK(cluster.core().table(0)->parts()[0].clocks[0].clock == 0);
  cluster.Do(Cluster::PushOf(0, 1, 0, 1.0f));
  cluster.Do(Cluster::PushOf(2, 1, 0, 1.0f));
  CHECK(cluster.core().table(0)->parts()[0].clock == 1);
  CHECK(cluster.stats().held == 0);
  CHECK(cluster.stats().pushes == 3);
}

TEST_CASE("what is held by itself does not come again with others") {
  Cluster cluster(MakeJob("bsp", "sgd", 3));
  cluster.Do(Cluster::PushOf(1, 1, 0, 1.0f));
  CHECK(cluster.One(Combined(1, 0, 1, {With(1, 1, 0)})).header.reason == Refusal::kAlone);
  CHECK(cluster.stats().held == 1);
}

TEST_CASE("a newer attempt at one partition sends back what was held with others") {
  Cluster cluster(MakeJob("bsp", "sgd", 3));
  cluster.Do(Combined(1, 0, 1, {With(1, 1, 0)}));
  const auto actions = cluster.Do(Join{.ticket = 3, .partition = 1, .fence = 21});
  REQUIRE(actions.size() == 2);
  CHECK(std::get<Reply>(actions[0]).message.header.reason == Refusal::kFenced);
  CHECK(cluster.stats().held == 0);
  CHECK(cluster.core().table(0)->parts()[0].clocks[0].clock == 0);
  CHECK(cluster.core().table(0)->parts()[0].clocks[1].clock == 0);
}

TEST_CASE("a server that stops refuses what is held, once") {
  Cluster cluster(MakeJob("bsp", "sgd", 3));
  cluster.Do(Combined(1, 0, 1, {With(1, 1, 0)}));
  const auto actions = cluster.Do(Drain{});
  REQUIRE(actions.size() == 1);
  CHECK(std::get<Reply>(actions[0]).message.header.reason == Refusal::kShuttingDown);
  CHECK(cluster.stats().held == 0);
}

TEST_CASE("behind a push that was not taken none is taken with others") {
  Cluster cluster(AsyncJob(2));
  // Worker 1's first is still on its way by another stream.
  CHECK(cluster.One(Combined(1, 0, 1, {With(1, 2, 1)})).header.reason == Refusal::kAlone);
  CHECK(cluster.One(Cluster::PushOf(1, 1, 0, 1.0f)).header.reason == Refusal::kNone);
  CHECK(cluster.One(Combined(1, 0, 1, {With(1, 2, 1)})).header.reason == Refusal::kNone);
  CHECK(cluster.stats().pushes == 3);
}

TEST_CASE("backup workers count workers, not frames") {
  Job job = MakeJob("bsp", "sgd", 4);
  job.mutable_sync()->set_backup_workers(1);
  Cluster cluster(job);
  cluster.Do(Combined(1, 0, 1, {With(1, 1, 0)}));
  CHECK(cluster.core().table(0)->parts()[0].clock == 0);
  cluster.Do(Cluster::PushOf(2, 1, 0, 1.0f));
  CHECK(cluster.core().table(0)->parts()[0].clock == 1);
}

TEST_CASE("a worker that comes again removes no frame in which it only pushed for others") {
  Cluster cluster(MakeJob("bsp", "sgd", 4));
  cluster.Do(Combined(0, 0, 1, {With(1, 1, 0), With(2, 1, 0)}));
  cluster.Do(Cluster::PushOf(0, 1, 0, 1.0f));
  cluster.Do(Cluster::PushOf(0, 1, 0, 1.0f));  // again
  CHECK(cluster.stats().held == 3);
  cluster.Do(Cluster::PushOf(3, 1, 0, 1.0f));
  CHECK(cluster.stats().pushes == 4);
}

TEST_CASE("what is merely forwarded is not combined") {
  Cluster cluster(AsyncJob(2));
  cluster.Do(Combined(0, 0, 1, {With(1, 1, 0)}));
  CHECK(cluster.stats().pushes == 1);
  CHECK(cluster.stats().combined == 0);
}

}  // namespace
}  // namespace downpour::ps
