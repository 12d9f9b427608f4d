#include "bench/simulation/figures.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "absl/strings/str_format.h"

namespace downpour::bench {
namespace {

using nlohmann::ordered_json;

ordered_json ToJson(const Spread& spread) {
  return {{"mean", spread.mean}, {"p50", spread.p50}, {"p99", spread.p99}, {"max", spread.max}};
}

ordered_json ToJson(const Use& use) { return {{"mean", use.mean}, {"max", use.max}}; }

ordered_json ToJson(const Account& account) {
  ordered_json refused = ordered_json::object();
  for (std::size_t i = 0; i < account.refused.size(); ++i) {
    if (account.refused[i] > 0) refused[std::string(RefusalName(static_cast<Refusal>(i)))] = account.refused[i];
  }
  return {{"pushes", account.pushes},
          {"pushes_applied", account.pushes_applied},
          {"refused", refused},
          {"sent_again", account.sent_again},
          {"sets", account.sets},
          {"sets_taken", account.sets_taken},
          {"pulls", account.pulls},
          {"pulls_answered", account.pulls_answered},
          {"unexpected", account.unexpected},
          {"bytes_to_servers", account.bytes_to_servers},
          {"bytes_from_servers", account.bytes_from_servers}};
}

}  // namespace

Spread SpreadOf(std::vector<float> values) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  const auto at = [&](double share) {
    return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
  };
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return {sum / static_cast<double>(values.size()), at(0.5), at(0.99), values.back()};
}

ordered_json ToJson(const Figures& figures) {
  return {{"seconds", figures.seconds},
          {"steps", figures.steps},
          {"steps_per_second", figures.steps_per_second},
          {"of_ideal", figures.of_ideal},
          {"updates_per_second", figures.updates_per_second},
          {"gradients_per_second", figures.gradients_per_second},
          {"waiting", figures.waiting},
          {"staleness", ToJson(figures.staleness)},
          {"lead", {{"mean", figures.lead_mean}, {"max", figures.lead_max}}},
          {"push_ms", ToJson(figures.push_ms)},
          {"apply_ms", ToJson(figures.apply_ms)},
          {"bytes_per_step", figures.bytes_per_step},
          {"servers_in", ToJson(figures.servers_in)},
          {"servers_out", ToJson(figures.servers_out)},
          {"workers_out", ToJson(figures.workers_out)},
          {"workers_in", ToJson(figures.workers_in)},
          {"shards", ToJson(figures.shards)},
          {"held_bytes", figures.held_bytes},
          {"queued_bytes", figures.queued_bytes},
          {"silence_seconds", figures.silence_seconds},
          {"begin_seconds", figures.begin_seconds},
          {"account", ToJson(figures.account)},
          {"checksum", absl::StrFormat("%016x", figures.checksum)}};
}

ordered_json ToJson(const RealTime& real) {
  ordered_json core = ordered_json::object();
  for (const auto& [kind, time] : real.core) {
    core[kind] = {{"events", time.events},
                  {"us", time.events == 0 ? 0 : 1e6 * time.seconds / static_cast<double>(time.events)},
                  {"longest_us", 1e6 * time.longest},
                  {"seconds", time.seconds}};
  }
  return {{"seconds", real.seconds}, {"core", core}};
}

}  // namespace downpour::bench
