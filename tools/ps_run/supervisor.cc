#include "tools/ps_run/supervisor.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "proto/settings.h"
#include "proto/sync/mode.h"
#include "ps/checkpoint_files.h"
#include "tools/ps_run/json_text.h"
#include "tools/ps_run/plot.h"
#include "tools/ps_run/progress_line.h"
#include "tools/ps_run/running_servers.h"
#include "tools/ps_run/training_loss.h"

namespace downpour::run {
namespace {

using nlohmann::ordered_json;
using std::chrono::milliseconds;

constexpr int kLogLines = 10;
constexpr milliseconds kServerStart{30000};
constexpr milliseconds kServerRestore{3600000};  // where it reads a checkpoint first
constexpr milliseconds kStopGrace{5000};
constexpr milliseconds kSilentGrace{5000};
constexpr int kUnanswered = 10;  // reads in a row that failed before it is told
constexpr char kShareIsGone[] = "; its share of the parameters is gone with it, so the job has to begin again";

// evaluators: what servers have sent to the evaluator, where it fetched nothing while they were asked. Otherwise there is
// no telling how much of it they have counted, and what was sent to workers stays as it was `before`.
Traffic TrafficOf(const JobStatus& status, std::optional<uint64_t> evaluators, const Traffic& before) {
  Traffic traffic{.to_servers = status.received_bytes, .from_servers = before.from_servers};
  if (evaluators) {
    const uint64_t sent = status.sent_bytes - std::min(status.sent_bytes, *evaluators);
    traffic.from_servers = std::max(before.from_servers, sent);
  }
  return traffic;
}

std::string LogTail(const Child& child) {
  const std::string tail = TailOf(child.log_path(), kLogLines);
  return tail.empty() ? "" : absl::StrCat("\n", tail);
}

}  // namespace

Supervisor::Supervisor(RunOptions options) : options_(std::move(options)), terminal_(options_.voice) {}

Supervisor::~Supervisor() { StopChildren(); }

RunExit Supervisor::Run() {
  absl::Status status = Prepare();
  if (!status.ok()) {
    terminal_.Say(absl::StrCat("ps-run: ", status.message()),
                  {{"event", "failed"}, {"reason", std::string(status.message())}});
    TellLauncher(status);
    return RunExit::kUsage;
  }
  status = peers_ ? StartRendezvous() : options_.attach ? AttachToServers() : StartServers();
  if (!status.ok()) TellLauncher(status);
  if (status.ok()) status = StartWorkers();
  if (status.ok() && peers_) status = AwaitPeers();
  if (!status.ok()) return Finish(status, RunExit::kServer);
  while (stop_signal_ == 0 && !orphaned_ && !server_lost_ && !WorkersEnded()) Turn();
  outcome_.seconds = Seconds();
  training_ended_ = true;
  if (stop_signal_ == 0 && !orphaned_ && !server_lost_) FinalEvaluation();
  return Finish(absl::OkStatus(), RunExit::kFailed);
}

absl::Status Supervisor::Prepare() {
  const auto mode = FindSyncMode(options_.job.sync().mode());
  if (!mode.ok()) return mode.status();
  peers_ = (*mode)->peers;
  if (absl::Status status = CheckRunOptions(options_, peers_); !status.ok()) return status;
  auto evaluations = Evaluations::Create(options_.job);
  if (!evaluations.ok()) return evaluations.status();
  evaluations_ = *std::move(evaluations);
  auto folder = RunFolder::Make(options_.job, options_.run_dir);
  if (!folder.ok()) return folder.status();
  folder_.emplace(*std::move(folder));
  reasons_.resize(options_.job.workers());
  told_.resize(options_.job.workers());
  silent_since_.resize(options_.job.workers());
  silent_told_.resize(options_.job.workers());
  seen_.resize(options_.job.workers());
  ended_told_.resize(options_.job.workers());
  outcome_.finished.resize(options_.job.workers());
  terminal_.Say(absl::StrCat("run folder ", folder_->path()), {{"event", "folder"}, {"path", folder_->path()}});
  return folder_->WriteJob(options_.job);
}

absl::Status Supervisor::StartServers() {
  if (!options_.restore.empty()) {
    // All servers are to go on from the same.
    const auto found = ps::FindCheckpoint(options_.restore, std::nullopt);
    if (!found.ok()) return found.status();
    restored_ = found->number;
    for (const std::string& passed_by : found->passed_by) terminal_.Say(passed_by, {{"event", "passed_by"}, {"reason", passed_by}});
    terminal_.Say(absl::StrCat("goes on from checkpoint ", restored_, " in ", options_.restore),
                  {{"event", "restore"}, {"number", restored_}, {"folder", options_.restore}});
  }
  const auto& servers = options_.job.servers();
  for (int i = 0; i < servers.addresses_size(); ++i) {
    const std::string name = absl::StrCat("server-", i);
    const std::string metrics = i < servers.metrics_addresses_size() ? servers.metrics_addresses(i) : "127.0.0.1:0";
    std::vector<std::string> arguments = {
        absl::StrCat(options_.binaries, "/ps-server"), "--config", folder_->File("job.yaml"), "--index", absl::StrCat(i),
        "--listen", servers.addresses(i), "--metrics", metrics, "--lifeline-fd", absl::StrCat(kLifelineFd),
        "--log-file", folder_->LogFile(name)};
    if (options_.job.run().record()) arguments.insert(arguments.end(), {"--record", folder_->File("record")});
    if (options_.job.checkpoint().folder().empty()) {
      arguments.insert(arguments.end(), {"--checkpoints", folder_->File("checkpoints")});
    }
    if (!options_.restore.empty()) {
      arguments.insert(arguments.end(), {"--restore", options_.restore, "--restore-number", absl::StrCat(restored_)});
    }
    auto child = Child::Start(name, arguments, folder_->LogFile(name));
    if (!child.ok()) return child.status();
    servers_.push_back(*std::move(child));
  }
  return AwaitServers();
}

absl::Status Supervisor::AwaitServers() {
  const auto deadline = Clock::now() + (options_.restore.empty() ? kServerStart : kServerRestore);
  std::vector<std::string> metrics(servers_.size());
  size_t listening = 0;
  while (listening < servers_.size()) {
    Turn();
    if (stop_signal_ != 0 || orphaned_) return absl::CancelledError("stopped");
    for (size_t i = 0; i < servers_.size(); ++i) {
      for (const std::string& line : servers_[i].Lines()) {
        const auto event = ordered_json::parse(line, nullptr, false);
        if (!event.is_object() || event.value("event", "") != "listening") continue;
        options_.job.mutable_servers()->set_addresses(static_cast<int>(i), event.value("address", ""));
        metrics[i] = event.value("metrics", "");
        ++listening;
      }
      if (const auto ended = servers_[i].Ended()) {
        return absl::UnavailableError(absl::StrCat("ps-server ", i, " did not start (", DescribeEnd(*ended), ")",
                                                   LogTail(servers_[i])));
      }
      if (Clock::now() > deadline) {
        return absl::UnavailableError(absl::StrCat("ps-server ", i, " does not listen after ",
                                                   kServerStart.count() / 1000, " s; its log: ",
                                                   servers_[i].log_path(), LogTail(servers_[i])));
      }
    }
  }
  const auto& addresses = options_.job.servers().addresses();
  terminal_.Say(absl::StrCat(servers_.size(), servers_.size() == 1 ? " server listens on " : " servers listen on ",
                             absl::StrJoin(addresses, ", "), "; metrics on ", absl::StrJoin(metrics, ", ")),
                {{"event", "servers"}, {"addresses", std::vector<std::string>(addresses.begin(), addresses.end())},
                 {"metrics", metrics}});
  return TakeAddresses({addresses.begin(), addresses.end()});
}

absl::Status Supervisor::AttachToServers() {
  const auto deadline = Clock::now() + milliseconds(options_.job.worker().connect_timeout_ms());
  for (;;) {
    const absl::Status status = CheckRunningServers(options_.job);
    if (status.ok()) break;
    if (!absl::IsUnavailable(status) || Clock::now() > deadline) return status;
    Turn();
    if (stop_signal_ != 0 || orphaned_) return absl::CancelledError("stopped");
  }
  const auto& addresses = options_.job.servers().addresses();
  terminal_.Say(absl::StrCat(addresses.size(), addresses.size() == 1 ? " server runs on " : " servers run on ",
                             absl::StrJoin(addresses, ", ")),
                {{"event", "servers"}, {"addresses", std::vector<std::string>(addresses.begin(), addresses.end())},
                 {"metrics", ordered_json::array()}});
  return TakeAddresses({addresses.begin(), addresses.end()});
}

absl::Status Supervisor::TakeAddresses(const std::vector<std::string>& addresses) {
  options_.job.mutable_servers()->mutable_addresses()->Assign(addresses.begin(), addresses.end());
  reader_ = std::make_unique<JobStatusReader>(addresses);
  if (!peers_) checkpoints_ = std::make_unique<Checkpoints>(options_.job);
  evaluations_->SetServers(addresses);
  return folder_->WriteJob(options_.job);
}

absl::Status Supervisor::StartRendezvous() {
  const std::string& first = options_.job.servers().addresses(0);
  auto rendezvous = RendezvousServer::Start(options_.job, first.substr(0, first.rfind(':')));
  if (!rendezvous.ok()) return rendezvous.status();
  rendezvous_ = *std::move(rendezvous);
  return absl::OkStatus();
}

absl::Status Supervisor::AwaitPeers() {
  const auto deadline = Clock::now() + milliseconds(options_.job.sync().join_timeout_ms());
  for (;;) {
    if (const auto addresses = rendezvous_->Everyone()) {
      terminal_.Say(absl::StrCat(addresses->size(), " workers hold the parameters, on ", absl::StrJoin(*addresses, ", ")),
                    {{"event", "servers"}, {"addresses", *addresses}, {"metrics", ordered_json::array()}});
      return TakeAddresses(*addresses);
    }
    Turn();
    if (stop_signal_ != 0 || orphaned_) return absl::CancelledError("stopped");
    WatchWorkers();
    for (size_t i = 0; i < workers_.size(); ++i) {
      if (told_[i]) return absl::UnavailableError(absl::StrCat("without worker ", i, " the others have no parameters"));
    }
    if (options_.launcher == Launcher::kLocal && Clock::now() > deadline) {
      return absl::UnavailableError(absl::StrCat("not all workers listen after ", options_.job.sync().join_timeout_ms(),
                                                 " ms; their logs are in ", folder_->path(), "/logs"));
    }
  }
}

absl::Status Supervisor::StartWorkers() {
  if (options_.launcher == Launcher::kExternal) return WriteCluster();
  for (uint32_t i = 0; i < options_.job.workers(); ++i) {
    const std::string name = absl::StrCat("worker-", i);
    std::vector<std::string> arguments = {absl::StrCat(options_.binaries, "/ps-worker"), "--config",
                                          folder_->File("job.yaml"), "--partition", absl::StrCat(i), "--lifeline-fd",
                                          absl::StrCat(kLifelineFd), "--log-file", folder_->LogFile(name)};
    if (rendezvous_) arguments.insert(arguments.end(), {"--rendezvous", rendezvous_->address()});
    if (const auto slow = options_.slow_downs.find(i); slow != options_.slow_downs.end()) {
      arguments.insert(arguments.end(), {"--slow-down", absl::StrCat(slow->second)});
      terminal_.Say(absl::StrCat("worker ", i, " is slowed down: each training step takes ", slow->second,
                                 " times as long"),
                    {{"event", "slow_down"}, {"partition", i}, {"factor", slow->second}});
    }
    auto child = Child::Start(name, arguments, folder_->LogFile(name));
    if (!child.ok()) return child.status();
    workers_.push_back(*std::move(child));
  }
  return absl::OkStatus();
}

absl::Status Supervisor::WriteCluster() const {
  if (options_.cluster_file.empty()) return absl::OkStatus();
  const auto mode = FindSyncMode(options_.job.sync().mode());
  const auto& addresses = options_.job.servers().addresses();
  std::vector<std::string> servers;
  if (!peers_) servers.assign(addresses.begin(), addresses.end());
  const ordered_json cluster = {{"servers", servers},
                                {"rendezvous", rendezvous_ ? rendezvous_->address() : ""},
                                {"job_file", folder_->File("job.yaml")},
                                {"run_dir", folder_->path()},
                                {"workers", options_.job.workers()},
                                {"strong", mode.ok() && IsStrong(**mode, options_.job.sync())}};
  return WriteWhole(options_.cluster_file, JsonText(cluster, 2) + "\n");
}

void Supervisor::TellLauncher(const absl::Status& status) const {
  if (options_.cluster_file.empty()) return;
  (void)WriteWhole(options_.cluster_file, JsonText(ordered_json{{"error", std::string(status.message())}}) + "\n");
}

void Supervisor::Turn() {
  std::vector<pollfd> fds = {{options_.signal_fd, POLLIN, 0}};
  if (options_.lifeline_fd) fds.push_back({*options_.lifeline_fd, 0, 0});
  const size_t first_child = fds.size();
  for (auto* children : {&servers_, &workers_}) {
    for (const Child& child : *children) {
      if (child.output_fd() >= 0) fds.push_back({child.output_fd(), POLLIN, 0});
    }
  }
  const auto until = Clock::now() + milliseconds(options_.job.run().progress_ms());
  while (Clock::now() < until) {
    const auto left = std::chrono::ceil<milliseconds>(until - Clock::now());
    if (poll(fds.data(), fds.size(), static_cast<int>(left.count())) <= 0) break;
    if (fds[0].revents != 0) {
      signalfd_siginfo info{};
      while (read(options_.signal_fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo != SIGCHLD) stop_signal_ = static_cast<int>(info.ssi_signo);
      }
      break;
    }
    if (options_.lifeline_fd && fds[1].revents != 0) {
      orphaned_ = true;
      break;
    }
    // Before training the first line of a server is waited for; later, lines can wait for their turn.
    if (reader_ == nullptr) break;
    for (size_t i = first_child; i < fds.size(); ++i) {
      if (fds[i].revents != 0) fds[i].fd = -1;
    }
  }
  if (reader_ == nullptr || stop_signal_ != 0 || orphaned_) return;
  WatchServers();
  WatchWorkers();
  WatchRendezvous();
  if (!server_lost_) ReadStatus();
  WatchEvaluations();
}

void Supervisor::WatchServers() {
  for (Child& server : servers_) {
    server.Lines();
    if (const auto ended = server.Ended(); ended && !server_lost_) {
      server_lost_ = true;
      Problem(absl::StrCat("ps-", server.name(), " ended (", DescribeEnd(*ended), "), and its parameters with it; log: ",
                           server.log_path(), LogTail(server)));
    }
  }
}

void Supervisor::WatchRendezvous() {
  if (!rendezvous_ || server_lost_) return;
  if (const auto lost = rendezvous_->Lost()) {
    server_lost_ = true;
    Problem(*lost);
  }
}

void Supervisor::WatchWorkers() {
  for (size_t i = 0; i < workers_.size(); ++i) {
    for (const std::string& line : workers_[i].Lines()) {
      const auto event = ordered_json::parse(line, nullptr, false);
      if (event.is_object() && event.value("event", "") == "failed") reasons_[i] = event.value("reason", "");
    }
    const auto ended = workers_[i].Ended();
    if (!ended || told_[i]) continue;
    told_[i] = true;
    if (*ended == 0) continue;
    const bool share_is_gone = peers_ && reader_ != nullptr;
    server_lost_ = server_lost_ || share_is_gone;
    Problem(absl::StrCat("worker ", i, " ended (", DescribeEnd(*ended), ")",
                         reasons_[i].empty() ? "" : absl::StrCat(": ", reasons_[i]), share_is_gone ? kShareIsGone : "",
                         "; log: ", workers_[i].log_path()));
  }
}

void Supervisor::EndSilentWorkers() {
  for (const WorkerStatus& worker : outcome_.status.workers) {
    const uint32_t i = worker.partition();
    if (i >= workers_.size() || told_[i]) continue;
    if (worker.state() != WorkerStatus::LOST || worker.pid() != workers_[i].pid()) {
      silent_since_[i].reset();
      continue;
    }
    if (!silent_since_[i]) silent_since_[i] = Clock::now();
    if (silent_told_[i] || Clock::now() - *silent_since_[i] < kSilentGrace) continue;
    silent_told_[i] = true;
    Problem(absl::StrFormat("worker %d (pid %d) was %s, so its lease has run out, and its process has not ended by itself "
                            "within %d s more: it is stopped, starved, or in a step that takes longer. It is killed",
                            i, workers_[i].pid(), worker.reason(), kSilentGrace.count() / 1000));
    workers_[i].Signal(SIGKILL);
  }
}

void Supervisor::ReadStatus() {
  std::optional<uint64_t> fetched = evaluations_->fetched_bytes();
  absl::StatusOr<JobStatus> status = reader_->Read();
  if (fetched != evaluations_->fetched_bytes()) fetched = std::nullopt;
  if (!status.ok()) {
    // A server that is merely busy answers the next time; one that ended is noticed as a child, unless somebody else
    // started it, or the worker in which it lives.
    if (++unanswered_ == kUnanswered) {
      server_lost_ = peers_ || options_.attach;
      Problem(absl::StrCat(status.status().message(), server_lost_ ? kShareIsGone : ""));
    }
    return;
  }
  unanswered_ = 0;
  outcome_.status = *std::move(status);
  advance_ = AdvanceOf(options_.job, outcome_.status);
  TellChanges();
  WatchCheckpoints();
  CountSamplesBefore();
  EndSilentWorkers();
  for (const WorkerStatus& worker : outcome_.status.workers) {
    const uint32_t partition = worker.partition();
    if (options_.launcher == Launcher::kLocal || partition >= ended_told_.size()) continue;
    for (int& i = ended_told_[partition]; i < worker.ended_size(); ++i) {
      const EndedAttempt& ended = worker.ended(i);
      server_lost_ = server_lost_ || peers_;
      Problem(absl::StrCat("worker ", partition, " (attempt ", ended.attempt().stage(), ".", ended.attempt().task(),
                           " on ", ended.host(), ") is gone: ", ended.reason(), peers_ ? kShareIsGone : ""));
    }
  }
  if (advance_.samples == 0) return;
  if (!training_began_) {
    double longest = 0;
    for (const WorkerStatus& worker : outcome_.status.workers) longest = std::max(longest, worker.report().seconds());
    training_began_ = Clock::now() - std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(longest));
  }
  outcome_.traffic = TrafficOf(outcome_.status, fetched, outcome_.traffic);
  if (const auto held_out = evaluations_->OfWorkers(outcome_.status.workers, Now())) AddEvaluation(*held_out);
  for (const WorkerStatus& worker : outcome_.status.workers) {
    if (worker.state() != WorkerStatus::FINISHED || worker.partition() >= outcome_.finished.size()) continue;
    auto& finished = outcome_.finished[worker.partition()];
    if (!finished) finished = Seconds();
  }
  Point point{.seconds = Seconds(),
              .epoch = advance_.epoch,
              .samples = advance_.samples,
              .images_per_second = advance_.images_per_second,
              .loss = advance_.loss.value_or(LastLoss()),
              .staleness = outcome_.status.MeanStaleness(),
              .traffic = outcome_.traffic};
  const ordered_json event = {{"event", "progress"},
                              {"seconds", point.seconds},
                              {"epoch", point.epoch},
                              {"epochs", advance_.epochs},
                              {"fraction", advance_.fraction},
                              {"samples", point.samples},
                              {"images_per_second", point.images_per_second},
                              {"loss", point.loss},
                              {"staleness", point.staleness},
                              {"bytes_to_servers", point.traffic.to_servers},
                              {"bytes_from_servers", point.traffic.from_servers}};
  if (!outcome_.series.points.empty() && outcome_.series.points.back().samples == point.samples) return;
  outcome_.series.points.push_back(point);
  folder_->AddMetrics(event);
  ProgressView view{.point = point, .epochs = advance_.epochs, .step = advance_.step,
                    .max_steps = options_.job.training().max_steps(),
                    .seconds_left = SecondsLeft(advance_)};
  if (!outcome_.series.evaluations.empty()) {
    view.accuracy = outcome_.series.evaluations.back().accuracy;
    view.top_k = outcome_.series.evaluations.back().top_k;
  }
  terminal_.Progress(view, event);
}

void Supervisor::WatchCheckpoints() {
  if (checkpoints_ == nullptr) return;
  const auto news = checkpoints_->Turn(outcome_.status.servers, Seconds());
  if (!news) return;
  if (!news->problem.empty()) {
    return Problem(absl::StrCat("checkpoint ", news->number, " was not written: ", news->problem));
  }
  ++outcome_.checkpoints;
  const ordered_json event = {{"event", "checkpoint"}, {"number", news->number}, {"clock", news->clock},
                              {"bytes", news->bytes}, {"seconds", news->seconds}};
  folder_->AddMetrics(event);
  terminal_.Say(absl::StrFormat("checkpoint %d%s: %.1f MB, after %.1f s", news->number,
                                news->clock == 0 || news->late > 0 ? "" : absl::StrCat(" as of clock ", news->clock),
                                static_cast<double>(news->bytes) / 1e6, news->seconds),
                event);
}

void Supervisor::CountSamplesBefore() {
  if (options_.restore.empty()) return;
  for (const WorkerStatus& worker : outcome_.status.workers) {
    if (worker.partition() >= seen_.size() || seen_[worker.partition()] || worker.report().samples() == 0) continue;
    seen_[worker.partition()] = true;
    outcome_.samples_before += worker.report().samples();
  }
}

void Supervisor::TellChanges() {
  const std::vector<SettingsChange>& changes = outcome_.status.changes;
  for (; changes_told_ < changes.size(); ++changes_told_) {
    const SettingsChange& change = changes[changes_told_];
    const ordered_json event = {{"event", "settings"},
                                {"version", change.version()},
                                {"from_clock", change.from_clock()},
                                {"mode", change.sync().mode()},
                                {"learning_rate", change.learning_rate()},
                                {"sync", SyncText(change.sync())}};
    folder_->AddMetrics(event);
    terminal_.Say(absl::StrFormat("settings version %d from clock %d on: %s, learning rate %g", change.version(),
                                  change.from_clock(), SyncText(change.sync()), change.learning_rate()),
                  event);
  }
}

double Supervisor::LastLoss() const {
  return outcome_.series.points.empty() ? std::nan("") : outcome_.series.points.back().loss;
}

Evaluation Supervisor::Now() const {
  return {.seconds = Seconds(), .epoch = advance_.epoch, .samples = advance_.samples, .traffic = outcome_.traffic};
}

void Supervisor::WatchEvaluations() {
  if (const auto evaluation = evaluations_->Take()) {
    if (evaluation->ok()) {
      AddEvaluation(**evaluation);
    } else {
      if (!server_lost_) Problem(absl::StrCat("evaluation: ", evaluation->status().message()));
      if (peers_ && training_ended_) server_lost_ = true;  // the model was still in the workers
    }
  }
  if (training_began_) evaluations_->StartIfDue(advance_.fraction, Now());
}

void Supervisor::AddEvaluation(const Evaluation& evaluation) {
  if (evaluation.weight == 0) return;
  outcome_.series.evaluations.push_back(evaluation);
  const ordered_json event = {{"event", "evaluation"},
                              {"seconds", evaluation.seconds},
                              {"epoch", evaluation.epoch},
                              {"samples", evaluation.samples},
                              {"bytes_to_servers", evaluation.traffic.to_servers},
                              {"bytes_from_servers", evaluation.traffic.from_servers},
                              {"loss", evaluation.loss},
                              {"accuracy", evaluation.accuracy ? ordered_json(*evaluation.accuracy) : ordered_json(nullptr)},
                              {"top_k", evaluation.top_k}};
  folder_->AddMetrics(event);
  const std::string accuracy =
      evaluation.accuracy
          ? absl::StrFormat("%s %.2f %%, ", AccuracyName(evaluation.top_k), *evaluation.accuracy * 100)
          : "";
  terminal_.Say(absl::StrFormat("held out, epoch %.1f: %sloss %s", evaluation.epoch, accuracy, FormatLoss(evaluation.loss)), event);
}

bool Supervisor::WorkersEnded() const {
  if (options_.launcher == Launcher::kLocal && !peers_) {
    return std::all_of(told_.begin(), told_.end(), [](bool told) { return told; });
  }
  const auto& workers = outcome_.status.workers;
  return !workers.empty() && std::all_of(workers.begin(), workers.end(), [](const WorkerStatus& worker) {
    return worker.state() == WorkerStatus::FINISHED;
  });
}

void Supervisor::FinalEvaluation() {
  if (reader_) ReadStatus();
  const bool anything = std::any_of(outcome_.status.workers.begin(), outcome_.status.workers.end(),
                                    [](const WorkerStatus& worker) { return worker.report().step() > 0; });
  if (!anything) return;
  const auto turn_until_measured = [this] {
    while (evaluations_->under_way() && stop_signal_ == 0 && !orphaned_ && !server_lost_) Turn();
  };
  turn_until_measured();
  if (stop_signal_ != 0 || orphaned_ || server_lost_) return;
  if (reader_) ReadStatus();  // with all that was sent
  evaluations_->StartLast(Now());
  turn_until_measured();
}

RunExit Supervisor::Finish(const absl::Status& status, RunExit failure) {
  // A server waits for its last connection to close.
  evaluations_->Stop();
  reader_.reset();
  if (rendezvous_) rendezvous_->Release();
  StopChildren();
  WatchWorkers();
  if (!status.ok() && stop_signal_ == 0 && !orphaned_) Problem(std::string(status.message()));
  if (const auto grown = Divergence(options_.job, outcome_.status)) Problem(*grown);

  const auto finished = std::count_if(outcome_.status.workers.begin(), outcome_.status.workers.end(),
                                      [](const auto& worker) { return worker.state() == WorkerStatus::FINISHED; });
  if (stop_signal_ != 0 || orphaned_) {
    outcome_.result = RunResult::kStopped;
    const std::string reason = ReasonToStop();
    outcome_.problems.push_back(!reason.empty() ? reason
                                : orphaned_     ? "whoever started the run is gone"
                                : stop_signal_ == SIGINT ? "interrupted"
                                                         : "told to stop by whoever started it");
  } else if (status.ok() && !server_lost_ && finished > 0) {
    outcome_.result = finished == options_.job.workers() ? RunResult::kDone : RunResult::kIncomplete;
  }
  if (evaluations_->has_model()) {
    const std::string path = folder_->File("model.safetensors");
    const absl::Status written = evaluations_->WriteModel(path);
    if (written.ok()) {
      outcome_.model = path;
    } else {
      Problem(std::string(written.message()));
    }
  }
  const auto& points = outcome_.series.points;
  if (std::any_of(points.begin(), points.end(), [](const Point& point) { return point.loss > 0; })) {
    const std::string path = folder_->File("plot.png");
    const absl::Status drawn = DrawPlot(outcome_.series, options_.job.name(), path);
    if (drawn.ok()) {
      outcome_.plot = path;
    } else {
      Problem(absl::StrCat("no plot: ", drawn.message()));
    }
  }
  ordered_json summary = MakeSummary(options_.job, folder_->path(), outcome_);
  const absl::Status summarised = folder_->WriteSummary(summary);
  if (!summarised.ok()) Problem(std::string(summarised.message()));
  terminal_.Text(SummaryText(summary));
  if (options_.voice == Voice::kJson) {
    summary["event"] = "summary";
    terminal_.Say("", summary);
  }
  switch (outcome_.result) {
    // A run whose model could not be kept was for nothing.
    case RunResult::kDone: return outcome_.model && summarised.ok() ? RunExit::kDone : RunExit::kFailed;
    case RunResult::kStopped: return stop_signal_ == SIGINT ? RunExit::kInterrupted : RunExit::kStopped;
    default: return failure;
  }
}

std::string Supervisor::ReasonToStop() const {
  if (!options_.lifeline_fd) return "";
  pollfd lifeline{*options_.lifeline_fd, POLLIN, 0};
  char text[PIPE_BUF];
  if (poll(&lifeline, 1, 0) != 1 || (lifeline.revents & POLLIN) == 0) return "";
  const ssize_t length = read(*options_.lifeline_fd, text, sizeof(text));
  return length <= 0 ? "" : std::string(absl::StripAsciiWhitespace(absl::string_view(text, length)));
}

void Supervisor::StopChildren() {
  // Workers first: they leave the job in order. All are told before any is waited for.
  for (auto* children : {&workers_, &servers_}) {
    for (Child& child : *children) {
      if (!child.Ended()) child.Signal(SIGTERM);
    }
    const auto deadline = Clock::now() + kStopGrace;
    for (Child& child : *children) {
      while (!child.Ended() && Clock::now() < deadline) usleep(10000);
      if (!child.Ended()) {
        child.Signal(SIGKILL);
        while (!child.Ended()) usleep(10000);
      }
    }
  }
}

void Supervisor::Problem(const std::string& sentence) {
  outcome_.problems.push_back(sentence);
  const ordered_json event = {{"event", "problem"}, {"sentence", sentence}};
  if (folder_) folder_->AddMetrics(event);
  terminal_.Say(absl::StrCat("! ", sentence), event);
}

double Supervisor::Seconds() const {
  if (training_ended_) return outcome_.seconds;
  return training_began_ ? std::chrono::duration<double>(Clock::now() - *training_began_).count() : 0;
}

std::optional<double> Supervisor::SecondsLeft(const Advance& advance) const {
  constexpr double kTooEarly = 0.01;
  if (advance.fraction < kTooEarly) return std::nullopt;
  return Seconds() * (1 - advance.fraction) / advance.fraction;
}

}  // namespace downpour::run
