#include "tools/ps_ctl/plan.h"

#include <catch2/catch.hpp>

#include "proto/job_config.h"

namespace downpour::ctl {
namespace {

Job MakeJob(const std::string& sync) {
  const auto job = ParseJob("name: j\nworkers: 2\nsync: " + sync +
                                "\noptimizer: {learning_rate: 0.1}\ntraining: {batch: 10}\nworker: {heartbeat_ms: 100}\n"
                                "net: [{name: l, type: softmax_loss}]\n",
                            "job.yaml");
  INFO(job.status().message());
  REQUIRE(job.ok());
  return *job;
}

std::vector<StatusReply> Servers(const std::vector<SettingsChange>& changes = {}) {
  StatusReply reply;
  for (const uint64_t step : {100, 40}) {
    WorkerStatus* worker = reply.add_workers();
    worker->set_state(WorkerStatus::LIVE);
    worker->mutable_report()->set_step(step);
    worker->mutable_report()->set_samples_per_second(1000);  // 100 steps/s, 30 in three heartbeats
  }
  reply.mutable_changes()->Assign(changes.begin(), changes.end());
  return {reply, reply};
}

std::string Mistake(const std::string& sync, const std::vector<std::string>& set) {
  const auto change = PlanChange(MakeJob(sync), Servers(), set, std::nullopt);
  REQUIRE_FALSE(change.ok());
  return std::string(change.status().message());
}

TEST_CASE("a setting changes at a clock that nobody has reached") {
  const auto change = PlanChange(MakeJob("{mode: downpour}"), Servers(), {"sync.n_push=10"}, std::nullopt);
  REQUIRE(change.ok());
  CHECK(change->version() == 1);
  CHECK(change->from_clock() == 131);
  CHECK(change->sync().n_push() == 10);
  CHECK(change->sync().n_fetch() == 5);
  CHECK(change->learning_rate() == 0.1f);
  CHECK(PlanChange(MakeJob("{mode: downpour}"), Servers(), {"sync.n_push=10"}, 7)->from_clock() == 7);
}

TEST_CASE("another mode begins with its own settings") {
  const auto change =
      PlanChange(MakeJob("{mode: downpour, n_push: 7, warmup_steps: 3}"), Servers(), {"sync.mode=ssp", "sync.s=2"}, 500);
  INFO(change.status().message());
  REQUIRE(change.ok());
  CHECK(change->sync().mode() == "ssp");
  CHECK(change->sync().s() == 2);
  CHECK_FALSE(change->sync().has_n_push());
  CHECK(change->sync().max_pushes_in_flight() == 2);
  CHECK(change->sync().warmup_steps() == 3);
}

TEST_CASE("what both modes have stays, however the other mode is spelled") {
  const Job job = MakeJob("{mode: downpour, n_push: 7, max_age: 9, max_pushes_in_flight: 4}");
  for (const char* const spelled : {"sync.mode=ssp", "sync.mode= ssp ", "sync.mode='ssp'"}) {
    const auto change = PlanChange(job, Servers(), {spelled}, 500);
    INFO(spelled << ": " << change.status().message());
    REQUIRE(change.ok());
    CHECK(change->sync().max_age() == 9);
    CHECK(change->sync().max_pushes_in_flight() == 4);
    CHECK(change->sync().s() == 3);
    CHECK_FALSE(change->sync().has_n_push());
  }
  CHECK_THAT(Mistake("{mode: downpour}", {"sync.mode=ssp", "sync.n_push=3"}), Catch::Contains("belongs to mode downpour"));
  CHECK_THAT(Mistake("{mode: downpour}", {"sync.mode= downpour "}), Catch::Contains("already"));
  CHECK_THAT(Mistake("{mode: downpour}", {"sync.mode=spp"}), Catch::Contains("did you mean ssp?"));
}

TEST_CASE("a change builds on those before it, and what one server missed counts too") {
  const Job job = MakeJob("{mode: downpour}");
  const SettingsChange first = *PlanChange(job, Servers(), {"sync.n_push=10"}, 200);
  std::vector<StatusReply> servers = Servers({first});
  servers[1].clear_changes();
  const auto second = PlanChange(job, servers, {"optimizer.learning_rate=0.05"}, std::nullopt);
  REQUIRE(second.ok());
  CHECK(second->version() == 2);
  CHECK(second->sync().n_push() == 10);
  CHECK(second->learning_rate() == 0.05f);
  CHECK(second->from_clock() == 200);
  CHECK_THAT(std::string(PlanChange(job, servers, {"sync.n_push=3"}, 100).status().message()),
             Catch::Contains("is before 200"));
  SettingsChange other = first;
  other.set_from_clock(300);
  *servers[1].add_changes() = other;
  CHECK_THAT(std::string(KnownChanges(servers).status().message()), Catch::Contains("disagree about version 1"));
}

TEST_CASE("a change that would begin after the job's end is refused") {
  const Job job = MakeJob("{mode: downpour}");
  std::vector<StatusReply> servers = Servers();
  // 10 rows a step, 15 epochs by default or so many steps: whoever's share is larger decides.
  for (StatusReply& server : servers) {
    server.mutable_workers(0)->mutable_report()->set_partition_samples(1000);
  }
  const auto at = [&](uint64_t clock) { return PlanChange(job, servers, {"sync.n_push=10"}, clock); };
  CHECK(at(1'000'000).ok());  // the other's share is not known
  for (StatusReply& server : servers) server.mutable_workers(1)->mutable_report()->set_partition_samples(1001);
  const uint64_t end = 101 * job.training().epochs();
  CHECK(at(end - 1).ok());
  CHECK_THAT(std::string(at(end).status().message()),
             Catch::Contains("the job is done at clock " + std::to_string(end)));
  Job shorter = job;
  shorter.mutable_training()->set_max_steps(90);
  CHECK_THAT(std::string(PlanChange(shorter, servers, {"sync.n_push=10"}, std::nullopt).status().message()),
             Catch::Contains("the job is done at clock 90; a change from clock 131 on would never count"));
}

TEST_CASE("changes count once a worker has come to them") {
  SettingsChange first, second;
  first.set_from_clock(10);
  second.set_from_clock(20);
  CHECK(BegunChanges({}, 100) == 0);
  CHECK(BegunChanges({first, second}, 9) == 0);
  CHECK(BegunChanges({first, second}, 10) == 1);
  CHECK(BegunChanges({first, second}, 20) == 2);
  CHECK(FurthestClock(MakeJob("{mode: downpour}"), Servers()) == 100);
}

TEST_CASE("what can't change is refused with its reason") {
  CHECK_THAT(Mistake("{mode: downpour}", {"training.batch=5"}), Catch::Contains("training.batch"));
  CHECK_THAT(Mistake("{mode: downpour}", {"sync.s=5"}), Catch::Contains("belongs to mode ssp, not to downpour"));
  CHECK_THAT(Mistake("{mode: downpour}", {"sync.n_push=5"}), Catch::Contains("already"));
  CHECK_THAT(Mistake("{mode: downpour}", {"sync.n_pusch=5"}), Catch::Contains("did you mean sync.n_push?"));
  CHECK_THAT(Mistake("{mode: downpour}", {"sync.mode=local_sgd"}), Catch::Contains("from sync.mode downpour to local_sgd"));
  CHECK_THAT(Mistake("{mode: local_sgd}", {"sync.tau=5"}), Catch::Contains("sync.tau"));
}

}  // namespace
}  // namespace downpour::ctl
