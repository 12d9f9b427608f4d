#include "bench/simulation/layout.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/job_config.h"
#include "proto/shard_map.h"
#include "proto/sync/mode.h"
#include "ps/flow_limits.h"

namespace downpour::bench {

absl::Status CheckSettings(const SimulationSettings& settings) {
  const ComputeTimes& compute = settings.compute;
  const Links& links = settings.links;
  const ServerTimes& server = settings.server;
  const auto positive = [](std::initializer_list<double> values) {
    return std::ranges::all_of(values, [](double value) { return value > 0; });
  };
  if (!positive({compute.mean_ms, compute.slow_factor, links.worker_gbps, links.worker_least, links.server_gbps,
                 links.payload_share, server.check_rate, server.apply_rate, server.sum_rate, server.copy_rate,
                 settings.push_bytes, settings.pull_bytes})) {
    return absl::InvalidArgumentError("times, speeds and shares of links must be more than 0");
  }
  if (settings.stands_for == 0 ||
      settings.parameters / settings.stands_for < std::uint64_t{16} * settings.servers * settings.shards) {
    return absl::InvalidArgumentError(absl::StrCat(settings.parameters, " parameters, each float standing for ",
                                                   settings.stands_for, " of them, are too few for ", settings.servers,
                                                   " servers of ", settings.shards, " shards"));
  }
  const auto mode = FindSyncMode(settings.mode);
  if (!mode.ok()) return mode.status();
  if ((*mode)->peers) {
    return absl::InvalidArgumentError(absl::StrCat("sync mode ", settings.mode, " has no servers to simulate"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Job> JobOf(const SimulationSettings& settings) {
  std::string addresses;
  for (std::uint32_t i = 0; i < settings.servers; ++i) absl::StrAppend(&addresses, i ? ", " : "", "\"127.0.0.1:0\"");
  return ParseJob(absl::StrCat("name: scale\nworkers: ", settings.workers, "\nservers: {addresses: [", addresses,
                               "], shards: ", settings.shards, "}\nsync: {mode: ", settings.mode,
                               "}\noptimizer: {name: sgd, learning_rate: 0.01}\n",
                               "net:\n  - {name: ip, type: inner_product, outputs: 10}\n",
                               "  - {name: loss, type: softmax_loss}\n"),
                  "scale", settings.set);
}

Layout::Layout(const SimulationSettings& settings, const Job& job)
    : push_bytes(settings.push_bytes), pull_bytes(settings.pull_bytes) {
  const ShardMap map = MakeShardMap(settings.parameters, settings.servers, settings.shards, job.servers().part_bytes());
  std::uint64_t begin = 0;
  std::uint64_t largest = 0;
  for (int i = 0; i < map.tables(0).parts_size(); ++i) {
    const ShardMap::Part& part = map.tables(0).parts(i);
    const std::uint64_t parameters = part.end() - part.begin();
    const std::uint64_t floats = std::max<std::uint64_t>(1, parameters / settings.stands_for);
    parts.push_back({.server = part.server(),
                     .shard = part.shard(),
                     .range = {static_cast<std::uint32_t>(i), begin, begin + floats},
                     .float_bytes = static_cast<double>(parameters) * sizeof(float)});
    begin += floats;
    largest = std::max(largest, floats * sizeof(float));
  }
  // Shorter encodings make more of the same credit.
  const double credit = static_cast<double>(ps::CreditBytes(job)) * sizeof(float) / settings.push_bytes;
  credit_bytes = std::max(2 * largest, static_cast<std::uint64_t>(credit) / settings.stands_for);
  queue_limit_bytes = ps::QueueLimitBytes(job);
}

std::uint64_t Layout::LinkBytes(const Message& message) const {
  const auto of_part = [&](double bytes) {
    return static_cast<std::uint64_t>(parts[message.header.part].float_bytes / sizeof(float) * bytes);
  };
  std::uint64_t payload = message.payload.size();
  switch (message.header.kind) {
    case FrameKind::kSet: payload = of_part(sizeof(float)); break;
    case FrameKind::kPush: payload = of_part(push_bytes); break;
    case FrameKind::kValues: payload = of_part(pull_bytes); break;
    default: break;
  }
  return kFrameHeaderBytes + payload;
}

std::shared_ptr<const ps::Directory> Layout::DirectoryOf(std::uint32_t server) const {
  auto directory = std::make_shared<ps::Directory>();
  for (std::uint32_t i = 0; i < parts.size(); ++i) {
    const bool here = parts[i].server == server;
    directory->parts.push_back({here ? static_cast<std::int32_t>(parts[i].shard) : -1, elements(i)});
    directory->parts_here += here;
  }
  return directory;
}

}  // namespace downpour::bench
