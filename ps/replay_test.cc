#include "ps/replay.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "proto/job_config.h"
#include "proto/shard_map.h"
#include "ps/recorder.h"
#include "tests/support/temporary_folder.h"

namespace downpour::ps {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kServers = 2;
constexpr uint32_t kShards = 2;
constexpr uint64_t kElements = 10 * 1024 + 5;  // three parts a shard
constexpr uint32_t kWorkers = 3;

using tests::TemporaryFolder;

std::string LogOf(const TemporaryFolder& folder, uint32_t server, uint32_t shard) {
  return folder.File(EventLogName(server, shard));
}

Job MakeJob(const std::string& mode, const std::string& optimizer) {
  auto job = ParseJob(absl::StrCat("name: replayed\nworkers: ", kWorkers, "\nsync: {mode: ", mode,
                                   "}\noptimizer: {name: ", optimizer, ", learning_rate: 0.1}\n",
                                   "servers: {addresses: ['127.0.0.1:0', '127.0.0.1:0'], shards: ", kShards,
                                   ", part_bytes: 4096}\n",
                                   "net:\n- {name: ip, type: inner_product, outputs: 3}\n",
                                   "- {name: loss, type: softmax_loss}\n"),
                      "test.yaml");
  INFO(job.status().message());
  REQUIRE(job.ok());
  return *std::move(job);
}

class Nobody : public Shard::Sink {
 public:
  void Deliver(Action) override {}
};

struct PartState {
  uint64_t updates = 0;
  uint64_t checksum = 0;
  std::vector<float> values;
};

// One shard's life: tables, workers that come, go and come again, and frames of every kind, good and bad. Fences and
// the order of joins are each server's own.
class Life {
 public:
  Life(const Job& job, uint32_t server, uint32_t shard, unsigned seed)
      : map_(MakeShardMap(kElements, kServers, kShards, job.servers().part_bytes())),
        sync_(job.sync()),
        rounds_(job.sync().mode() == "bsp"),
        server_(server),
        shard_(shard),
        core_(*ShardCore::Create(job)),
        random_(seed) {}

  const Table& table() const { return *core_->table(0); }

  std::vector<Event> Events(int count) {
    CreateTable create{1, 0, {}, {{0, 100, 2, 1}, {100, kElements, 0.5f, 0}}};
    for (int i = 0; i < map_.tables(0).parts_size(); ++i) {
      const auto& part = map_.tables(0).parts(i);
      if (part.server() != server_ || part.shard() != shard_) continue;
      create.parts.push_back({static_cast<uint32_t>(i), part.begin(), part.end()});
    }
    std::vector<Event> events;
    std::vector<Action> actions;
    const auto add = [&](Event event) {
      core_->Handle(event, actions);
      events.push_back(std::move(event));
    };
    add(Tick{1});
    add(create);
    for (uint32_t worker = 0; worker < kWorkers; ++worker) add(JoinOf((worker + server_) % kWorkers));
    for (const PartRange& part : create.parts) add(Set{{1, 10}, Frame(FrameKind::kSet, 0, part)});
    for (int i = 0; i < count; ++i) add(Any(create.parts, i));
    add(Drain{});
    return events;
  }

 private:
  Event JoinOf(uint32_t worker) {
    fences_[worker] = ++last_fence_;
    return Join{1, worker, last_fence_, false};
  }

  Message Frame(FrameKind kind, uint32_t worker, const PartRange& part) {
    Message message;
    FrameHeader& header = message.header;
    header.kind = kind;
    header.part = part.part;
    header.worker = worker;
    header.fence = fences_[worker];
    if (kind == FrameKind::kPull) return message;
    auto values = std::make_shared<std::vector<float>>(part.end - part.begin);
    for (float& value : *values) value = static_cast<float>(random_() % 2001) / 1000 - 1;
    message.payload = Payload(values, std::span<const float>(*values));
    header.elements = static_cast<uint32_t>(values->size());
    header.payload_bytes = static_cast<uint32_t>(message.payload.size());
    return message;
  }

  Event Any(const std::vector<PartRange>& parts, int step) {
    const uint32_t worker = random_() % kWorkers;
    PartRange part = parts[random_() % parts.size()];
    switch (random_() % 32) {
      case 0: return Tick{1 + step};
      case 1: return Hangup{random_() % 4};
      case 2:
      case 3: return JoinOf(worker);
      case 7: return Leave{1, worker, fences_[worker]};
      case 8: {
        Change event;
        event.change.set_version(++settings_);
        event.change.set_from_clock(8 * settings_);
        event.change.set_learning_rate(0.1f / static_cast<float>(1 + settings_));
        *event.change.mutable_sync() = sync_;
        return event;
      }
      case 4: return Set{{1, 10}, Frame(FrameKind::kSet, worker, part)};
      case 5: part.part += 1; break;   // not here
      case 6: part.end += 1; break;    // another length
      default: break;
    }
    if (random_() % 4 == 0) {
      Pull pull{{random_() % 4, 0}, Frame(FrameKind::kPull, worker, part).header};
      pull.header.clock = clocks_[{worker, part.part}];
      return pull;
    }
    Push push{{random_() % 4, 100}, Frame(FrameKind::kPush, worker, part)};
    FrameHeader& header = push.message.header;
    uint64_t& clock = clocks_[{worker, part.part}];
    for (const Table::Part& known : table().parts()) {
      if (rounds_ && known.index == part.part) clock = known.clock;
    }
    header.clock = clock;
    clock += random_() % 8 != 0;
    header.sequence = header.clock + 1;  // some come again
    header.position = 64 * header.sequence;
    header.samples = 1 + random_() % 64;
    if (random_() % 16 == 0) header.fence -= 1;
    return push;
  }

  const ShardMap map_;
  const Sync sync_;
  const bool rounds_;
  const uint32_t server_;
  const uint32_t shard_;
  const std::unique_ptr<ShardCore> core_;
  std::mt19937 random_;
  uint64_t last_fence_ = 0;
  uint32_t settings_ = 0;
  std::map<uint32_t, uint64_t> fences_;
  std::map<std::pair<uint32_t, uint32_t>, uint64_t> clocks_;
};

// Has all shards of a run recorded by the shell that ps-server has; the parts as a core alone leaves them.
std::map<uint32_t, PartState> RecordRun(const Job& job, const std::string& folder, int count = 400) {
  std::map<uint32_t, PartState> states;
  for (uint32_t server = 0; server < kServers; ++server) {
    for (uint32_t shard = 0; shard < kShards; ++shard) {
      Life life(job, server, shard, 10 * server + shard);
      const std::vector<Event> events = life.Events(count);
      Nobody nobody;
      auto recorder = Recorder::Start(folder, job, server, shard, {});
      INFO(recorder.status().message());
      REQUIRE(recorder.ok());
      Shard recorded(shard, *ShardCore::Create(job), 64 << 20, &nobody, {}, *std::move(recorder));
      for (const Event& event : events) recorded.Post(event);
      recorded.Stop();
      for (const Table::Part& part : life.table().parts()) {
        states[part.index] = {part.version, life.table().Checksum(part),
                              std::vector<float>(part.values.begin(), part.values.end())};
      }
    }
  }
  return states;
}

Replayed ReplayAll(const std::string& folder, const ReplayOptions& options) {
  const auto recording = OpenRecording(folder);
  INFO(recording.status().message());
  REQUIRE(recording.ok());
  auto replayed = Replay(*recording, options);
  INFO(replayed.status().message());
  REQUIRE(replayed.ok());
  return *std::move(replayed);
}

bool SameBits(const ReplayedPart& part, const PartState& state) {
  return static_cast<size_t>(part.values_size()) == state.values.size() &&
         std::memcmp(part.values().data(), state.values.data(), state.values.size() * sizeof(float)) == 0;
}

TEST_CASE("a recorded run ends in the same bits, however its parts are dealt") {
  for (const std::string mode : {"downpour", "asp", "bsp"}) {
    for (const std::string optimizer : {"sgd", "momentum", "adam"}) {
      const TemporaryFolder folder;
      const auto states = RecordRun(MakeJob(mode, optimizer), folder.path());
      REQUIRE(states.size() == 3 * kServers * kShards);
      for (const auto& [servers, shards] : std::vector<std::pair<uint32_t, uint32_t>>{
               {1, 1}, {2, 2}, {1, 4}, {3, 1}, {3, 2}, {5, 7}}) {
        CAPTURE(mode, optimizer, servers, shards);
        const Replayed replayed =
            ReplayAll(folder.path(), {.servers = servers, .shards = shards, .threads = 1 + servers % 2});
        REQUIRE(static_cast<size_t>(replayed.parts_size()) == states.size());
        uint64_t updates = 0;
        for (const ReplayedPart& part : replayed.parts()) {
          CAPTURE(part.part());
          const PartState& state = states.at(part.part());
          CHECK(part.server() == part.part() % servers);
          CHECK(part.shard() == part.part() / servers % shards);
          CHECK(part.updates() == state.updates);
          CHECK(part.checksum() == state.checksum);
          CHECK(SameBits(part, state));
          CHECK(!part.has_difference());
          CHECK(part.compared_to_the_end());
          updates += part.updates();
          uint64_t pushes = 0;
          for (const auto& [worker, count] : part.pushes()) pushes += count;
          CHECK(pushes >= part.updates());
          if (mode != "bsp") CHECK(pushes == part.updates());
        }
        CHECK(updates > 100);
        for (const ReplayedLog& log : replayed.logs()) CHECK((log.complete() && log.broken_off().empty()));
      }
    }
  }
}

TEST_CASE("shares that are replayed apart make up the whole") {
  const TemporaryFolder folder;
  const auto states = RecordRun(MakeJob("downpour", "momentum"), folder.path());
  size_t parts = 0;
  for (uint32_t server = 0; server < 3; ++server) {
    const Replayed share = ReplayAll(folder.path(), {.servers = 3, .shards = 2, .only_server = server});
    for (const ReplayedPart& part : share.parts()) {
      CHECK(part.server() == server);
      CHECK(SameBits(part, states.at(part.part())));
    }
    parts += share.parts_size();
  }
  CHECK(parts == states.size());
}

TEST_CASE("a replay up to an event stops there") {
  const TemporaryFolder folder;
  RecordRun(MakeJob("asp", "sgd"), folder.path());
  const Replayed whole = ReplayAll(folder.path(), {});
  const Replayed some = ReplayAll(folder.path(), {.until = {100, 100, 0, 1000000}});
  CHECK(some.logs(0).events() <= 100);
  CHECK(some.logs(2).events() == 0);
  CHECK(some.logs(3).events() == whole.logs(3).events());
  CHECK(!some.logs(0).complete());
  CHECK(some.logs(0).broken_off() == "told to stop after event 100");
  uint64_t updates = 0;
  uint64_t all = 0;
  for (const ReplayedPart& part : some.parts()) updates += part.updates();
  for (const ReplayedPart& part : whole.parts()) all += part.updates();
  CHECK(updates < all);
}

// Copies a log with `change` made to each of its records.
template <typename Change>
void Rewrite(const std::string& path, Change change) {
  const std::string copy = path + ".copy";
  {
    auto reader = EventLogReader::Open(path);
    REQUIRE(reader.ok());
    auto writer = EventLogWriter::Create(copy, (*reader)->header());
    REQUIRE(writer.ok());
    for (;;) {
      auto record = (*reader)->Next();
      REQUIRE(record.ok());
      if (!*record) break;
      if (!change(**record)) continue;
      if (const auto* event = std::get_if<Event>(&(*record)->entry)) {
        REQUIRE((*writer)->Append(*event, (*record)->time_us).ok());
      } else {
        REQUIRE((*writer)->Append(std::get<Mark>((*record)->entry), (*record)->time_us).ok());
      }
    }
  }
  fs::rename(copy, path);
}

TEST_CASE("an event that is not what it was is found, with its part and its place") {
  const TemporaryFolder folder;
  const Job job = MakeJob("asp", "momentum");
  // Marks by hand: one after each event.
  auto core = *ShardCore::Create(job);
  std::vector<Action> actions;
  for (uint32_t server = 0; server < kServers; ++server) {
    for (uint32_t shard = 0; shard < kShards; ++shard) {
      auto writer = EventLogWriter::Create(
          LogOf(folder, server, shard), {JobToYaml(job), server, kServers, shard, kShards, 1000, 0});
      REQUIRE(writer.ok());
      if (server != 0 || shard != 0) continue;
      int64_t time = 0;
      for (const Event& event : Life(job, 0, 0, 5).Events(60)) {
        core->Handle(event, actions);
        REQUIRE((*writer)->Append(event, ++time).ok());
        Mark mark;
        if (core->table(0) == nullptr) continue;
        for (const Table::Part& part : core->table(0)->parts()) {
          mark.parts.push_back({0, part.index, part.version, core->table(0)->Checksum(part)});
        }
        REQUIRE((*writer)->Append(mark, time).ok());
      }
    }
  }
  const Replayed same = ReplayAll(folder.path(), {});
  for (const ReplayedPart& part : same.parts()) CHECK(!part.has_difference());

  uint64_t changed = 0;
  uint32_t changed_part = 0;
  Rewrite(LogOf(folder, 0, 0), [&](LogRecord& record) {
    auto* event = std::get_if<Event>(&record.entry);
    auto* push = event == nullptr ? nullptr : std::get_if<Push>(event);
    if (push == nullptr || record.number < 40 || changed != 0) return true;
    push->message.header.position += 1;
    changed = record.number;
    changed_part = push->message.header.part;
    return true;
  });
  REQUIRE(changed > 0);
  int different = 0;
  const Replayed other = ReplayAll(folder.path(), {.servers = 2});
  for (const ReplayedPart& part : other.parts()) {
    if (!part.has_difference()) continue;
    ++different;
    CHECK(part.part() == changed_part);
    CHECK(part.difference().same_after() < part.difference().differs_after());
    CHECK(part.difference().differs_after() == changed);
    CHECK(part.difference().same_after() == changed - 2);
  }
  CHECK(different == 1);
}

TEST_CASE("a torn log is replayed as far as it goes, a damaged one is not") {
  const TemporaryFolder folder;
  RecordRun(MakeJob("downpour", "sgd"), folder.path());
  const std::string path = LogOf(folder, 1, 0);
  const auto size = fs::file_size(path);
  fs::resize_file(path, size * 2 / 3);
  const Replayed replayed = ReplayAll(folder.path(), {});
  CHECK(!replayed.logs(2).complete());
  CHECK_THAT(replayed.logs(2).broken_off(), Catch::Contains(path) && Catch::Contains("within the record at byte"));
  CHECK(replayed.logs(3).complete());
  for (const ReplayedPart& part : replayed.parts()) {
    CHECK(!part.has_difference());
    CHECK(part.compared_to_the_end() == (part.recorded_server() != 1 || part.recorded_shard() != 0));
  }

  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(size / 2));
  file.write("oops", 4);
  file.close();
  const auto damaged = Replay(*OpenRecording(folder.path()), {});
  CHECK(damaged.status().code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(damaged.status().message()), Catch::Contains(path));
}

TEST_CASE("folders that hold no whole recording are refused, and why is said") {
  const TemporaryFolder folder;
  const auto refusal = [&] { return std::string(OpenRecording(folder.path()).status().message()); };
  CHECK_THAT(refusal(), Catch::Contains("has no recording"));
  CHECK(OpenRecording(folder.path() + "/none").status().code() == absl::StatusCode::kNotFound);
  RecordRun(MakeJob("asp", "sgd"), folder.path(), 10);
  REQUIRE(OpenRecording(folder.path()).ok());
  const std::string path = LogOf(folder, 1, 1);

  fs::rename(path, path + ".away");
  CHECK_THAT(refusal(), Catch::Contains("server-1-shard-1.events is missing: the run had 2 servers of 2 shards"));
  fs::copy(LogOf(folder, 0, 1), path);
  CHECK_THAT(refusal(), Catch::Contains("is of shard 1 of 2 on server 0 of 2"));
  fs::remove(path);
  REQUIRE(EventLogWriter::Create(path, {"name: other\nnet: [{name: loss, type: softmax_loss}]\n", 1, 2, 1, 2}).ok());
  CHECK_THAT(refusal(), Catch::Contains("is of another job"));
  fs::remove(path);
  REQUIRE(EventLogWriter::Create(path, {"workers: [what", 1, 2, 1, 2}).ok());
  CHECK_THAT(refusal(), Catch::Contains("not YAML"));
  fs::remove(path);
  fs::rename(path + ".away", path);
  fs::copy(path, LogOf(folder, 7, 7));
  CHECK_THAT(refusal(), Catch::Contains("server-7-shard-7.events does not belong"));
}

TEST_CASE("a log that claims more parameters than the job may have is refused before they are allocated") {
  const TemporaryFolder folder;
  const Job job = MakeJob("asp", "adam");
  for (uint32_t i = 0; i < kServers * kShards; ++i) {
    auto writer = EventLogWriter::Create(LogOf(folder, i / kShards, i % kShards),
                                         {JobToYaml(job), i / kShards, kServers, i % kShards, kShards, 0, 0});
    REQUIRE(writer.ok());
    CreateTable create{1, 0, {}, {}};
    for (uint32_t n = 0; n < 1000; ++n) create.parts.push_back({n * 4 + i, 0, 16 << 20});
    REQUIRE((*writer)->Append(create, 0).ok());
  }
  const auto replayed = Replay(*OpenRecording(folder.path()), {});
  CHECK(replayed.status().code() == absl::StatusCode::kResourceExhausted);
  CHECK_THAT(std::string(replayed.status().message()), Catch::Contains("memory_limit_bytes"));
}

TEST_CASE("events that nobody sent do no harm") {
  const TemporaryFolder folder;
  RecordRun(MakeJob("bsp", "sgd"), folder.path(), 60);
  std::mt19937 random(3);
  for (int round = 0; round < 40; ++round) {
    Rewrite(LogOf(folder, 0, 0), [&](LogRecord& record) {
      auto* event = std::get_if<Event>(&record.entry);
      if (event == nullptr || random() % 4 != 0) return true;
      if (auto* push = std::get_if<Push>(event)) {
        FrameHeader& header = push->message.header;
        header.worker = random() % 5;
        header.part = random() % 9;
        header.table = random() % 2;
        header.clock = std::uniform_int_distribution<uint64_t>()(random);
        header.sequence = std::uniform_int_distribution<uint64_t>()(random);
      } else if (auto* join = std::get_if<Join>(event)) {
        *join = {1, static_cast<uint32_t>(random() % 5), random(), random() % 2 == 0};
      } else if (auto* tick = std::get_if<Tick>(event)) {
        tick->now_ms = random() % 2 == 0 ? std::numeric_limits<int64_t>::max() : std::numeric_limits<int64_t>::min();
      } else if (auto* create = std::get_if<CreateTable>(event)) {
        for (PartRange& part : create->parts) part = {static_cast<uint32_t>(random() % 9), 0, 1 + random() % 100};
      }
      return random() % 8 != 0;
    });
    const auto recording = OpenRecording(folder.path());
    REQUIRE(recording.ok());
    (void)Replay(*recording, {.servers = 1 + static_cast<uint32_t>(round) % 3, .shards = 2});
  }
}

}  // namespace
}  // namespace downpour::ps
