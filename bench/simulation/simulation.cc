#include "bench/simulation/simulation.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "bench/simulation/draws.h"
#include "bench/simulation/layout.h"
#include "bench/simulation/meter.h"
#include "bench/simulation/network.h"
#include "bench/simulation/server.h"
#include "bench/simulation/timeline.h"
#include "bench/simulation/worker.h"
#include "proto/settings.h"

namespace downpour::bench {
namespace {

constexpr Ns kTick = 100'000'000;  // as ps/shard.cc

class Simulation final : public SimulatedServer::Sink, public SimulatedWorker::Transport {
 public:
  static absl::StatusOr<std::unique_ptr<Simulation>> Create(const SimulationSettings& settings) {
    if (absl::Status status = CheckSettings(settings); !status.ok()) return status;
    const auto job = JobOf(settings);
    if (!job.ok()) return job.status();
    auto history = SettingsHistory::Create(*job);
    if (!history.ok()) return history.status();
    std::unique_ptr<Simulation> made(new Simulation(settings, *job, *std::move(history)));
    for (std::uint32_t i = 0; i < settings.servers; ++i) {
      auto server = SimulatedServer::Create(*job, settings.server, i, &made->layout_, &made->timeline_, &made->meter_,
                                            made.get());
      if (!server.ok()) return server.status();
      made->servers_.push_back(*std::move(server));
    }
    made->MakeWorkers();
    return made;
  }

  absl::StatusOr<Figures> Run() {
    const auto until = [this](std::uint64_t steps) {
      while (meter_.failure.ok() && meter_.steps < steps * settings_.workers && timeline_.Step()) {
      }
      return meter_.failure;
    };
    Tick();
    if (absl::Status status = until(settings_.warmup_steps); !status.ok()) return status;
    const Moment begin = Look();
    meter_.measuring = true;
    if (absl::Status status = until(settings_.warmup_steps + settings_.steps); !status.ok()) return status;
    meter_.measuring = false;
    Figures figures = Between(begin, Look());
    for (const auto& worker : workers_) worker->Stop();
    while (meter_.failure.ok() && timeline_.Step()) {
    }
    if (!meter_.failure.ok()) return meter_.failure;
    if (!AllDone()) return absl::InternalError("nothing moves any more, and not all workers are done");
    figures.begin_seconds = meter_.begin_seconds;
    figures.account = meter_.account;
    for (const auto& server : servers_) {
      figures.checksum += server->Checksum();
      figures.lead_max = std::max(figures.lead_max, static_cast<double>(server->counts().largest_lead));
    }
    return figures;
  }

  const Meter& meter() const { return meter_; }

  // ---- Frames and calls.

  void ToServer(std::uint32_t server, std::uint32_t worker, const Message& message) override {
    const std::uint64_t bytes = layout_.LinkBytes(message);
    meter_.account.bytes_to_servers += bytes;
    SendFrame(&timeline_, &worker_links_[worker].out, &server_links_[server].in, latency_, bytes,
              [this, server, worker, header = EncodeFrameHeader(message.header), payload = message.payload] {
                servers_[server]->Receive(worker, header, payload);
              });
  }

  void ToWorker(std::uint32_t server, std::uint32_t worker, Message message) override {
    const std::uint64_t bytes = layout_.LinkBytes(message);
    meter_.account.bytes_from_servers += bytes;
    SendFrame(&timeline_, &server_links_[server].out, &worker_links_[worker].in, latency_, bytes,
              [this, worker, message = std::move(message)] { workers_[worker]->OnMessage(message); });
  }

  // Calls are small, and do not wait for frames.
  void Register(std::uint32_t server, std::uint32_t worker) override {
    After(latency_, [this, server, worker] { servers_[server]->Register(worker); });
  }

  void OnRegistered(std::uint32_t server, std::uint32_t worker, Registered registered) override {
    After(latency_, [this, server, worker, registered = std::move(registered)] {
      workers_[worker]->OnRegistered(server, registered);
    });
  }

  void Leave(std::uint32_t server, std::uint32_t worker, std::uint64_t fence) override {
    After(latency_, [this, server, worker, fence] { servers_[server]->Leave(worker, fence); });
  }

 private:
  // How far everything is.
  struct Moment {
    Ns now = 0;
    std::uint64_t steps = 0;
    SimulatedServer::Counts counts;
    Ns waited = 0;
    std::uint64_t bytes = 0;
    std::vector<Ns> servers_in, servers_out, workers_in, workers_out, shards;
  };

  Simulation(const SimulationSettings& settings, const Job& job, SettingsHistory history)
      : settings_(settings),
        history_(std::move(history)),
        layout_(settings, job),
        latency_(static_cast<Ns>(settings.links.latency_us * 1e3)) {}

  void MakeWorkers() {
    const Links& links = settings_.links;
    // A stream of its own: with the same seed the same workers are slow in each mode, and with other steps.
    worker::Random random(settings_.seed);
    server_links_.assign(settings_.servers, Link(links.server_gbps * links.payload_share));
    auto values = std::make_shared<std::vector<float>>(layout_.parts.back().range.end);
    for (float& value : *values) value = random.Symmetric();
    const std::uint32_t slow = static_cast<std::uint32_t>(settings_.compute.slow_share * settings_.workers + 0.5);
    for (std::uint32_t i = 0; i < settings_.workers; ++i) {
      const double share = links.worker_least + (1 - links.worker_least) * Uniform(random);
      worker_links_.emplace_back(links.worker_gbps * links.payload_share * share);
      const double factor = i < slow ? settings_.compute.slow_factor : 1;
      ideal_ += 1e3 / MeanStepMs(settings_.compute, factor);
      workers_.push_back(std::make_unique<SimulatedWorker>(
          SimulatedWorker::Surroundings{&settings_, &history_.latest(), &layout_, values, &timeline_, this, &meter_}, i,
          factor));
      After(static_cast<Ns>(settings_.join_ms * kNsInMs * Uniform(random)), [this, i] { workers_[i]->Start(); });
    }
  }

  void After(Ns ns, Timeline::What what) { timeline_.At(timeline_.now() + ns, std::move(what)); }

  bool AllDone() const {
    return std::ranges::all_of(workers_, [](const auto& worker) { return worker->done(); });
  }

  void Tick() {
    for (const auto& server : servers_) server->Tick();
    if (!AllDone()) After(kTick, [this] { Tick(); });
  }

  Moment Look() const {
    const Ns now = timeline_.now();
    Moment moment{.now = now, .steps = meter_.steps};
    for (const auto& server : servers_) {
      const SimulatedServer::Counts counts = server->counts();
      moment.counts.gradients += counts.gradients;
      moment.counts.updates += counts.updates;
      moment.counts.lead_sum += counts.lead_sum;
      const std::vector<Ns> busy = server->busy();
      moment.shards.insert(moment.shards.end(), busy.begin(), busy.end());
    }
    for (const Link& link : server_links_) {
      moment.servers_in.push_back(link.in.busy(now));
      moment.servers_out.push_back(link.out.busy(now));
    }
    for (const Link& link : worker_links_) {
      moment.workers_in.push_back(link.in.busy(now));
      moment.workers_out.push_back(link.out.busy(now));
    }
    for (const auto& worker : workers_) moment.waited += worker->waited();
    moment.bytes = meter_.account.bytes_to_servers + meter_.account.bytes_from_servers;
    return moment;
  }

  Figures Between(const Moment& begin, const Moment& end) {
    const double ns = static_cast<double>(end.now - begin.now);
    const double parts = static_cast<double>(layout_.parts.size());
    const double gradients = static_cast<double>(end.counts.gradients - begin.counts.gradients);
    const auto use = [ns](const std::vector<Ns>& from, const std::vector<Ns>& to) {
      Use use;
      for (std::size_t i = 0; i < from.size(); ++i) {
        const double share = static_cast<double>(to[i] - from[i]) / ns;
        use.mean += share / static_cast<double>(from.size());
        use.max = std::max(use.max, share);
      }
      return use;
    };
    Figures figures;
    figures.seconds = ns / kNsInSecond;
    figures.steps = end.steps - begin.steps;
    const double steps = static_cast<double>(figures.steps);
    figures.steps_per_second = steps / figures.seconds;
    figures.of_ideal = figures.steps_per_second / ideal_;
    figures.updates_per_second =
        static_cast<double>(end.counts.updates - begin.counts.updates) / parts / figures.seconds;
    figures.gradients_per_second = gradients / parts / figures.seconds;
    figures.waiting = static_cast<double>(end.waited - begin.waited) / ns / settings_.workers;
    figures.staleness = SpreadOf(meter_.staleness);
    figures.lead_mean =
        gradients > 0 ? static_cast<double>(end.counts.lead_sum - begin.counts.lead_sum) / gradients : 0;
    figures.push_ms = SpreadOf(meter_.push_ms);
    figures.apply_ms = SpreadOf(meter_.apply_ms);
    figures.bytes_per_step = static_cast<double>(end.bytes - begin.bytes) / steps;
    figures.servers_in = use(begin.servers_in, end.servers_in);
    figures.servers_out = use(begin.servers_out, end.servers_out);
    figures.workers_out = use(begin.workers_out, end.workers_out);
    figures.workers_in = use(begin.workers_in, end.workers_in);
    figures.shards = use(begin.shards, end.shards);
    figures.held_bytes = meter_.held_bytes;
    figures.queued_bytes = meter_.queued_bytes;
    figures.silence_seconds = meter_.silence_seconds;
    return figures;
  }

  const SimulationSettings settings_;
  const SettingsHistory history_;
  const Layout layout_;
  const Ns latency_;
  double ideal_ = 0;  // steps a second

  Timeline timeline_;
  Meter meter_;
  std::vector<Link> server_links_;
  std::vector<Link> worker_links_;
  std::vector<std::unique_ptr<SimulatedServer>> servers_;
  std::vector<std::unique_ptr<SimulatedWorker>> workers_;
};

}  // namespace

absl::StatusOr<Simulated> Simulate(const SimulationSettings& settings) {
  const auto began = std::chrono::steady_clock::now();
  const auto simulation = Simulation::Create(settings);
  if (!simulation.ok()) return simulation.status();
  auto figures = (*simulation)->Run();
  if (!figures.ok()) return figures.status();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return Simulated{*std::move(figures), {.seconds = seconds, .core = (*simulation)->meter().core}};
}

}  // namespace downpour::bench
