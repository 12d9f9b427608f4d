#include "worker/events.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <string>
#include <thread>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace downpour::worker {
namespace {

using nlohmann::json;

// What `say` writes to standard output.
template <typename Function>
std::string Captured(Function say) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
  const int saved = dup(STDOUT_FILENO);
  dup2(ends[1], STDOUT_FILENO);
  say();
  dup2(saved, STDOUT_FILENO);
  close(saved);
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof(buffer))) > 0;) text.append(buffer, n);
  close(ends[0]);
  return text;
}

TEST_CASE("each event is one line of JSON with the contract's members") {
  Events events(3);
  WorkerReport report;
  report.set_step(7);
  report.set_epoch(1.5);
  report.set_samples(448);
  report.set_loss(0.25);
  report.set_loss_steps(2);
  const json progress = json::parse(Captured([&] { events.Progress(report); }));
  CHECK(progress == json{{"event", "progress"}, {"partition", 3}, {"step", 7}, {"epoch", 1.5}, {"samples", 448},
                         {"loss", 0.25}, {"samples_per_second", 0.0}, {"staleness", 0.0}});
  const json failed = json::parse(Captured([&] { events.Failed("a \"quoted\"\nreason \xff", "hint"); }));
  CHECK(failed["event"] == "failed");
  CHECK(failed["hint"] == "hint");
  CHECK(json::parse(Captured([&] { events.Started({"a:1"}); }))["servers"] == json{"a:1"});
  const json loaded = json::parse(Captured([&] { events.Loaded({5, 2, 60, 40, 20, 900}); }));
  CHECK(loaded == json{{"event", "loaded"}, {"partition", 3}, {"samples", 5}, {"held_out", 2}, {"bytes", 60},
                       {"memory_bytes", 40}, {"spooled_bytes", 20}, {"bound_bytes", 900}});
  WorkerStatus holder;
  holder.mutable_attempt()->set_task(7);
  holder.set_host("node");
  const json waiting = json::parse(Captured([&] { events.Waiting(holder); }));
  CHECK(waiting == json{{"event", "waiting"}, {"partition", 3}, {"attempt", "0.7"}, {"host", "node"}, {"pid", 0},
                        {"silent_ms", 0}});
}

TEST_CASE("what is not finite is null, for JSON has no NaN") {
  Events events(0);
  WorkerReport report;
  report.set_seconds(std::numeric_limits<double>::infinity());
  const json done = json::parse(Captured([&] { events.Done(report); }));
  CHECK(done["loss"].is_null());
  CHECK(done["seconds"].is_null());
  CHECK(json::parse(Captured([&] { events.Progress({}); }))["loss"].is_null());
}

TEST_CASE("each epoch is told with loss, accuracy and weight, and what nobody saw as null") {
  Events events(0);
  WorkerReport report;
  report.add_epochs();
  EpochReport* const second = report.add_epochs();
  second->mutable_train()->set_loss_sum(6);
  second->mutable_train()->set_correct(3);
  second->mutable_train()->set_weight(4);
  second->mutable_held_out()->set_loss_sum(1);
  second->mutable_held_out()->set_weight(2);
  const json done = json::parse(Captured([&] { events.Done(report); }));
  REQUIRE(done["epochs"].size() == 2);
  CHECK(done["epochs"][0] == json{{"train", nullptr}, {"held_out", nullptr}});
  CHECK(done["epochs"][1]["train"] == json{{"loss", 1.5}, {"accuracy", 0.75}, {"weight", 4.0}});
  CHECK(done["epochs"][1]["held_out"] == json{{"loss", 0.5}, {"accuracy", nullptr}, {"weight", 2.0}});
}

TEST_CASE("lines of several threads do not mix") {
  Events events(0);
  const std::string text = Captured([&] {
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (uint64_t j = 0; j < 100; ++j) events.Loaded({.samples = j});
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  size_t lines = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    REQUIRE(end != std::string::npos);
    REQUIRE_NOTHROW(json::parse(text.substr(at, end - at)));
    at = end + 1;
    ++lines;
  }
  CHECK(lines == 400);
}

}  // namespace
}  // namespace downpour::worker
