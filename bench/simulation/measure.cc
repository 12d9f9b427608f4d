#include "bench/simulation/measure.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "ps/shard_core.h"

namespace downpour::bench {
namespace {

constexpr std::uint32_t kWorkers = 8;
constexpr std::size_t kGradients = 128;  // more than a cache holds, as in a server where each comes from the network
constexpr int kRounds = 12;

// Seconds that the shard takes for an event.
class Shard {
 public:
  Shard(std::unique_ptr<ps::ShardCore> core, std::uint32_t floats) : core_(std::move(core)), floats_(floats) {
    for (std::size_t i = 0; i < kGradients; ++i) {
      gradients_.push_back(std::make_shared<const std::vector<float>>(floats, 1e-6f * static_cast<float>(i + 1)));
    }
    Handle(ps::CreateTable{.parts = {{0, 0, floats}}});
    for (std::uint32_t i = 0; i < kWorkers; ++i) Handle(ps::Join{.partition = i, .fence = i + 1});
    Handle(ps::Set{.message = {Header(FrameKind::kSet, 0), NextGradient()}});
  }

  double Push(std::uint32_t worker, std::uint64_t sequence) {
    FrameHeader header = Header(FrameKind::kPush, worker);
    header.sequence = sequence;
    header.clock = sequence - 1;
    header.samples = 1;
    return Handle(ps::Push{.message = {header, NextGradient()}});
  }
  double Pull() { return Handle(ps::Pull{.header = Header(FrameKind::kPull, 0)}); }
  const ps::CoreStats& stats() const { return core_->stats(); }

 private:
  FrameHeader Header(FrameKind kind, std::uint32_t worker) const {
    FrameHeader header;
    header.kind = kind;
    header.worker = worker;
    header.fence = worker + 1;
    if (kind != FrameKind::kPull) header.elements = floats_;
    return header;
  }
  Payload NextGradient() {
    const auto& gradient = gradients_[next_++ % gradients_.size()];
    return Payload(gradient, std::span<const float>(*gradient));
  }
  double Handle(ps::Event event) {
    std::vector<ps::Action> actions;
    const auto began = std::chrono::steady_clock::now();
    core_->Handle(std::move(event), actions);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  }

  std::unique_ptr<ps::ShardCore> core_;
  const std::uint32_t floats_;
  std::vector<std::shared_ptr<const std::vector<float>>> gradients_;
  std::size_t next_ = 0;
};

absl::StatusOr<Shard> ShardOf(const char* mode, std::uint32_t floats) {
  const auto job = JobOf({.mode = mode, .workers = kWorkers, .servers = 1, .shards = 1});
  if (!job.ok()) return job.status();
  auto core = ps::ShardCore::Create(*job);
  if (!core.ok()) return core.status();
  return Shard(*std::move(core), floats);
}

}  // namespace

absl::StatusOr<ServerTimes> MeasureServerTimes(std::uint32_t part_floats, ServerTimes times) {
  auto weak = ShardOf("asp", part_floats);
  if (!weak.ok()) return weak.status();
  auto rounds = ShardOf("bsp", part_floats);
  if (!rounds.ok()) return rounds.status();
  double push = 1, copy = 1, check = 1, close = 1;
  for (std::uint64_t round = 1; round <= kRounds; ++round) {
    for (std::uint32_t worker = 0; worker < kWorkers; ++worker) {
      push = std::min(push, weak->Push(worker, round));
      copy = std::min(copy, weak->Pull());
      double& least = worker + 1 < kWorkers ? check : close;
      least = std::min(least, rounds->Push(worker, round));
    }
  }
  if (weak->stats().updates != kRounds * kWorkers || rounds->stats().updates != kRounds) {
    return absl::InternalError("the shards did not do what was to be measured");
  }
  const double bytes = part_floats * sizeof(float) / 1e9;
  const double apply = push - check;
  times.check_rate = bytes / check;
  times.apply_rate = bytes / apply;
  times.sum_rate = bytes * kWorkers / (close - push);
  times.copy_rate = bytes / copy;
  return times;
}

}  // namespace downpour::bench
