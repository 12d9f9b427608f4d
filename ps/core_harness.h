// For tests of ShardCore: a core with a table, and frames for it.
#pragma once

#include <catch2/catch.hpp>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "ps/shard_core.h"

namespace downpour::ps {

inline constexpr uint32_t kElements = 100;

inline Job MakeJob(const std::string& mode, const std::string& optimizer = "sgd", uint32_t workers = 2) {
  Job job;
  job.set_name("test");
  job.set_workers(workers);
  job.mutable_sync()->set_mode(mode);
  if (mode == "bsp") job.mutable_sync()->set_join_timeout_ms(1000);
  auto* settings = job.mutable_optimizer();
  settings->set_name(optimizer);
  settings->set_learning_rate(0.5f);
  settings->set_momentum(0.9f);
  settings->set_beta1(0.9f);
  settings->set_beta2(0.999f);
  settings->set_alpha(0.99f);
  settings->set_rho(0.9f);
  settings->set_epsilon(1e-8f);
  settings->set_momentum_decay(0.004f);
  settings->set_beta(1);
  settings->set_trust_coefficient(0.001f);
  job.mutable_schedule()->set_policy("fixed");
  return job;
}

inline Payload MakePayload(const std::vector<float>& values) {
  auto owner = std::make_shared<std::vector<float>>(values);
  return Payload(owner, std::span<const float>(*owner));
}

// The same bytes, cut and placed where no float is aligned.
inline Payload Shredded(const std::vector<float>& values, unsigned seed) {
  auto bytes = std::make_shared<std::vector<std::byte>>(values.size() * sizeof(float) + 1);
  std::memcpy(bytes->data() + 1, values.data(), values.size() * sizeof(float));
  std::span<const std::byte> left(bytes->data() + 1, values.size() * sizeof(float));
  std::mt19937 random(seed);
  std::vector<Payload::Bytes> chunks;
  while (!left.empty()) {
    const size_t n = std::min<size_t>(left.size(), random() % 37);
    chunks.push_back(left.first(n));
    left = left.subspan(n);
  }
  return Payload(bytes, std::move(chunks));
}

inline std::vector<float> Values(const Payload& payload) {
  std::vector<float> out(payload.size() / sizeof(float));
  PayloadReader(payload).Read(std::as_writable_bytes(std::span(out)));
  return out;
}

inline std::string Text(const Payload& payload) {
  std::string out(payload.size(), '\0');
  PayloadReader(payload).Read(std::as_writable_bytes(std::span(out)));
  return out;
}

// A core with one table of `parts` equal parts, and frames for it. Partition p's fence is 10 * attempt + p.
class Cluster {
 public:
  explicit Cluster(const Job& job, uint32_t parts = 1, bool set = true, std::vector<ParamGroup> groups = {})
      : core_(*ShardCore::Create(job)) {
    CreateTable create{.ticket = 1, .table = 0, .parts = {}, .groups = std::move(groups)};
    for (uint32_t i = 0; i < parts; ++i) create.parts.push_back({i, i * kElements, (i + 1) * kElements});
    Do(create);
    for (uint32_t p = 0; p < job.workers(); ++p) Do(Join{.ticket = 2, .partition = p, .fence = 10 + p});
    if (!set) return;
    for (uint32_t i = 0; i < parts; ++i) Do(Set{{}, SetOf(0, i, std::vector<float>(kElements, 1.0f))});
  }

  std::vector<Action> Do(Event event) {
    std::vector<Action> actions;
    core_->Handle(std::move(event), actions);
    return actions;
  }

  // The only answer to an event that has one.
  Message One(Event event) {
    auto actions = Do(std::move(event));
    REQUIRE(actions.size() == 1);
    return std::get<Reply>(actions[0]).message;
  }

  static FrameHeader Header(FrameKind kind, uint32_t worker, uint32_t part) {
    FrameHeader header;
    header.kind = kind;
    header.worker = worker;
    header.part = part;
    header.fence = 10 + worker;
    return header;
  }

  static Message SetOf(uint32_t worker, uint32_t part, const std::vector<float>& values) {
    Message m{Header(FrameKind::kSet, worker, part), MakePayload(values)};
    m.header.elements = values.size();
    return m;
  }

  static Push PushOf(uint32_t worker, uint64_t sequence, uint64_t clock, std::vector<float> g,
                     uint32_t part = 0) {
    Push push{{.stream = worker, .bytes = 0}, {Header(FrameKind::kPush, worker, part), MakePayload(g)}};
    push.message.header.sequence = sequence;
    push.message.header.clock = clock;
    push.message.header.position = sequence * 64;
    push.message.header.samples = 64;
    push.message.header.elements = g.size();
    return push;
  }

  static Push PushOf(uint32_t worker, uint64_t sequence, uint64_t clock, float g, uint32_t part = 0) {
    return PushOf(worker, sequence, clock, std::vector<float>(kElements, g), part);
  }

  static Pull PullOf(uint32_t worker, uint64_t clock, uint32_t part = 0) {
    Pull pull{{.stream = worker, .bytes = 0}, Header(FrameKind::kPull, worker, part)};
    pull.header.clock = clock;
    return pull;
  }

  float First(uint32_t part = 0) { return core_->table(0)->parts()[part].values[0]; }

  Report Rejoin(uint32_t partition, uint64_t fence) {
    auto actions = Do(Join{.ticket = 3, .partition = partition, .fence = fence});
    return std::get<Report>(actions.back());
  }

  ShardCore& core() { return *core_; }
  const CoreStats& stats() { return core_->stats(); }
  uint64_t Refused(Refusal reason) { return stats().refused[static_cast<size_t>(reason)]; }

 private:
  std::unique_ptr<ShardCore> core_;
};

}  // namespace downpour::ps
