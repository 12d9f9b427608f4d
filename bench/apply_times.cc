// What a shard's thread does with gradients, by optimizer, beside one core's y += a * x: `bench/wire` runs it.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <barrier>
#include <chrono>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>
#include <vector>

#include "bench/physical.h"
#include "kernels/aligned_buffer.h"
#include "ps/table.h"

namespace downpour::bench {
namespace {

using nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr double kGiga = 1e9;

// A part and a gradient for it, as they stand in a shard.
class Shard {
 public:
  Shard(const kernels::UpdateRule& rule, std::uint32_t elements) {
    const ps::PartRange range{0, 0, elements};
    table_ = ps::Table::Create(0, {&range, 1}, {}, &rule, 1);
    if (table_ == nullptr) std::exit(1);
    auto values = std::make_shared<kernels::AlignedBuffer>(elements);
    std::fill_n(values->data(), elements, 1e-3f);
    message_.header.elements = elements;
    message_.payload = Payload(values, std::span<const float>(values->data(), elements));
    table_->Assign(table_->parts()[0], message_);
  }

  // As a push is whose floats the transport has looked through.
  void Apply(const kernels::Hyper& hyper) {
    const ps::Table::Gradient one{&message_, 1};
    table_->Apply(table_->parts()[0], hyper, {&one, 1}, {});
  }

 private:
  std::unique_ptr<ps::Table> table_;
  Message message_;
};

// Bytes of gradients a second that so many shards apply, each on a thread of its own.
double ApplyRate(const kernels::UpdateRule& rule, std::uint32_t elements, unsigned shards, int times) {
  const kernels::Hyper hyper = {.learning_rate = 1e-3f,
                                .momentum = 0.9f,
                                .momentum_decay = 0.004f,
                                .beta1 = 0.9f,
                                .beta2 = 0.999f,
                                .alpha = 0.99f,
                                .rho = 0.9f,
                                .epsilon = 1e-8f,
                                .beta = 1,
                                .trust = 1e-3f};
  std::barrier ready(shards + 1);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < shards; ++i) {
    threads.emplace_back([&] {
      Shard shard(rule, elements);
      for (int warm = 0; warm < 3; ++warm) shard.Apply(hyper);
      ready.arrive_and_wait();
      for (int time = 0; time < times; ++time) shard.Apply(hyper);
      ready.arrive_and_wait();
    });
  }
  ready.arrive_and_wait();
  const auto begun = Clock::now();
  ready.arrive_and_wait();
  const double seconds = std::chrono::duration<double>(Clock::now() - begun).count();
  for (std::thread& thread : threads) thread.join();
  return static_cast<double>(elements) * sizeof(float) * shards * times / seconds;
}

int Main(int argc, char** argv) {
  CLI::App cli("GB/s of gradients that a shard applies, by optimizer");
  std::uint32_t elements = 1 << 20;
  int rounds = 5, times = 100;
  cli.add_option("--elements", elements, "Floats of a part")->check(CLI::Range(1u, 1u << 26));
  cli.add_option("--rounds", rounds, "Best of so many");
  cli.add_option("--times", times, "Gradients in each");
  CLI11_PARSE(cli, argc, argv);
  ordered_json seen = {{"cores", std::thread::hardware_concurrency()}, {"rules", ordered_json::array()}};
  double axpy = 0;
  for (const kernels::UpdateRule* rule : kernels::UpdateRules()) {
    double one = 0, all = 0;
    for (int round = 0; round < rounds; ++round) {
      axpy = std::max(axpy, AxpyRate(elements * sizeof(float)));
      one = std::max(one, ApplyRate(*rule, elements, 1, times));
      all = std::max(all, ApplyRate(*rule, elements, std::max(1u, std::thread::hardware_concurrency()), times));
    }
    seen["rules"].push_back({{"rule", rule->name}, {"slots", rule->slots}, {"one", one / kGiga}, {"all", all / kGiga}});
  }
  seen["axpy"] = axpy / kGiga;
  std::cout << seen << "\n";
  return 0;
}

}  // namespace
}  // namespace downpour::bench

int main(int argc, char** argv) { return downpour::bench::Main(argc, argv); }
