#include "ps/checkpoint_files.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "tests/support/temporary_folder.h"

namespace downpour::ps {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::Contains;

using tests::TemporaryFolder;

std::string FileOf(const TemporaryFolder& folder, uint64_t number, uint32_t server) {
  std::string name = std::to_string(number);
  name.insert(0, 8 - name.size(), '0');
  return folder.File(name + "/server-" + std::to_string(server) + ".checkpoint");
}

constexpr uint32_t kParts = 5;

CheckpointHeader HeaderOf(uint64_t number, uint32_t server, uint32_t servers) {
  CheckpointHeader header;
  header.set_number(number);
  header.set_id(77 * number);
  header.set_clock(10 * number);
  header.set_job("name: kept\n");
  header.set_servers(servers);
  header.set_server(server);
  header.set_parts(kParts);
  header.mutable_table()->set_elements(kParts * 32);
  header.set_unix_us(1700000000000000 + server);
  return header;
}

PartState StateOf(uint32_t part, uint64_t number) {
  PartState state{.table = 0,
                  .part = part,
                  .begin = part * 32,
                  .end = (part + 1) * 32,
                  .slots = 1,
                  .set = true,
                  .warm = true,
                  .version = number,
                  .clock = 10 * number,
                  .next_rounds = 1,
                  .members = {{number, 64 * number, number}},
                  .floats = {}};
  const auto owner = std::make_shared<std::vector<float>>(64, static_cast<float>(number + part));
  state.floats = Payload(owner, std::span<const float>(*owner));
  return state;
}

void Write(const TemporaryFolder& folder, uint64_t number, uint32_t servers = 2,
           std::optional<uint32_t> only = std::nullopt) {
  for (uint32_t server = 0; server < servers; ++server) {
    if (only && server != *only) continue;
    auto writer = CheckpointWriter::Create(folder.path(), HeaderOf(number, server, servers));
    REQUIRE(writer.ok());
    for (uint32_t part = server; part < kParts; part += servers) REQUIRE((*writer)->Add(StateOf(part, number)).ok());
    REQUIRE((*writer)->Finish().ok());
  }
}

std::string ReadBytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

void WriteBytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

TEST_CASE("what was written comes back") {
  const TemporaryFolder folder;
  Write(folder, 1);
  Write(folder, 12);
  CHECK(LatestNumber(folder.path()) == 12);
  const auto found = FindCheckpoint(folder.path(), std::nullopt);
  REQUIRE(found.ok());
  CHECK(found->number == 12);
  CHECK(found->passed_by.empty());
  REQUIRE(found->files.size() == 2);
  CHECK(found->headers[1].clock() == 120);
  auto reader = CheckpointReader::Open(found->files[1]);
  REQUIRE(reader.ok());
  for (const uint32_t part : {1u, 3u}) {
    const auto state = (*reader)->Next();
    REQUIRE(state.ok());
    REQUIRE(state->has_value());
    CHECK(EncodePartState(**state) == EncodePartState(StateOf(part, 12)));
  }
  CHECK_FALSE((*reader)->Next()->has_value());
  CHECK_FALSE((*reader)->Next()->has_value());
  CHECK(FindCheckpoint(folder.path(), 1)->number == 1);
  CHECK(FindCheckpoint(folder.path(), 2).status().code() == absl::StatusCode::kNotFound);
  CHECK(FindCheckpoint(folder.path() + "/nowhere", std::nullopt).status().code() == absl::StatusCode::kNotFound);
}

TEST_CASE("what is torn, cut or flipped is named, and the one before is taken") {
  const TemporaryFolder folder;
  Write(folder, 1);
  Write(folder, 2);
  const std::string path = FileOf(folder, 2, 1);
  const std::string bytes = ReadBytes(path);
  const auto finds = [&](const std::string& why) {
    const auto found = FindCheckpoint(folder.path(), std::nullopt);
    REQUIRE(found.ok());
    CHECK(found->number == 1);
    REQUIRE(found->passed_by.size() == 1);
    CHECK_THAT(found->passed_by[0], Contains("checkpoint 2 is not whole") && Contains(path) && Contains(why));
  };
  for (size_t size = 0; size < bytes.size(); size += 7) {
    WriteBytes(path, bytes.substr(0, size));
    finds("the file ends at byte");
  }
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) {
    std::string flipped = bytes;
    flipped[16 + random() % (bytes.size() - 16)] ^= static_cast<char>(1 << random() % 8);
    WriteBytes(path, flipped);
    finds("");
  }
  WriteBytes(path, bytes + "more");
  finds("");
  fs::remove(path);
  finds("no checkpoint at");
  fs::copy(FileOf(folder, 2, 0), path);
  finds("is server 0's of checkpoint 2");
  fs::remove(path);
  fs::copy(FileOf(folder, 1, 1), path);
  finds("is of another checkpoint");
  // None at all.
  fs::remove(FileOf(folder, 1, 0));
  const auto none = FindCheckpoint(folder.path(), std::nullopt);
  CHECK(none.status().code() == absl::StatusCode::kNotFound);
  CHECK_THAT(std::string(none.status().message()), Contains("checkpoint 2 is not whole") && Contains("checkpoint 1"));
}

TEST_CASE("servers need not say all alike") {
  const TemporaryFolder folder;
  const auto write = [&](const std::vector<float>& rates_0, const std::vector<float>& rates_1) {
    std::filesystem::remove_all(folder.File("00000001"));
    for (uint32_t server = 0; server < 2; ++server) {
      CheckpointHeader header = HeaderOf(1, server, 2);
      header.set_job(server == 0 ? "name: kept\n" : "name: kept  # its own file\n");
      for (const float rate : server == 0 ? rates_0 : rates_1) header.add_changes()->set_learning_rate(rate);
      auto writer = CheckpointWriter::Create(folder.path(), header);
      REQUIRE(writer.ok());
      for (uint32_t part = server; part < kParts; part += 2) REQUIRE((*writer)->Add(StateOf(part, 1)).ok());
      REQUIRE((*writer)->Finish().ok());
    }
    return FindCheckpoint(folder.path(), std::nullopt);
  };
  // A change that came between, or that one server never heard of.
  CHECK(write({0.1f}, {0.1f, 0.2f})->changes.size() == 2);
  CHECK(write({0.1f}, {})->changes.size() == 1);
  CHECK_THAT(std::string(write({0.1f}, {0.2f}).status().message()), Contains("has other changes of settings"));
}

TEST_CASE("a file is never written over") {
  const TemporaryFolder folder;
  Write(folder, 1, 1);
  const auto again = CheckpointWriter::Create(folder.path(), HeaderOf(1, 0, 1));
  CHECK(again.status().code() == absl::StatusCode::kAlreadyExists);
  CHECK_THAT(std::string(again.status().message()), Contains("does another job keep its checkpoints"));
  CHECK(FindCheckpoint(folder.path(), std::nullopt).ok());
}

TEST_CASE("a header that no reader would take is not written") {
  const TemporaryFolder folder;
  CheckpointHeader header = HeaderOf(1, 0, 1);
  header.set_job(std::string(65 << 20, 'x'));
  CHECK(CheckpointWriter::Create(folder.path(), header).status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("parts that are missing or come twice are no checkpoint") {
  const TemporaryFolder folder;
  const auto write = [&](const std::vector<uint32_t>& parts) {
    fs::remove_all(fs::path(FileOf(folder, 1, 0)).parent_path());
    auto writer = CheckpointWriter::Create(folder.path(), HeaderOf(1, 0, 1));
    REQUIRE(writer.ok());
    for (const uint32_t part : parts) REQUIRE((*writer)->Add(StateOf(part, 1)).ok());
    REQUIRE((*writer)->Finish().ok());
    return FindCheckpoint(folder.path(), std::nullopt).status();
  };
  CHECK(write({0, 1, 2, 3, 4}).ok());
  CHECK(write({4, 2, 3, 0, 1}).ok());
  CHECK_THAT(std::string(write({0, 1, 2, 3}).message()), Contains("of the 5 parts there are 4"));
  CHECK_THAT(std::string(write({0, 1, 2, 3, 3}).message()), Contains("a second time"));
  CHECK_THAT(std::string(write({0, 1, 2, 3, 7}).message()), Contains("of the 5 parts"));
}

TEST_CASE("what is not finished leaves nothing, and what a killed server left is written over") {
  const TemporaryFolder folder;
  {
    auto writer = CheckpointWriter::Create(folder.path(), HeaderOf(3, 0, 1));
    REQUIRE(writer.ok());
    REQUIRE((*writer)->Add(StateOf(0, 3)).ok());
    CHECK(fs::exists(FileOf(folder, 3, 0) + ".part"));
  }
  CHECK(fs::is_empty(folder.path()));
  fs::create_directories(fs::path(FileOf(folder, 3, 0)).parent_path());
  WriteBytes(FileOf(folder, 3, 0) + ".part", "half of it");
  Write(folder, 3, 1);
  CHECK(FindCheckpoint(folder.path(), std::nullopt)->number == 3);
}

TEST_CASE("a folder that can't be written is told with its path") {
  const TemporaryFolder folder;
  WriteBytes(folder.path() + "/file", "");
  const auto writer = CheckpointWriter::Create(folder.path() + "/file", HeaderOf(1, 0, 1));
  CHECK(writer.status().code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(writer.status().message()), Contains(folder.path() + "/file"));
}

TEST_CASE("the latest are kept, and as many as are whole") {
  const TemporaryFolder folder;
  for (uint64_t number = 1; number < 6; ++number) Write(folder, number);
  PruneCheckpoints(folder.path(), 0, 2, 2);
  for (uint64_t number = 1; number < 6; ++number) {
    CHECK(fs::exists(FileOf(folder, number, 0)) == (number > 3));
    CHECK(fs::exists(FileOf(folder, number, 1)) == (number > 3));
  }
  Write(folder, 3, 2, 1);
  PruneCheckpoints(folder.path(), 1, 2, 2);
  CHECK_FALSE(fs::exists(fs::path(FileOf(folder, 3, 1)).parent_path()));
  // Of these one server has not written its file, or never will.
  Write(folder, 6, 2, 0);
  Write(folder, 7, 2, 0);
  PruneCheckpoints(folder.path(), 0, 2, 2);
  CHECK(fs::exists(FileOf(folder, 4, 0)));
  CHECK(fs::exists(FileOf(folder, 6, 0)));
  CHECK(FindCheckpoint(folder.path(), std::nullopt)->number == 5);
}

TEST_CASE("where servers share no folder each keeps its own latest, and one more") {
  const TemporaryFolder folder;
  for (uint64_t number = 1; number < 6; ++number) Write(folder, number, 2, 1);
  PruneCheckpoints(folder.path(), 1, 2, 2);
  for (uint64_t number = 1; number < 6; ++number) CHECK(fs::exists(FileOf(folder, number, 1)) == (number > 2));
}

}  // namespace
}  // namespace downpour::ps
