#include "tools/ps_run/summary.h"

#include <catch2/catch.hpp>
#include <cmath>

#include <nlohmann/json.hpp>

namespace downpour::run {
namespace {

Job TwoWorkers() {
  Job job;
  job.set_name("j");
  job.set_workers(2);
  job.mutable_training()->set_epochs(4);
  return job;
}

WorkerStatus Worker(uint32_t partition, WorkerStatus::State state, double epoch, uint64_t samples, double loss) {
  WorkerStatus worker;
  worker.set_partition(partition);
  worker.set_state(state);
  worker.mutable_report()->set_epoch(epoch);
  worker.mutable_report()->set_samples(samples);
  worker.mutable_report()->set_loss(loss);
  worker.mutable_report()->set_loss_steps(10);
  worker.mutable_report()->set_samples_per_second(100);
  return worker;
}

TEST_CASE("a job's advance is the mean over its workers, and dead ones give no rate") {
  JobStatus status;
  status.workers = {Worker(0, WorkerStatus::LIVE, 1, 100, 0.5), Worker(1, WorkerStatus::LOST, 2, 200, 0.7)};
  const Advance advance = AdvanceOf(TwoWorkers(), status);
  CHECK(advance.fraction == Approx(0.375));
  CHECK(advance.epoch == Approx(1.5));
  CHECK(advance.samples == 300);
  CHECK(advance.images_per_second == Approx(100));
  CHECK(advance.loss == Approx(0.6));
}

TEST_CASE("a loss that is not finite is none in the summary, and never 0") {
  JobStatus status;
  status.workers = {Worker(0, WorkerStatus::LIVE, 1, 100, std::nan(""))};
  const Advance advance = AdvanceOf(TwoWorkers(), status);
  REQUIRE(advance.loss.has_value());
  CHECK(std::isnan(*advance.loss));
  RunOutcome outcome;
  outcome.status = status;
  outcome.series.points.push_back({.loss = *advance.loss});
  CHECK(MakeSummary(TwoWorkers(), "/runs/a", outcome)["training_loss"].dump() == "null");
  status.workers[0].mutable_report()->set_loss_steps(0);
  CHECK_FALSE(AdvanceOf(TwoWorkers(), status).loss.has_value());
}

TEST_CASE("a job ends by max_steps where that is before its epochs") {
  JobStatus status;
  status.workers = {Worker(0, WorkerStatus::LIVE, 0.4, 100, 0.5), Worker(1, WorkerStatus::LIVE, 0, 0, 0)};
  status.workers[0].mutable_report()->set_step(60);
  Job job = TwoWorkers();
  CHECK(AdvanceOf(job, status).epochs == 4);
  job.mutable_training()->set_max_steps(300);
  CHECK(AdvanceOf(job, status).epochs == Approx(2));
  CHECK(AdvanceOf(job, status).step == 60);
  CHECK(AdvanceOf(job, status).fraction == Approx(0.1));
  job.mutable_training()->set_max_steps(3000);
  CHECK(AdvanceOf(job, status).epochs == 4);
}

TEST_CASE("a finished worker is done, whatever it last reported") {
  JobStatus status;
  status.workers = {Worker(0, WorkerStatus::FINISHED, 3.9, 100, 0.5), Worker(1, WorkerStatus::FINISHED, 4, 0, 0)};
  CHECK(AdvanceOf(TwoWorkers(), status).fraction == Approx(1));
}

TEST_CASE("shards of all servers are counted, workers once") {
  JobStatus status;
  StatusReply reply;
  *reply.add_workers() = Worker(0, WorkerStatus::LIVE, 1, 1, 1);
  ShardStatus* shard = reply.add_shards();
  shard->set_pushes(5);
  shard->set_staleness_sum(6);
  shard->set_staleness_count(3);
  (*shard->mutable_refused())["not_finite"] = 2;
  (*reply.mutable_counters())["payload_received_bytes"] = 100;
  Merge(reply, &status);
  Merge(reply, &status);
  CHECK(status.workers.size() == 1);
  CHECK(status.pushes == 10);
  CHECK(status.MeanStaleness() == Approx(2));
  CHECK(status.refused.at("not_finite") == 4);
  CHECK(status.received_bytes == 200);
  CHECK(status.sent_bytes == 0);
}

TEST_CASE("the summary's text is made from its JSON alone") {
  RunOutcome outcome;
  outcome.result = RunResult::kIncomplete;
  outcome.problems = {"worker 1 ended (killed by signal 9 (Killed))"};
  outcome.seconds = 90;
  outcome.status.workers = {Worker(0, WorkerStatus::FINISHED, 4, 4000, 0.5), Worker(1, WorkerStatus::LOST, 1, 500, 1)};
  outcome.series.evaluations.push_back({.accuracy = 0.8912});
  outcome.model = "/runs/a/model.safetensors";
  outcome.traffic = {.to_servers = 7100000, .from_servers = 8000000};
  outcome.status.pushes = 40;
  outcome.status.combined = 12;
  outcome.finished = {80.5, std::nullopt};
  const auto summary = MakeSummary(TwoWorkers(), "/runs/a", outcome);
  const std::string text = SummaryText(nlohmann::ordered_json::parse(summary.dump()));
  CHECK(text ==
        "j: incomplete, 89.12 % held-out accuracy after 4,500 images in 1:30 (50 images/s)\n"
        "  ! worker 1 ended (killed by signal 9 (Killed))\n"
        "  wire     7.1 MB to the servers, 8.0 MB from them, 12 of 40 pushes of parts combined\n"
        "  model    /runs/a/model.safetensors\n"
        "  metrics  /runs/a/metrics.jsonl\n"
        "  job      /runs/a/job.yaml\n"
        "  logs     /runs/a/logs\n");
  CHECK(summary["workers"][1]["state"] == "lost");
  CHECK(summary["workers"][0]["seconds"] == 80.5);
  CHECK(summary["workers"][1]["seconds"].is_null());
  CHECK(summary["bytes_to_servers"] == 7100000);
  CHECK(summary["bytes_from_servers"] == 8000000);
  CHECK(summary["combined_part_pushes"] == 12);
}

TEST_CASE("the summary says what counts as right") {
  RunOutcome outcome;
  outcome.series.evaluations.push_back({.accuracy = 0.8912, .top_k = 5});
  auto summary = MakeSummary(TwoWorkers(), "/runs/a", outcome);
  CHECK(summary["top_k"] == 5);
  CHECK_THAT(SummaryText(summary), Catch::Contains(", 89.12 % held-out top-5 accuracy after"));
  summary.erase("top_k");  // written by an older version
  CHECK_THAT(SummaryText(summary), Catch::Contains(", 89.12 % held-out accuracy after"));
}

TEST_CASE("a run in which nothing was done has no rate") {
  RunOutcome outcome;
  outcome.seconds = 0.001;
  outcome.status.workers = {Worker(0, WorkerStatus::FINISHED, 0, 0, 0)};
  const auto summary = MakeSummary(TwoWorkers(), "/runs/a", outcome);
  CHECK(summary["images_per_second"].is_null());
  CHECK_THAT(SummaryText(summary), !Catch::Contains("images/s"));
}

TEST_CASE("a summary with nothing in it can still be shown") {
  CHECK_FALSE(SummaryText(nlohmann::ordered_json::object()).empty());
}

}  // namespace
}  // namespace downpour::run
