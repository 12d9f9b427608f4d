#include "bench/simulation/simulation.h"

#include <catch2/catch.hpp>
#include <numeric>

namespace downpour::bench {
namespace {

constexpr std::uint32_t kParts = 8;
constexpr double kPartBytes = 64'000;

SimulationSettings Small(const std::string& mode, std::vector<std::string> set = {}) {
  SimulationSettings settings;
  settings.mode = mode;
  settings.set = std::move(set);
  settings.workers = 12;
  settings.servers = 2;
  settings.shards = 2;
  // Parts are cut so that all are alike.
  settings.parameters = kParts * 16'000;
  settings.set.push_back("servers.part_bytes=64000");
  settings.stands_for = 100;
  settings.warmup_steps = 5;
  settings.steps = 20;
  settings.join_ms = 300;
  settings.compute.slow_share = 0.1;
  settings.compute.slow_factor = 3;
  settings.links.worker_gbps = 0.1;
  settings.links.server_gbps = 0.2;
  return settings;
}

Figures FiguresOf(const SimulationSettings& settings) {
  const auto simulated = Simulate(settings);
  INFO(simulated.status());
  REQUIRE(simulated.ok());
  return simulated->figures;
}

std::uint64_t Refused(const Account& account) {
  return std::accumulate(account.refused.begin(), account.refused.end(), std::uint64_t{0});
}

TEST_CASE("a seed gives the same figures to the bit, another one others") {
  for (const char* mode : {"bsp", "ssp", "downpour", "asp", "local_sgd", "easgd"}) {
    CAPTURE(mode);
    SimulationSettings settings = Small(mode);
    const Figures first = FiguresOf(settings);
    CHECK(FiguresOf(settings) == first);
    settings.seed = 2;
    const Figures other = FiguresOf(settings);
    CHECK(other.seconds != first.seconds);
    CHECK(other.checksum != first.checksum);
  }
}

TEST_CASE("in bsp nothing is stale and nobody ahead, and each update is of all") {
  const Figures figures = FiguresOf(Small("bsp"));
  CHECK(figures.staleness == Spread{});
  CHECK(figures.lead_max == 0);
  CHECK(figures.gradients_per_second == Approx(12 * figures.updates_per_second));
  CHECK(figures.held_bytes > 0);
  CHECK(figures.held_bytes <= 12 * kParts / 2 * kPartBytes);
}

TEST_CASE("in ssp nobody is ever more than s ahead, and somebody is") {
  for (const std::uint64_t s : {0, 1, 3}) {
    const Figures figures = FiguresOf(Small("ssp", {"sync.s=" + std::to_string(s)}));
    CHECK(figures.lead_max == static_cast<double>(s));
    CHECK(figures.staleness.max > 0);
    CHECK(figures.held_bytes == 0);
  }
}

TEST_CASE("where links and servers take no time and workers are alike, all modes reach what the workers can do") {
  for (const char* mode : {"bsp", "ssp", "downpour"}) {
    SimulationSettings settings = Small(mode);
    settings.steps = 50;
    settings.compute.sigma = 0;
    settings.compute.slow_share = 0;
    settings.compute.pauses_per_hour = 0;
    settings.links = {.worker_gbps = 1e6, .worker_least = 1, .server_gbps = 1e6, .payload_share = 1, .latency_us = 1};
    settings.server.frame_us = settings.server.answer_us = 0;
    CAPTURE(mode);
    CHECK(FiguresOf(settings).of_ideal == Approx(1).margin(0.02));
  }
}

TEST_CASE("every frame has one answer, and links carry these frames and no more") {
  const std::vector<SimulationSettings> all = {
      Small("bsp"),       Small("bsp", {"sync.backup_workers=2"}),
      Small("ssp"),       Small("ssp", {"sync.max_age=12"}),
      Small("downpour"),  Small("downpour", {"sync.warmup_steps=7"}),
      Small("local_sgd"), Small("easgd", {"sync.rounds=true"}),
  };
  for (const SimulationSettings& settings : all) {
    CAPTURE(settings.mode, settings.set);
    const Account account = FiguresOf(settings).account;
    CHECK(account.unexpected == 0);
    CHECK(account.pushes + account.sets == account.pushes_applied + account.sets_taken + Refused(account));
    CHECK(account.pulls == account.pulls_answered);
    CHECK(account.pushes % kParts == 0);
    CHECK(account.pushes >= 12 * kParts * 25 / 10);  // of some modes, one in ten steps
    const double to = static_cast<double>(account.pushes + account.sets) * (kPartBytes + kFrameHeaderBytes) +
                      static_cast<double>(account.pulls) * kFrameHeaderBytes;
    CHECK(static_cast<double>(account.bytes_to_servers) == to);
    const double from = static_cast<double>(account.pushes + account.sets) * kFrameHeaderBytes +
                        static_cast<double>(account.pulls) * (kPartBytes + kFrameHeaderBytes);
    if (Refused(account) == 0) {
      CHECK(static_cast<double>(account.bytes_from_servers) == from);
    } else {
      CHECK(static_cast<double>(account.bytes_from_servers) > from);  // the refusals' sentences
    }
  }
  CHECK(Refused(FiguresOf(all[1]).account) > 0);
  CHECK(Refused(FiguresOf(all[3]).account) > 0);
}

TEST_CASE("fewer bytes for a parameter are fewer bytes on the links") {
  SimulationSettings settings = Small("downpour");
  const Figures full = FiguresOf(settings);
  settings.push_bytes = 1;
  settings.pull_bytes = 2;
  const Figures less = FiguresOf(settings);
  CHECK(less.bytes_per_step < 0.45 * full.bytes_per_step);
  CHECK(less.push_ms.mean < 0.5 * full.push_ms.mean);
}

TEST_CASE("what can't be simulated is refused") {
  CHECK_FALSE(Simulate(Small("peer")).ok());
  CHECK_FALSE(Simulate(Small("hogwild")).ok());
  CHECK_FALSE(Simulate(Small("bsp", {"sync.s=3"})).ok());
  SimulationSettings settings = Small("bsp");
  settings.parameters = 1000;
  CHECK_FALSE(Simulate(settings).ok());
  settings = Small("bsp");
  settings.links.worker_gbps = 0;
  CHECK_FALSE(Simulate(settings).ok());
}

TEST_CASE("a wait that the job's timeouts end ends the simulation") {
  SimulationSettings settings = Small("bsp", {"sync.read_timeout_ms=1000"});
  settings.compute.slow_factor = 100;
  const auto simulated = Simulate(settings);
  REQUIRE_FALSE(simulated.ok());
  CHECK(simulated.status().message().find("read_timeout") != absl::string_view::npos);
}

}  // namespace
}  // namespace downpour::bench
