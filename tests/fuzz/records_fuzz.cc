// Damaged event logs and checkpoints whose checksums are right: errors, or what makes sense.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "ps/checkpoint_files.h"
#include "ps/event_log.h"
#include "tests/fuzz/mutations.h"
#include "tests/fuzz/temporary_file.h"
#include "tests/support/record_seal.h"

namespace downpour::ps {
namespace {

namespace fs = std::filesystem;

std::string ReadBytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

PartState MakeState() {
  PartState state{.table = 0,
                  .part = 1,
                  .begin = 32,
                  .end = 64,
                  .slots = 1,
                  .set = true,
                  .warm = true,
                  .version = 3,
                  .clock = 4,
                  .next_rounds = 1,
                  .members = {{1, 2, 3}, {4, 5, 6}},
                  .floats = {}};
  const auto owner = std::make_shared<std::vector<float>>(64, 0.5f);
  state.floats = Payload(owner, std::span<const float>(*owner));
  return state;
}

Message MakePush() {
  const auto owner = std::make_shared<std::vector<float>>(8, 1.0f);
  Message push{{.kind = FrameKind::kPush, .map_version = 1, .part = 1, .sequence = 1, .samples = 64},
               Payload(owner, std::span<const float>(*owner))};
  push.header.elements = 8;
  push.header.payload_bytes = 32;
  push.contributors = {{1, 64, 11, 2, 3, 192, 7}};
  push.header.contributors = 1;
  return push;
}

std::string LogSeed(const fs::path& folder) {
  const std::string path = folder / "log";
  auto writer =
      EventLogWriter::Create(path, {.job = "name: fuzzed\n", .server = 0, .servers = 1, .shard = 0, .shards = 1});
  if (!writer.ok()) std::abort();
  Message set = MakePush();
  set.header.kind = FrameKind::kSet;
  set.header.contributors = 0;
  set.contributors.clear();
  FrameHeader pull = set.header;
  pull.kind = FrameKind::kPull;
  pull.payload_bytes = 0;
  const std::vector<Event> events = {CreateTable{1, 0, {{0, 0, 32}, {1, 32, 64}}, {{0, 64, {1, 1, false}}}},
                                     Join{2, 0, 1},
                                     Set{{1, 2}, set},
                                     Push{{1, 2}, MakePush()},
                                     Pull{{1, 2}, pull},
                                     Change{},
                                     Tick{5},
                                     Checkpoint{1, 2},
                                     Restore{3, MakeState()},
                                     Leave{4, 0, 1, true},
                                     Hangup{6},
                                     Drain{}};
  for (const Event& event : events) {
    if (!(*writer)->Append(event, 1).ok()) std::abort();
  }
  if (!(*writer)->Append(Mark{true, {{0, 1, 5, 6}}}, 2).ok()) std::abort();
  writer->reset();
  return ReadBytes(path);
}

std::string CheckpointSeed(const fs::path& folder) {
  CheckpointHeader header;
  header.set_number(1);
  header.set_servers(1);
  header.set_parts(1);
  header.set_job("name: fuzzed\n");
  auto writer = CheckpointWriter::Create(folder, header);
  if (!writer.ok() || !(*writer)->Add(MakeState()).ok() || !(*writer)->Finish().ok()) std::abort();
  return ReadBytes((*writer)->path());
}

std::vector<std::string> Seeds() {
  std::string pattern = fs::temp_directory_path() / "records_fuzz.XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) std::abort();
  std::vector<std::string> seeds = {LogSeed(pattern), CheckpointSeed(pattern)};
  fs::remove_all(pattern);
  return seeds;
}

void ReadLog(const std::string& path) {
  auto log = EventLogReader::Open(path);
  if (!log.ok()) return;
  for (auto record = (*log)->Next(); record.ok() && *record; record = (*log)->Next()) {
  }
}

void ReadCheckpoint(const std::string& path) {
  auto checkpoint = CheckpointReader::Open(path);
  if (!checkpoint.ok()) return;
  for (auto state = (*checkpoint)->Next(); state.ok() && *state; state = (*checkpoint)->Next()) {
    if ((*state)->floats.size() != (*state)->float_bytes()) std::abort();
  }
}

}  // namespace
}  // namespace downpour::ps

int main(int argc, char** argv) {
  downpour::fuzz::TemporaryFile file;
  return downpour::fuzz::Main(argc, argv, downpour::ps::Seeds(), [&file](const std::string& bytes) {
    std::string sealed = bytes;
    downpour::tests::SealRecords(&sealed);
    if (!file.Write(sealed)) return;
    downpour::ps::ReadLog(file.path());
    downpour::ps::ReadCheckpoint(file.path());
  });
}
