// One job in virtual time: `bench/scale` runs it for each mode and number of workers and sets the figures side by side.
#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "bench/simulation/measure.h"
#include "bench/simulation/simulation.h"

namespace downpour::bench {
namespace {

using nlohmann::ordered_json;

constexpr std::uint32_t kMeasuredFloats = 625'000;  // a part of 2.5 MB

int Fail(const absl::Status& status) {
  std::cerr << status.message() << "\n";
  return 1;
}

void AddOptions(CLI::App& cli, SimulationSettings* s) {
  cli.option_defaults()->always_capture_default();
  cli.add_option("--mode", s->mode, "sync.mode");
  cli.add_option("--workers", s->workers)->check(CLI::Range(1, 100'000));
  cli.add_option("--servers", s->servers)->check(CLI::Range(1, 10'000));
  cli.add_option("--shards", s->shards, "Of each server")->check(CLI::Range(1, 256));
  cli.add_option("--parameters", s->parameters, "Of the model");
  cli.add_option("--stands-for", s->stands_for, "Parameters for which a float of the servers' real tables stands");
  cli.add_option("--push-bytes", s->push_bytes, "Of a parameter in a push");
  cli.add_option("--pull-bytes", s->pull_bytes, "Of a parameter in values");
  cli.add_option("--batch", s->batch, "Samples of a step");
  cli.add_option("--warmup-steps", s->warmup_steps, "Of a worker on average, before anything is measured");
  cli.add_option("--steps", s->steps, "Likewise, that are measured")->check(CLI::Range(1, 1'000'000));
  cli.add_option("--join-ms", s->join_ms, "Within which workers come, uniformly");
  cli.add_option("--seed", s->seed);
  cli.add_option("--set", s->set, "KEY=VALUE of the job, as ps-run's");
  cli.add_option("--compute-ms", s->compute.mean_ms, "Mean of a step's computation, which is lognormal");
  cli.add_option("--compute-sigma", s->compute.sigma, "Of its logarithm");
  cli.add_option("--slow-share", s->compute.slow_share, "Of workers that are slow all the time")
      ->check(CLI::Range(0., 1.));
  cli.add_option("--slow-factor", s->compute.slow_factor, "By which their steps are longer");
  cli.add_option("--pauses-per-hour", s->compute.pauses_per_hour, "Of a worker, a Poisson process");
  cli.add_option("--pause-ms", s->compute.pause_ms, "Mean of a pause, which is exponential");
  cli.add_option("--worker-gbps", s->links.worker_gbps, "Gb/s of a worker's link");
  cli.add_option("--worker-least", s->links.worker_least, "Share of it that the slowest link has; they are uniform");
  cli.add_option("--server-gbps", s->links.server_gbps, "Gb/s of a server's link");
  cli.add_option("--payload-share", s->links.payload_share, "Of the bits, beside headers");
  cli.add_option("--latency-us", s->links.latency_us, "One way");
  cli.add_option("--frame-us", s->server.frame_us, "Of a shard's thread, to take a frame in");
  cli.add_option("--answer-us", s->server.answer_us, "Of a shard's thread, to send a frame");
  cli.add_option("--check-rate", s->server.check_rate, "GB/s of a gradient looked through for what is not finite");
  cli.add_option("--apply-rate", s->server.apply_rate, "GB/s of a gradient applied");
  cli.add_option("--sum-rate", s->server.sum_rate, "GB/s of each gradient that is added up");
  cli.add_option("--copy-rate", s->server.copy_rate, "GB/s of a snapshot");
}

int Main(int argc, char** argv) {
  CLI::App cli("A job in virtual time");
  SimulationSettings settings;
  bool measure = false;
  AddOptions(cli, &settings);
  cli.add_flag("--measure", measure, "In place of a simulation: the rates of this machine's shards");
  CLI11_PARSE(cli, argc, argv);
  if (measure) {
    const auto times = MeasureServerTimes(kMeasuredFloats, settings.server);
    if (!times.ok()) return Fail(times.status());
    std::cout << ordered_json{{"check_rate", times->check_rate},
                              {"apply_rate", times->apply_rate},
                              {"sum_rate", times->sum_rate},
                              {"copy_rate", times->copy_rate}}
              << "\n";
    return 0;
  }
  const auto simulated = Simulate(settings);
  if (!simulated.ok()) return Fail(simulated.status());
  // Every flag as it was, so that a figure can be had again.
  ordered_json flags = ordered_json::object();
  for (const CLI::Option* option : cli.get_options()) {
    const std::string name = option->get_lnames().empty() ? "" : option->get_lnames()[0];
    if (name.empty() || name == "help" || name == "measure") continue;
    flags[name] = option->count() > 0 ? option->as<std::string>() : option->get_default_str();
  }
  std::cout << ordered_json{{"flags", flags},
                            {"figures", ToJson(simulated->figures)},
                            {"real", ToJson(simulated->real)}}
            << "\n";
  return 0;
}

}  // namespace
}  // namespace downpour::bench

int main(int argc, char** argv) { return downpour::bench::Main(argc, argv); }
