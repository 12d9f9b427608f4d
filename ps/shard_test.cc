#include "ps/shard.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <thread>

namespace downpour::ps {
namespace {

Job MakeJob() {
  Job job;
  job.set_name("test");
  job.set_workers(1);
  job.mutable_sync()->set_mode("asp");
  job.mutable_optimizer()->set_name("sgd");
  job.mutable_optimizer()->set_learning_rate(1);
  job.mutable_schedule()->set_policy("fixed");
  return job;
}

// Keeps what comes, and holds the shard's thread until told to go on.
class Keeper : public Shard::Sink {
 public:
  void Deliver(Action action) override {
    if (++inside_ > 1) overlapped_ = true;
    gate_.wait();
    std::this_thread::yield();
    --inside_;
    std::lock_guard lock(mutex_);
    actions_.push_back(std::move(action));
    last_thread_ = std::this_thread::get_id();
  }
  bool overlapped() const { return overlapped_; }
  std::thread::id last_thread() {
    std::lock_guard lock(mutex_);
    return last_thread_;
  }
  void Open() { open_.set_value(); }
  size_t count() {
    std::lock_guard lock(mutex_);
    return actions_.size();
  }

 private:
  std::atomic<int> inside_ = 0;
  std::atomic<bool> overlapped_ = false;
  std::promise<void> open_;
  std::shared_future<void> gate_ = open_.get_future().share();
  std::mutex mutex_;
  std::vector<Action> actions_;
  std::thread::id last_thread_;
};

Push PushOf(uint64_t sequence, size_t elements) {
  auto values = std::make_shared<std::vector<float>>(elements, 1.0f);
  Push push{{}, {{}, Payload(values, std::span<const float>(*values))}};
  push.message.header.kind = FrameKind::kPush;
  push.message.header.fence = 1;
  push.message.header.sequence = sequence;
  push.message.header.elements = elements;
  return push;
}

TEST_CASE("events are handled in order and counted") {
  Keeper keeper;
  keeper.Open();
  Shard shard(3, *ShardCore::Create(MakeJob()), 1 << 20, &keeper, {});
  shard.Post(CreateTable{1, 0, {{0, 0, 16}}});
  shard.Post(Join{.ticket = 1, .partition = 0, .fence = 1});
  Push set = PushOf(1, 16);
  set.message.header.kind = FrameKind::kSet;
  REQUIRE(shard.TryPost(Set{set.route, set.message}, 1 << 20));
  for (uint64_t n = 1; n <= 10; ++n) REQUIRE(shard.TryPost(PushOf(n, 16), n % 2 == 0 ? 64 : 1 << 20));
  shard.Flush();
  CHECK(keeper.count() == 13);
  const ShardStats stats = shard.stats();
  CHECK(stats.core.pushes == 10);
  CHECK(stats.queue_events == 0);
  CHECK(stats.queue_bytes == 0);
  CHECK(stats.apply_seconds > 0);
}

TEST_CASE("what is small and finds the shard at rest is handled on the spot") {
  Keeper keeper;
  keeper.Open();
  Shard shard(0, *ShardCore::Create(MakeJob()), 1 << 20, &keeper, {});
  shard.Post(CreateTable{1, 0, {{0, 0, 16}}});
  shard.Post(Join{.ticket = 1, .partition = 0, .fence = 1});
  Push set = PushOf(1, 16);
  set.message.header.kind = FrameKind::kSet;
  REQUIRE(shard.TryPost(Set{set.route, set.message}, 64));
  shard.Flush();
  // Once its own thread has gone to sleep.
  uint64_t sent = 0;
  while (keeper.last_thread() != std::this_thread::get_id()) {
    REQUIRE(sent < 10'000);
    REQUIRE(shard.TryPost(PushOf(++sent, 16), 64));
    shard.Flush();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  CHECK(shard.stats().core.pushes == sent);
}

TEST_CASE("whoever handles an event, each is handled once and one at a time") {
  Keeper keeper;
  keeper.Open();
  Shard shard(0, *ShardCore::Create(MakeJob()), 64 << 20, &keeper, {});
  shard.Post(CreateTable{1, 0, {{0, 0, 16}}});
  shard.Post(Join{.ticket = 1, .partition = 0, .fence = 1});
  Push set = PushOf(1, 16);
  set.message.header.kind = FrameKind::kSet;
  shard.Post(Set{set.route, set.message});
  shard.Flush();
  std::vector<std::thread> posters;
  for (int poster = 0; poster < 4; ++poster) {
    posters.emplace_back([&shard, poster] {
      for (uint64_t n = 0; n < 500; ++n) {
        while (!shard.TryPost(PushOf(1 + 4 * n + poster, 16), n % 3 == 0 ? 1 << 20 : 64)) {
        }
      }
    });
  }
  for (std::thread& poster : posters) poster.join();
  shard.Flush();
  CHECK(keeper.count() == 3 + 2000);
  CHECK_FALSE(keeper.overlapped());
  const ShardStats stats = shard.stats();
  CHECK(stats.core.pushes + stats.core.refused[static_cast<size_t>(Refusal::kDuplicate)] == 2000);
  CHECK(stats.queue_bytes == 0);
}

TEST_CASE("a full queue takes no more frames, but the server's own events") {
  Keeper keeper;
  Shard shard(0, *ShardCore::Create(MakeJob()), 64 << 10, &keeper, {});
  shard.Post(Join{.ticket = 1, .partition = 0, .fence = 1});
  int taken = 0;
  while (taken < 1000 && shard.TryPost(PushOf(1, 1024), 4096)) ++taken;
  CHECK(taken >= 10);
  CHECK(taken < 20);
  shard.Post(Drain{});
  CHECK(shard.stats().overloaded == 1);
  keeper.Open();
  shard.Flush();
  CHECK(shard.TryPost(PushOf(1, 1024), 4096));
}

TEST_CASE("a queue full of pushes has room for pulls, but not without end") {
  Keeper keeper;
  Shard shard(0, *ShardCore::Create(MakeJob()), 64 << 10, &keeper, {});
  shard.Post(Join{.ticket = 1, .partition = 0, .fence = 1});
  while (shard.TryPost(PushOf(1, 16), 64)) {
  }
  int taken = 0;
  while (taken < 1000 && shard.TryPost(Pull{}, 64)) ++taken;
  CHECK(taken >= 16);
  CHECK(taken < 64);
  CHECK_FALSE(shard.TryPost(PushOf(1, 16), 64));
  keeper.Open();
}

TEST_CASE("a shard handles what is queued before it ends") {
  Keeper keeper;
  keeper.Open();
  {
    Shard shard(0, *ShardCore::Create(MakeJob()), 1 << 20, &keeper, {});
    for (int i = 0; i < 100; ++i) shard.Post(Leave{.ticket = 1, .partition = 0, .fence = 1});
  }
  CHECK(keeper.count() == 100);
}

// Writes down when it is called.
class Witness : public Shard::Observer {
 public:
  explicit Witness(std::vector<std::string>* seen) : seen_(seen) {}
  void Before(const Event& event) override {
    tick_ = std::holds_alternative<Tick>(event);
    if (!tick_) seen_->push_back("before " + std::to_string(event.index()));
  }
  void After(const ShardCore& core) override {
    if (!tick_) seen_->push_back("after, pushes " + std::to_string(core.stats().pushes));
  }
  void Ended(const ShardCore& core) override {
    seen_->push_back("ended, pushes " + std::to_string(core.stats().pushes));
  }

 private:
  std::vector<std::string>* const seen_;
  bool tick_ = false;
};

TEST_CASE("an observer sees each event before and after it is handled, and the end once") {
  Keeper keeper;
  keeper.Open();
  std::vector<std::string> seen;
  {
    Shard shard(0, *ShardCore::Create(MakeJob()), 1 << 20, &keeper, {}, std::make_unique<Witness>(&seen));
    shard.Post(CreateTable{1, 0, {{0, 0, 16}}});
    shard.Post(Join{.ticket = 1, .partition = 0, .fence = 1});
    Push set = PushOf(1, 16);
    set.message.header.kind = FrameKind::kSet;
    shard.Post(Set{set.route, set.message});
    shard.Post(PushOf(1, 16));
    shard.Stop();
  }
  CHECK(seen == std::vector<std::string>{"before 0", "after, pushes 0", "before 1", "after, pushes 0", "before 4",
                                         "after, pushes 0", "before 5", "after, pushes 1", "ended, pushes 1"});
}

}  // namespace
}  // namespace downpour::ps
