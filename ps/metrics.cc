#include "ps/metrics.h"

#include <array>
#include <limits>
#include <span>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "proto/version.h"

namespace downpour::ps {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

// One metric with a value for each set of labels.
class Family {
 public:
  Family(std::string name, std::string help, MetricType type) {
    family_.name = std::move(name);
    family_.help = std::move(help);
    family_.type = type;
  }

  Family& Add(Labels labels, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    if (family_.type == MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    family_.metric.push_back(std::move(metric));
    return *this;
  }

  // `counts` has one bucket more than there are bounds.
  template <typename Bound>
  Family& AddHistogram(Labels labels, std::span<const Bound> bounds, std::span<const uint64_t> counts,
                       double sum) {
    ClientMetric metric;
    metric.label = std::move(labels);
    uint64_t total = 0;
    for (size_t i = 0; i < counts.size(); ++i) {
      total += counts[i];
      const double bound =
          i < bounds.size() ? static_cast<double>(bounds[i]) : std::numeric_limits<double>::infinity();
      metric.histogram.bucket.push_back({total, bound});
    }
    metric.histogram.sample_count = total;
    metric.histogram.sample_sum = sum;
    family_.metric.push_back(std::move(metric));
    return *this;
  }

  operator MetricFamily() { return std::move(family_); }

 private:
  MetricFamily family_;
};

}  // namespace

std::vector<MetricFamily> Metrics::Collect() const {
  const std::string job = control_->job().name();
  const StatusReply status = control_->Status();
  std::vector<ShardStats> shards;
  for (const Shard* shard : control_->shards()) shards.push_back(shard->stats());

  std::vector<MetricFamily> all;
  const auto of_table = [&](size_t shard) {
    return Labels{{"job", job}, {"table", "dense"}, {"shard", std::to_string(shard)}};
  };
  const auto of_shard = [&](size_t shard) { return Labels{{"job", job}, {"shard", std::to_string(shard)}}; };
  const auto each = [&](const char* name, const char* help, MetricType type, auto&& labels, auto&& value) {
    Family family(name, help, type);
    for (size_t i = 0; i < shards.size(); ++i) family.Add(labels(i), static_cast<double>(value(shards[i])));
    all.push_back(std::move(family));
  };
  constexpr auto kCounter = MetricType::Counter;
  constexpr auto kGauge = MetricType::Gauge;

  each("downpour_pushes_total", "Gradients applied.", kCounter, of_table,
       [](auto& s) { return s.core.pushes; });
  each("downpour_combined_pushes_total", "Gradients that came in one push with those of other workers.", kCounter,
       of_table, [](auto& s) { return s.core.combined; });
  each("downpour_updates_total", "Updates of a part; all gradients of a clock are one.", kCounter, of_table,
       [](auto& s) { return s.core.updates; });
  each("downpour_pulls_total", "Fetches of a part answered with values.", kCounter, of_table,
       [](auto& s) { return s.core.pulls; });
  each("downpour_sets_total", "Parts given their first values.", kCounter, of_table,
       [](auto& s) { return s.core.sets; });
  each("downpour_received_bytes_total", "Payload of pushes and first values that came.", kCounter, of_table,
       [](auto& s) { return s.core.received_bytes; });
  each("downpour_sent_bytes_total", "Payload of fetches that went out.", kCounter, of_table,
       [](auto& s) { return s.core.sent_bytes; });
  each("downpour_table_bytes", "Memory of parameters and optimizer slots.", kGauge, of_table,
       [](auto& s) { return s.core.table_bytes; });
  each("downpour_table_elements", "Parameters held.", kGauge, of_table,
       [](auto& s) { return s.core.elements; });
  each("downpour_clock", "The furthest step of which a gradient was applied.", kGauge, of_table,
       [](auto& s) { return s.core.clock; });
  each("downpour_held_pushes", "Gradients that wait for their clock to close.", kGauge, of_table,
       [](auto& s) { return s.core.held; });
  each("downpour_parked_pulls", "Fetches that wait for a clock or for first values.", kGauge, of_table,
       [](auto& s) { return s.core.parked; });
  each("downpour_queue_events", "Frames that wait for their shard.", kGauge, of_shard,
       [](auto& s) { return s.queue_events; });
  each("downpour_queue_bytes", "Bytes of frames that wait for their shard.", kGauge, of_shard,
       [](auto& s) { return s.queue_bytes; });

  Family staleness("downpour_staleness_updates",
                   "Updates between a gradient's parameters and its application.", MetricType::Histogram);
  Family lead("downpour_lead_clocks", "Clocks that a push was ahead of the slowest worker.", MetricType::Histogram);
  Family apply("downpour_apply_seconds", "Time to handle one push, the update included.",
               MetricType::Histogram);
  std::array<uint64_t, kRefusalCount> refused{};
  for (size_t i = 0; i < kRefusalCount; ++i) refused[i] = stats_->refused[i];
  for (size_t i = 0; i < shards.size(); ++i) {
    const ShardStats& s = shards[i];
    staleness.AddHistogram(of_table(i), std::span<const uint64_t>(kStalenessBounds), s.core.staleness,
                           static_cast<double>(s.core.staleness_sum));
    lead.AddHistogram(of_table(i), std::span<const uint64_t>(kStalenessBounds), s.core.lead,
                      static_cast<double>(s.core.lead_sum));
    apply.AddHistogram(of_table(i), std::span<const double>(kApplyBounds), s.apply, s.apply_seconds);
    for (size_t r = 0; r < kRefusalCount; ++r) refused[r] += s.core.refused[r];
  }
  all.push_back(std::move(staleness));
  all.push_back(std::move(lead));
  all.push_back(std::move(apply));

  Family refusals("downpour_refused_frames_total", "Frames that were not taken.", kCounter);
  for (size_t r = 1; r < kRefusalCount; ++r) {
    refusals.Add({{"job", job}, {"reason", std::string(RefusalName(static_cast<Refusal>(r)))}},
                 static_cast<double>(refused[r]));
  }
  all.push_back(std::move(refusals));

  std::array<int, WorkerStatus::State_ARRAYSIZE> states{};
  for (const WorkerStatus& worker : status.workers()) ++states[worker.state()];
  Family workers("downpour_workers", "The job's workers.", kGauge);
  for (int state = 0; state < WorkerStatus::State_ARRAYSIZE; ++state) {
    workers.Add(
        {{"job", job},
         {"state", absl::AsciiStrToLower(WorkerStatus::State_Name(static_cast<WorkerStatus::State>(state)))}},
        states[state]);
  }
  all.push_back(std::move(workers));

  // As the workers' last reports have them.
  const auto of_workers = [&](const char* name, const char* help, MetricType type, auto value) {
    Family family(name, help, type);
    for (const WorkerStatus& worker : status.workers()) {
      if (!worker.has_report()) continue;
      family.Add({{"job", job}, {"worker", absl::StrCat(worker.partition())}}, static_cast<double>(value(worker.report())));
    }
    all.push_back(std::move(family));
  };
  of_workers("downpour_worker_push_round_trip_seconds", "From a push to its acknowledgement, mean of a recent stretch.",
             kGauge, [](auto& r) { return r.push_round_trip_seconds(); });
  of_workers("downpour_worker_fetch_round_trip_seconds", "From a fetch to its arrival, mean of a recent stretch.", kGauge,
             [](auto& r) { return r.fetch_round_trip_seconds(); });
  of_workers("downpour_worker_goodput_bytes_per_second", "Payload acknowledged and fetched in a recent stretch.", kGauge,
             [](auto& r) { return r.goodput_bytes_per_second(); });
  of_workers("downpour_worker_waited_ratio", "Share of a recent stretch in which the step waited for the data plane.",
             kGauge, [](auto& r) { return r.waited_share(); });
  of_workers("downpour_worker_wire_level", "By how many steps less a worker sends than the job says (wire.adapt).", kGauge,
             [](auto& r) { return r.wire_level(); });
  of_workers("downpour_worker_wire_changes_total", "How often that has changed.", kCounter,
             [](auto& r) { return r.wire_changes(); });

  const Labels of_job = {{"job", job}};
  const auto one = [&](const char* name, const char* help, MetricType type, double value) {
    all.push_back(std::move(Family(name, help, type).Add(of_job, value)));
  };
  const uint64_t closed = stats_->streams_closed;
  const uint64_t opened = stats_->streams_opened;
  one("downpour_streams", "Open streams of the data plane.", kGauge, static_cast<double>(opened - closed));
  one("downpour_streams_opened_total", "Streams opened.", kCounter, static_cast<double>(opened));
  one("downpour_streams_refused_total", "Streams ended for what the peer sent.", kCounter,
      static_cast<double>(stats_->streams_refused));
  one("downpour_frames_received_total", "Frames that came.", kCounter,
      static_cast<double>(stats_->frames_received));
  one("downpour_frames_sent_total", "Frames that went out.", kCounter,
      static_cast<double>(stats_->frames_sent));
  const uint64_t shared_closed = stats_->shared_closed;
  one("downpour_shared_memory_streams", "Open streams that exchange through shared memory.", kGauge,
      static_cast<double>(stats_->shared_opened - shared_closed));
  one("downpour_shared_memory_received_bytes_total", "Payload of pushes that came through shared memory.", kCounter,
      static_cast<double>(stats_->shared_received_bytes));
  one("downpour_shared_memory_sent_bytes_total", "Payload of fetches that went out through shared memory.", kCounter,
      static_cast<double>(stats_->shared_sent_bytes));
  one("downpour_registrations_total", "Calls to take a lease.", kCounter,
      static_cast<double>(stats_->registrations));
  one("downpour_registrations_refused_total", "Calls to take a lease that were refused.", kCounter,
      static_cast<double>(stats_->registrations_refused));
  one("downpour_registrations_turned_away_total", "Attempts at a partition that another held or had completed.",
      kCounter, static_cast<double>(stats_->registrations_turned_away));
  one("downpour_leases_lost_total", "Leases of workers that ran out.", kCounter,
      static_cast<double>(stats_->leases_lost));
  const CheckpointStatus& checkpoint = status.checkpoint();
  one("downpour_checkpoints_total", "Checkpoints whose share of this server is on the disk.", kCounter,
      static_cast<double>(checkpoint.done()));
  one("downpour_checkpoints_failed_total", "Checkpoints that could not be written, or that another took the place of.",
      kCounter, static_cast<double>(checkpoint.failed()));
  one("downpour_checkpoint_done_timestamp_seconds", "When the last checkpoint was on the disk; 0 for never.", kGauge,
      static_cast<double>(checkpoint.done_unix_us()) / 1e6);
  one("downpour_checkpoint_bytes", "Floats of this server in the last checkpoint that was begun.", kGauge,
      static_cast<double>(checkpoint.bytes()));
  one("downpour_checkpoint_duration_seconds", "From its beginning until it was on the disk, or so far.", kGauge,
      checkpoint.seconds());
  all.push_back(Family("downpour_build_info", "Constant 1, with what was built.", kGauge)
                    .Add({{"version", kVersion}}, 1));
  return all;
}

}  // namespace downpour::ps
