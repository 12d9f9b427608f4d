// What the wire moves, and what the machine does: `bench/wire` runs it and sets the figures side by side.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "bench/physical.h"
#include "bench/wire_link.h"
#include "proto/job_config.h"
#include "proto/keep_memory.h"
#include "proto/shared_region.h"

namespace downpour::bench {
namespace {

using nlohmann::ordered_json;

constexpr double kGiga = 1e9;

ordered_json Times(std::vector<double> seconds) {
  std::ranges::sort(seconds);
  const auto at = [&](double share) {
    return seconds.empty() ? 0
                           : seconds[static_cast<std::size_t>(share * static_cast<double>(seconds.size() - 1))] * 1e6;
  };
  return {{"p50_us", at(0.5)}, {"p99_us", at(0.99)}};
}

absl::StatusOr<ordered_json> Physical(std::size_t bytes, double seconds, int round_trips) {
  ordered_json seen = {{"memcpy", MemcpyRate(bytes) / kGiga}, {"axpy", AxpyRate(bytes) / kGiga}};
  for (const auto& [name, family] : {std::pair("tcp", Family::kTcp), std::pair("unix", Family::kUnix)}) {
    const auto moved = SocketRate(family, bytes, seconds, false);
    const auto applied = SocketRate(family, bytes, seconds, true);
    const auto times = SocketRoundTrips(family, 4096, round_trips);
    for (const absl::Status& status : {moved.status(), applied.status(), times.status()}) {
      if (!status.ok()) return status;
    }
    seen[name] = {{"moved", *moved / kGiga}, {"applied", *applied / kGiga}, {"round_trip", Times(*times)}};
  }
  return seen;
}

struct LinkOptions {
  bool shared_memory = false;
  double seconds = 1;
  std::uint32_t under_way = 4;
  int round_trips = 0;
  std::uint32_t rows = 0;
  std::uint32_t width = 1;
  std::uint32_t links = 1;
  int server_pid = 0;
};

// Of a process, now.
std::uint64_t ResidentBytes(int pid) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/statm"));
  std::uint64_t all = 0, resident = 0;
  status >> all >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

// One connection alone, then all at once; what the server's memory was before and after the others came, and after all.
absl::StatusOr<ordered_json> Links(const Job& job, std::uint64_t elements, const LinkOptions& options) {
  std::vector<std::unique_ptr<WireLink>> links;
  const auto open = [&]() -> absl::Status {
    auto link = WireLink::Open(job, static_cast<std::uint32_t>(links.size()), elements, nullptr);
    if (!link.ok()) return link.status();
    links.push_back(*std::move(link));
    return absl::OkStatus();
  };
  if (absl::Status status = open(); !status.ok()) return status;
  const auto alone = links[0]->PushRate(options.seconds, options.under_way);
  if (!alone.ok()) return alone.status();
  const std::uint64_t before = ResidentBytes(options.server_pid);
  while (links.size() < options.links) {
    if (absl::Status status = open(); !status.ok()) return status;
  }
  const std::uint64_t after = ResidentBytes(options.server_pid);
  std::vector<absl::StatusOr<double>> rates(links.size());
  std::vector<std::thread> pushers;
  for (std::size_t i = 0; i < links.size(); ++i) {
    pushers.emplace_back([&, i] { rates[i] = links[i]->PushRate(options.seconds, options.under_way); });
  }
  for (std::thread& pusher : pushers) pusher.join();
  ordered_json each = ordered_json::array();
  for (const auto& rate : rates) {
    if (!rate.ok()) return rate.status();
    each.push_back(*rate / kGiga);
  }
  return ordered_json{{"alone", *alone / kGiga},
                      {"each", each},
                      {"resident_one", before},
                      {"resident_idle", after},
                      {"resident_busy", ResidentBytes(options.server_pid)}};
}

absl::StatusOr<ordered_json> Link(const Job& job, std::uint64_t elements, const LinkOptions& options) {
  const auto& [shared_memory, seconds, under_way, round_trips, rows, width, links, server_pid] = options;
  if (links > 1) return Links(job, elements, options);
  std::shared_ptr<SharedRegion> region;
  if (shared_memory) {
    auto made = SharedRegion::Create(MostRegionBytes(job.sync().max_pushes_in_flight(), elements));
    if (!made.ok()) return made.status();
    region = *std::move(made);
  }
  const auto opened = WireLink::Open(job, 0, elements, region);
  if (!opened.ok()) return opened.status();
  WireLink& link = **opened;
  if (round_trips > 0) {
    auto times = link.PullTimes(round_trips);
    if (!times.ok()) return times.status();
    return ordered_json{{"round_trip", Times(*std::move(times))}};
  }
  if (rows > 0) {
    const auto rate = link.SparsePushRate(seconds, under_way, rows, width);
    if (!rate.ok()) return rate.status();
    return ordered_json{{"rows", *rate}, {"scatter", ScatterRate(rows, width)}};
  }
  const auto push = link.PushRate(seconds, under_way);
  if (!push.ok()) return push.status();
  const auto pull = link.PullRate(seconds, under_way);
  if (!pull.ok()) return pull.status();
  absl::StatusOr<double> push_too;
  std::thread pusher([&] { push_too = link.PushRate(seconds, under_way); });
  const auto pull_too = link.PullRate(seconds, under_way);
  pusher.join();
  if (!push_too.ok()) return push_too.status();
  if (!pull_too.ok()) return pull_too.status();
  return ordered_json{{"push", *push / kGiga},
                      {"pull", *pull / kGiga},
                      {"both", {{"push", *push_too / kGiga}, {"pull", *pull_too / kGiga}}}};
}

int Main(int argc, char** argv) {
  CLI::App cli("GB/s and round trips of one stream between a worker and a server, or of the machine's own sockets");
  std::string config, address;
  std::size_t bytes = 4 << 20;
  LinkOptions options;
  cli.add_option("--config", config, "Job file of a server that runs; without: the machine");
  cli.add_option("--server", address, "Where it listens");
  cli.add_option("--bytes", bytes, "Of a table, or of a message")
      ->check(CLI::Range(std::size_t{64}, std::size_t{1} << 32));
  cli.add_flag("--shared-memory", options.shared_memory,
               "Exchange through shared memory; the server must be on this host");
  cli.add_option("--seconds", options.seconds, "Of each measurement");
  cli.add_option("--under-way", options.under_way, "Tables that are under way at once")->check(CLI::Range(1, 64));
  cli.add_option("--round-trips", options.round_trips, "So many pulls one after the other, in place of rates");
  cli.add_option("--rows", options.rows, "Push so many rows of the table, which chance chooses, in place of all");
  cli.add_option("--width", options.width, "Floats of a row")->check(CLI::Range(1u, 4096u));
  cli.add_option("--links", options.links, "So many connections at once, each a worker's")->check(CLI::Range(1, 1024));
  cli.add_option("--server-pid", options.server_pid, "With --links: the server's process");
  CLI11_PARSE(cli, argc, argv);

  bytes = bytes / sizeof(float) * sizeof(float);
  absl::StatusOr<ordered_json> seen;
  if (config.empty()) {
    seen = Physical(bytes, options.seconds, std::max(options.round_trips, 1));
  } else {
    auto job = LoadJob(config, {"servers.addresses=[\"" + address + "\"]"});
    seen = job.ok() ? Link(*job, bytes / sizeof(float), options) : job.status();
  }
  if (!seen.ok()) {
    std::cerr << seen.status().message() << "\n";
    return 1;
  }
  std::cout << *seen << "\n";
  return 0;
}

}  // namespace
}  // namespace downpour::bench

int main(int argc, char** argv) {
  downpour::KeepFreedMemory();
  return downpour::bench::Main(argc, argv);
}
