#include "ps/overdue.h"

#include <vector>

#include <catch2/catch.hpp>

#include "proto/job_config.h"

namespace downpour::ps {
namespace {

constexpr int64_t kJoinMs = 1000;
constexpr int64_t kReadMs = 5000;

Settings SettingsOf(const std::string& sync) {
  const auto job = ParseJob("name: j\nworkers: 3\nsync: " + sync + "\nnet: [{name: l, type: softmax_loss}]\n", "job.yaml");
  INFO(job.status().message());
  REQUIRE(job.ok());
  return SettingsHistory::Create(*job)->latest();
}

const Settings& Bsp() {
  static const Settings bsp = SettingsOf("{mode: bsp, join_timeout_ms: 1000, read_timeout_ms: 5000}");
  return bsp;
}

const Settings& Ssp() {
  static const Settings ssp = SettingsOf("{mode: ssp, join_timeout_ms: 1000, read_timeout_ms: 5000}");
  return ssp;
}

const Settings& Asp() {
  static const Settings asp = SettingsOf("{mode: asp, join_timeout_ms: 1000}");
  return asp;
}

// Three partitions, of which those with a fence came at 0 ms; all that came are live and at clock 4.
struct Place {
  explicit Place(std::vector<uint64_t> fences) {
    for (uint32_t i = 0; i < fences.size(); ++i) {
      if (fences[i] == 0) continue;
      leases.Join(i, fences[i], 0, 0);
      views[i] = {Membership::kLive, 4};
    }
  }
  std::optional<Overdue> At(int64_t now_ms, const Settings& settings, int64_t since_ms = 0) const {
    return WhyOverdue(settings, leases, {{4, 0, views}, set, warm}, {.worker = 1, .clock = 5, .since_ms = since_ms}, now_ms);
  }

  Leases leases{3};
  std::vector<MemberView> views{3};
  bool set = true;
  bool warm = true;
};

TEST_CASE("in rounds one waits for those who have not come, so long") {
  const Place place({1, 2, 0});
  CHECK_FALSE(place.At(kJoinMs - 1, Bsp()));
  const auto overdue = place.At(kJoinMs, Bsp());
  REQUIRE(overdue);
  CHECK(overdue->reason == Refusal::kNoMembers);
  CHECK(overdue->sentence == "after 1000 ms these of the job's 3 partitions have no worker yet: 2");
  // Whoever began to wait later waits as long.
  CHECK_FALSE(place.At(kJoinMs, Bsp(), 1));
  CHECK(place.At(kJoinMs + 1, Bsp(), 1));
  // Before anybody has come there is nobody to be late for.
  CHECK_FALSE(Place({0, 0, 0}).At(1000000, Bsp()));
}

TEST_CASE("without rounds nobody waits for those who have not come") {
  const Place place({1, 2, 0});
  CHECK_FALSE(place.At(kJoinMs, Ssp()));
  CHECK_FALSE(place.At(1000000, Asp()));
}

TEST_CASE("during the first worker's steps alone all wait for it to come, whatever the mode") {
  Place place({0, 2, 0});
  place.warm = false;
  for (const Settings* settings : {&Bsp(), &Ssp(), &Asp()}) {
    CHECK_FALSE(place.At(kJoinMs - 1, *settings));
    const auto overdue = place.At(kJoinMs, *settings);
    REQUIRE(overdue);
    CHECK(overdue->reason == Refusal::kNoMembers);
    CHECK(overdue->sentence == "after 1000 ms these of the job's 3 partitions have no worker yet: 0");
  }
  // Once it is there, it may take its time.
  Place there({1, 2, 3});
  there.warm = false;
  CHECK_FALSE(there.At(1000000, Bsp()));
}

TEST_CASE("a read waits for slower workers so long, and says for whom") {
  Place place({1, 2, 3});
  place.views[2].clock = 9;
  for (const Settings* settings : {&Bsp(), &Ssp()}) {
    CHECK_FALSE(place.At(kReadMs - 1, *settings));
    const auto overdue = place.At(kReadMs, *settings);
    REQUIRE(overdue);
    CHECK(overdue->reason == Refusal::kReadTimeout);
    CHECK(overdue->sentence == "waited 5000 ms for clock 5, behind which are partitions 0 (clock 4); "
                               "sync.read_timeout_ms says how long to wait");
  }
  CHECK_FALSE(place.At(1000000, Asp()));
  // Without values it is the first ones that are waited for, and those have no such limit.
  place.set = false;
  CHECK_FALSE(place.At(kReadMs, Bsp()));
}

TEST_CASE("of many workers some are named") {
  Leases leases(100);
  const std::vector<MemberView> views(100);
  leases.Join(0, 1, 0, 0);
  const auto overdue = WhyOverdue(Bsp(), leases, {{0, 0, views}, true, true}, {}, kJoinMs);
  REQUIRE(overdue);
  CHECK_THAT(overdue->sentence, Catch::EndsWith("18, 19, 20, more"));
}

}  // namespace
}  // namespace downpour::ps
