#include <catch2/catch.hpp>

#include "ps/core_harness.h"

namespace downpour::ps {
namespace {

std::vector<Saved> SavedOf(const std::vector<Action>& actions) {
  std::vector<Saved> saved;
  for (const Action& action : actions) {
    if (const auto* one = std::get_if<Saved>(&action)) saved.push_back(*one);
  }
  return saved;
}

// A core of the same table where nobody has come.
Cluster Empty(const Job& job, uint32_t parts) {
  Cluster cluster(job, parts, false);
  for (uint32_t p = 0; p < job.workers(); ++p) cluster.Do(Leave{.ticket = 9, .partition = p, .fence = 10 + p});
  return cluster;
}

bool Restores(Cluster& cluster, const PartState& state) {
  const auto actions = cluster.Do(Restore{4, state});
  REQUIRE(actions.size() == 1);
  return std::get<Restored>(actions[0]).ok;
}

TEST_CASE("without rounds a checkpoint is of now, and what comes back goes on to the same bits") {
  for (const std::string optimizer : {"sgd", "momentum", "adam", "amsgrad"}) {
    INFO(optimizer);
    const Job job = MakeJob("asp", optimizer);
    Cluster cluster(job, 3);
    const auto push = [](Cluster& to, uint64_t sequence) {
      for (uint32_t part = 0; part < 3; ++part) {
        to.Do(Cluster::PushOf(sequence % 2, sequence, sequence, 0.1f * static_cast<float>(sequence + part), part));
      }
    };
    for (uint64_t sequence = 1; sequence < 8; ++sequence) push(cluster, sequence);
    const auto saved = SavedOf(cluster.Do(Checkpoint{5, 1000}));
    REQUIRE(saved.size() == 3);
    const uint64_t then = cluster.core().Checksum();
    for (const Saved& one : saved) CHECK(one.number == 5);
    for (uint64_t sequence = 8; sequence < 12; ++sequence) push(cluster, sequence);

    Cluster other = Empty(job, 3);
    for (const Saved& one : saved) CHECK(Restores(other, one.state));
    // Whoever comes is told how far it was.
    const Report report = other.Rejoin(0, 30);
    CHECK(report.progress == PartitionProgress{6, 7, 6 * 64});
    CHECK(report.unset_parts.empty());
    other.Rejoin(1, 31);
    CHECK(other.core().Checksum() == then);
    for (uint64_t sequence = 8; sequence < 12; ++sequence) {
      for (uint32_t part = 0; part < 3; ++part) {
        Push again =
            Cluster::PushOf(sequence % 2, sequence, sequence, 0.1f * static_cast<float>(sequence + part), part);
        again.message.header.fence = 30 + sequence % 2;
        CHECK(other.One(again).header.reason == Refusal::kNone);
      }
    }
    CHECK(other.core().Checksum() == cluster.core().Checksum());
  }
}

TEST_CASE("in rounds each part is saved as of the clock") {
  Cluster cluster(MakeJob("bsp", "momentum"), 2);
  const auto round = [&](uint64_t clock, uint32_t part) {
    cluster.Do(Cluster::PushOf(0, clock + 1, clock, 1, part));
    return SavedOf(cluster.Do(Cluster::PushOf(1, clock + 1, clock, 2, part)));
  };
  for (uint64_t clock = 0; clock < 3; ++clock) CHECK(round(clock, 0).empty());
  CHECK(SavedOf(cluster.Do(Checkpoint{1, 5})).empty());
  CHECK(round(3, 0).empty());
  const auto first = round(4, 0);
  REQUIRE(first.size() == 1);
  CHECK(first[0].state.clock == 5);
  CHECK(first[0].state.members == std::vector<PartState::Member>(2, {5, 5 * 64, 5}));
  CHECK(round(5, 0).empty());
  for (uint64_t clock = 0; clock < 4; ++clock) CHECK(round(clock, 1).empty());
  const auto second = round(4, 1);
  REQUIRE(second.size() == 1);
  CHECK(second[0].state.part == 1);
  CHECK(second[0].state.clock == 5);
  SECTION("where the clock has passed, as of now") {
    const auto late = SavedOf(cluster.Do(Checkpoint{2, 1}));
    REQUIRE(late.size() == 2);
    CHECK(late[0].state.clock == 6);
    CHECK(late[1].state.clock == 5);
  }
  SECTION("of two that wait, the later counts") {
    CHECK(SavedOf(cluster.Do(Checkpoint{2, 7})).empty());
    CHECK(SavedOf(cluster.Do(Checkpoint{3, 8})).empty());
    CHECK(round(6, 0).empty());
    const auto saved = round(7, 0);
    REQUIRE(saved.size() == 1);
    CHECK(saved[0].number == 3);
  }
}

TEST_CASE("who has pushed for a round that was not closed pushes again") {
  const Job job = MakeJob("bsp");
  Cluster cluster(job);
  cluster.Do(Cluster::PushOf(0, 1, 0, 1));
  cluster.Do(Cluster::PushOf(1, 1, 0, 1));
  cluster.Do(Cluster::PushOf(0, 2, 1, 1));
  const auto saved = SavedOf(cluster.Do(Checkpoint{1, 0}));
  REQUIRE(saved.size() == 1);
  Cluster other = Empty(job, 1);
  REQUIRE(Restores(other, saved[0].state));
  CHECK(other.Rejoin(0, 30).progress == PartitionProgress{1, 1, 64});
  other.Rejoin(1, 31);
  Push push = Cluster::PushOf(0, 2, 1, 1);
  push.message.header.fence = 30;
  CHECK(other.Do(push).empty());
  push = Cluster::PushOf(1, 2, 1, 1);
  push.message.header.fence = 31;
  CHECK(other.Do(push).size() == 2);
  CHECK(other.First() == 0);
}

TEST_CASE("in rounds nobody goes on alone, whoever was here before") {
  Job job = MakeJob("bsp");
  job.mutable_sync()->set_warmup_steps(1);
  Cluster cluster(job);
  cluster.Do(Cluster::PushOf(0, 1, 0, 1));  // alone, as the first is at first
  cluster.Do(Cluster::PushOf(0, 2, 1, 1));
  cluster.Do(Cluster::PushOf(1, 1, 1, 1));
  const PartState state = SavedOf(cluster.Do(Checkpoint{1, 0}))[0].state;
  const auto stays = [&](Cluster& restored) {
    REQUIRE(Restores(restored, state));
    restored.Rejoin(0, 30);
    Push push = Cluster::PushOf(0, 3, 2, 1);
    push.message.header.fence = 30;
    CHECK(restored.Do(push).empty());
    restored.Rejoin(1, 31);
    push = Cluster::PushOf(1, 2, 2, 1);
    push.message.header.fence = 31;
    CHECK(restored.Do(push).size() == 2);
  };
  SECTION("on a server that is new") {
    Cluster fresh = Empty(job, 1);
    stays(fresh);
  }
  SECTION("on one whose workers have finished") {
    for (uint32_t p = 0; p < 2; ++p) cluster.Do(Leave{.ticket = 9, .partition = p, .fence = 10 + p, .done = true});
    stays(cluster);
  }
}

TEST_CASE("what is no part's state, or comes while somebody works, changes nothing") {
  const Job job = MakeJob("asp", "momentum");
  Cluster cluster(job);
  cluster.Do(Cluster::PushOf(0, 1, 0, 1));
  const PartState state = SavedOf(cluster.Do(Checkpoint{1, 0}))[0].state;
  CHECK_FALSE(Restores(cluster, state));

  Cluster other = Empty(job, 1);
  const uint64_t before = other.core().Checksum();
  const auto refused = [&](auto change) {
    PartState wrong = state;
    change(&wrong);
    return !Restores(other, wrong) && other.core().Checksum() == before;
  };
  CHECK(refused([](PartState* s) { s->table = 1; }));
  CHECK(refused([](PartState* s) { s->part = 1; }));
  CHECK(refused([](PartState* s) { s->begin = 16; }));
  CHECK(refused([](PartState* s) { s->end += 16; }));
  CHECK(refused([](PartState* s) { s->slots = 0; }));
  CHECK(refused([](PartState* s) { s->members.pop_back(); }));
  CHECK(refused([](PartState* s) { s->floats = {}; }));
  CHECK(Restores(other, state));
  CHECK(other.First() == 0.5f);
  // Who reads gets what came back, not what was read before.
  other.Do(Join{.ticket = 5, .partition = 7, .fence = 77, .observer = true});
  Pull pull = Cluster::PullOf(7, 0);
  pull.header.fence = 77;
  CHECK(Values(other.One(pull).payload)[0] == 0.5f);
  PartState next = state;
  const std::vector<float> floats(2 * kElements, 3.0f);
  next.floats = MakePayload(floats);
  CHECK(Restores(other, next));
  CHECK(Values(other.One(pull).payload)[0] == 3);
}

TEST_CASE("a part's state survives being written, and nothing else is taken for one") {
  Cluster cluster(MakeJob("asp", "adam"), 1);
  for (uint64_t sequence = 1; sequence < 4; ++sequence) cluster.Do(Cluster::PushOf(0, sequence, sequence, 1));
  const PartState state = SavedOf(cluster.Do(Checkpoint{1, 0}))[0].state;
  const std::string bytes = EncodePartState(state) + Text(state.floats);
  const auto decode = [](const std::string& text) {
    auto owner = std::make_shared<std::byte[]>(text.size());
    std::memcpy(owner.get(), text.data(), text.size());
    return DecodePartState(owner, {owner.get(), text.size()});
  };
  const auto again = decode(bytes);
  REQUIRE(again.ok());
  CHECK(EncodePartState(*again) == EncodePartState(state));
  CHECK(Text(again->floats) == Text(state.floats));
  for (size_t size = 0; size < bytes.size(); ++size) {
    REQUIRE(decode(bytes.substr(0, size)).status().code() == absl::StatusCode::kDataLoss);
  }
  CHECK(decode(bytes + "x").status().code() == absl::StatusCode::kDataLoss);
  std::mt19937 random(3);
  for (int i = 0; i < 20000; ++i) {
    std::string wrong = bytes;
    wrong[random() % 100] ^= static_cast<char>(1 << random() % 8);
    (void)decode(wrong);  // no crash, and no memory but what there is
  }
}

}  // namespace
}  // namespace downpour::ps
