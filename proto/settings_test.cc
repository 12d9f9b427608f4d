#include "proto/settings.h"

#include <catch2/catch.hpp>

#include "proto/job_config.h"

namespace downpour {
namespace {

Job MakeJob(const std::string& sync) {
  const auto job = ParseJob("name: j\nworkers: 4\nsync: " + sync +
                                "\noptimizer: {learning_rate: 0.1}\nnet: [{name: l, type: softmax_loss}]\n",
                            "job.yaml");
  INFO(job.status().message());
  REQUIRE(job.ok());
  return *job;
}

SettingsChange Change(uint32_t version, uint64_t from_clock, const std::string& sync, float rate = 0.1f) {
  SettingsChange change;
  change.set_version(version);
  change.set_from_clock(from_clock);
  *change.mutable_sync() = MakeJob(sync).sync();
  change.set_learning_rate(rate);
  return change;
}

TEST_CASE("settings in words") {
  Sync sync;
  sync.set_mode("ssp");
  sync.set_s(2);
  CHECK(SyncText(sync) == "mode ssp, s 2");
  CHECK(SyncText({}).empty());
}

TEST_CASE("each version counts from its clock on") {
  auto history = *SettingsHistory::Create(MakeJob("{mode: downpour}"));
  REQUIRE(history.Add(Change(1, 10, "{mode: downpour, n_push: 7}")).ok());
  REQUIRE(history.Add(Change(2, 10, "{mode: bsp}")).ok());
  REQUIRE(history.Add(Change(3, 30, "{mode: ssp, s: 1}", 0.5f)).ok());
  struct Row {
    uint64_t clock;
    uint32_t version;
  };
  for (const Row& row : {Row{0, 0}, Row{9, 0}, Row{10, 2}, Row{29, 2}, Row{30, 3}, Row{1000, 3}}) {
    CAPTURE(row.clock);
    CHECK(history.At(row.clock).version == row.version);
  }
  CHECK(history.At(30).mode == &kSsp);
  CHECK(history.At(30).learning_rate == 0.5f);
  CHECK(history.Version(1)->sync.n_push() == 7);
  CHECK(history.Version(4) == nullptr);
  CHECK(history.changes().size() == 3);
}

TEST_CASE("a change that comes again changes nothing, another of the same version is refused") {
  auto history = *SettingsHistory::Create(MakeJob("{mode: downpour}"));
  const SettingsChange change = Change(1, 10, "{mode: asp}");
  REQUIRE(history.Add(change).ok());
  CHECK(history.Add(change).ok());
  CHECK(history.changes().size() == 1);
  CHECK(absl::IsAborted(history.Add(Change(1, 11, "{mode: asp}"))));
  CHECK(absl::IsAborted(history.Add(Change(3, 20, "{mode: asp}"))));
  CHECK(absl::IsAborted(history.Add(Change(0, 20, "{mode: asp}"))));
}

TEST_CASE("what makes no sense, or would mix what is exchanged, is refused with its reason") {
  struct Row {
    std::string before;
    SettingsChange change;
    std::string says;
  };
  SettingsChange misfit = Change(1, 0, "{mode: bsp}");
  misfit.mutable_sync()->set_n_push(5);
  SettingsChange unknown = Change(1, 0, "{mode: bsp}");
  unknown.mutable_sync()->set_mode("hogwild");
  SettingsChange backups = Change(1, 0, "{mode: bsp, backup_workers: 3}");
  backups.mutable_sync()->set_backup_workers(4);
  SettingsChange incomplete = Change(1, 0, "{mode: downpour}");
  incomplete.mutable_sync()->clear_n_push();
  const Row table[] = {
      {"{mode: downpour}", incomplete, "every key that counts"},
      {"{mode: downpour}", Change(1, UINT64_MAX, "{mode: downpour}"), "beyond what any job comes to"},
      {"{mode: downpour}", misfit, "sync.n_push: belongs to mode downpour, not to bsp"},
      {"{mode: downpour}", unknown, "'hogwild' is none of"},
      {"{mode: bsp}", backups, "should be less than workers, 4"},
      {"{mode: downpour}", Change(1, 0, "{mode: downpour}", -1), "not negative"},
      {"{mode: downpour}", Change(1, 0, "{mode: local_sgd}"), "from sync.mode downpour to local_sgd"},
      {"{mode: bsp}", Change(1, 0, "{mode: peer}"), "from sync.mode bsp to peer"},
      {"{mode: local_sgd, tau: 5}", Change(1, 0, "{mode: local_sgd, tau: 6}"), "sync.tau"},
      {"{mode: asp}", Change(1, 0, "{mode: asp, warmup_steps: 3}"), "sync.warmup_steps"},
  };
  for (const Row& row : table) {
    CAPTURE(row.says);
    auto history = *SettingsHistory::Create(MakeJob(row.before));
    CHECK_THAT(std::string(history.Check(row.change).message()), Catch::Contains(row.says));
    CHECK_FALSE(history.Add(row.change).ok());
    CHECK(history.latest().version == 0);
  }
  auto history = *SettingsHistory::Create(MakeJob("{mode: asp}"));
  REQUIRE(history.Add(Change(1, 10, "{mode: bsp}")).ok());
  CHECK_THAT(std::string(history.Check(Change(2, 9, "{mode: asp}")).message()), Catch::Contains("is before 10"));
}

}  // namespace
}  // namespace downpour
