#include "ps/event_log.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "tests/support/record_seal.h"
#include "tests/support/temporary_folder.h"

namespace downpour::ps {
namespace {

namespace fs = std::filesystem;

constexpr size_t kFileHead = tests::kRecordFileHead;
constexpr size_t kRecordHead = tests::kRecordHead;

EventLogHeader MakeHeader() {
  return {.job = "name: logged\nworkers: 3\n",
          .server = 1,
          .servers = 2,
          .shard = 3,
          .shards = 4,
          .unix_us = 1700000000000000,
          .steady_us = 42};
}

Payload MakePayload(size_t floats) {
  auto owner = std::make_shared<std::vector<float>>(floats);
  for (size_t i = 0; i < floats; ++i) (*owner)[i] = static_cast<float>(i) - 0.5f;
  // In two pieces, as a socket may give it.
  const auto bytes = std::as_bytes(std::span(*owner));
  const size_t cut = bytes.size() / 3;
  return Payload(owner, {bytes.first(cut), bytes.subspan(cut)});
}

Message MakeMessage(FrameKind kind, size_t floats) {
  Message message{{.kind = kind, .job = 77, .map_version = 1, .table = 0, .part = 5, .worker = 2, .fence = 9,
                   .clock = 1 << 20, .sequence = 3, .position = uint64_t{1} << 40, .version = 6, .samples = 64},
                  MakePayload(floats)};
  message.header.elements = static_cast<uint32_t>(floats);
  message.header.payload_bytes = static_cast<uint32_t>(message.payload.size());
  return message;
}

SettingsChange MakeChange() {
  SettingsChange change;
  change.set_version(2);
  change.set_from_clock(100);
  change.set_learning_rate(0.25f);
  change.mutable_sync()->set_mode("downpour");
  change.mutable_sync()->set_n_push(7);
  return change;
}

// With other workers in it.
Message MakeCombined(size_t floats) {
  Message message = MakeMessage(FrameKind::kPush, floats);
  message.contributors = {{1, 64, 11, 2, 3, 192, 7}, {9, 32, UINT64_MAX, 1, 1, 32, 0}};
  message.header.contributors = 2;
  return message;
}

PartState MakeState(size_t floats) {
  PartState state{.table = 1,
                  .part = 4,
                  .begin = 64,
                  .end = 64 + floats,
                  .slots = 1,
                  .set = true,
                  .warm = false,
                  .version = 5,
                  .clock = 6,
                  .next_rounds = 7,
                  .members = {{8, 9, 10}, {11, 12, 13}},
                  .floats = {}};
  const auto owner = std::make_shared<std::vector<float>>(2 * floats);
  for (size_t i = 0; i < owner->size(); ++i) (*owner)[i] = static_cast<float>(i);
  state.floats = Payload(owner, std::span<const float>(*owner));
  return state;
}

// One of each kind of event, in the variant's order.
std::vector<Event> AllEvents(size_t floats = 3) {
  std::vector<Event> events = {
      CreateTable{7, 1, {{0, 0, 16}, {4, 64, 80}}, {{0, 20, 2, 0.5f}, {20, 80, 1, 0}}},
      Join{8, 2, 9, true, 3},
      Leave{9, 2, 9, true},
      Hangup{12},
      Set{{3, 100}, MakeMessage(FrameKind::kSet, floats)},
      Push{{4, 200}, MakeCombined(floats)},
      Pull{{5, 300}, MakeMessage(FrameKind::kPull, 0).header},
      Change{MakeChange()},
      Tick{-5},
      Drain{},
      Checkpoint{13, 14},
      Restore{15, MakeState(std::max<size_t>(floats, 1))},
  };
  for (size_t i = 0; i < events.size(); ++i) REQUIRE(events[i].index() == i);
  REQUIRE(events.size() == std::variant_size_v<Event>);
  return events;
}

std::string Bytes(const Payload& payload) {
  std::string out(payload.size(), '\0');
  PayloadReader(payload).Read(std::as_writable_bytes(std::span(out)));
  return out;
}

// All of an event, as text.
std::string Describe(const Event& event) {
  std::ostringstream out;
  out << event.index() << ':';
  const auto frame = [&](const Route& route, const FrameHeader& header, const std::string& payload) {
    const auto bytes = EncodeFrameHeader(header);
    out << route.stream << ' ' << route.bytes << ' '
        << std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()) << payload;
  };
  if (const auto* e = std::get_if<CreateTable>(&event)) {
    out << e->ticket << ' ' << e->table;
    for (const PartRange& part : e->parts) out << ' ' << part.part << ' ' << part.begin << ' ' << part.end;
    for (const ParamGroup& group : e->groups) {
      out << ' ' << group.begin << ' ' << group.end << ' ' << group.settings.lr_mult << ' '
          << group.settings.decay_mult << ' ' << group.settings.average;
    }
  } else if (const auto* e = std::get_if<Join>(&event)) {
    out << e->ticket << ' ' << e->partition << ' ' << e->fence << ' ' << e->observer;
  } else if (const auto* e = std::get_if<Leave>(&event)) {
    out << e->ticket << ' ' << e->partition << ' ' << e->fence;
  } else if (const auto* e = std::get_if<Hangup>(&event)) {
    out << e->stream;
  } else if (const auto* e = std::get_if<Set>(&event)) {
    frame(e->route, e->message.header, Bytes(e->message.payload));
  } else if (const auto* e = std::get_if<Push>(&event)) {
    frame(e->route, e->message.header, Bytes(e->message.payload));
    for (const Contributor& one : e->message.contributors) {
      out << one.worker << ' ' << one.samples << ' ' << one.fence << ' ' << one.clock << ' ' << one.sequence << ' '
          << one.position << ' ' << one.version << ' ';
    }
  } else if (const auto* e = std::get_if<Pull>(&event)) {
    frame(e->route, e->header, "");
  } else if (const auto* e = std::get_if<Checkpoint>(&event)) {
    out << e->number << ' ' << e->clock;
  } else if (const auto* e = std::get_if<Restore>(&event)) {
    out << e->ticket << ' ' << EncodePartState(e->state) << Bytes(e->state.floats);
  } else if (const auto* e = std::get_if<Change>(&event)) {
    out << e->change.SerializeAsString();
  } else if (const auto* e = std::get_if<Tick>(&event)) {
    out << e->now_ms;
  }
  return out.str();
}

Mark MakeMark() { return {true, {{0, 1, 5, 0xfeed}, {0, 2, 6, 0xbeef}}}; }

// A log of all kinds of records; its path.
std::string WriteLog(const tests::TemporaryFolder& folder, const std::string& name = "log", size_t floats = 3) {
  const std::string path = folder.File(name);
  auto writer = EventLogWriter::Create(path, MakeHeader());
  REQUIRE(writer.ok());
  int64_t time = 100;
  for (const Event& event : AllEvents(floats)) REQUIRE((*writer)->Append(event, time++).ok());
  REQUIRE((*writer)->Append(MakeMark(), time).ok());
  return path;
}

std::string ReadBytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

void WriteBytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// A file in memory, for tests that write thousands.
class Scratch {
 public:
  Scratch() : fd_(memfd_create("log", MFD_CLOEXEC)) { REQUIRE(fd_ >= 0); }
  ~Scratch() { close(fd_); }

  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

  void Write(const std::string& bytes) {
    REQUIRE(ftruncate(fd_, static_cast<off_t>(bytes.size())) == 0);
    REQUIRE(pwrite(fd_, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  }

 private:
  const int fd_;
};

struct Outcome {
  std::vector<std::string> events;
  size_t marks = 0;
  std::string broken_off;
  absl::Status status;
};

Outcome ReadAll(const std::string& path) {
  Outcome outcome;
  auto reader = EventLogReader::Open(path);
  if (!reader.ok()) return {{}, 0, "", reader.status()};
  for (;;) {
    auto record = (*reader)->Next();
    if (!record.ok()) {
      CHECK((*reader)->Next().status() == record.status());
      outcome.status = record.status();
      return outcome;
    }
    if (!*record) return outcome;
    if (const auto* event = std::get_if<Event>(&(*record)->entry)) outcome.events.push_back(Describe(*event));
    if (std::holds_alternative<Mark>((*record)->entry)) ++outcome.marks;
    if (const auto* end = std::get_if<BrokenOff>(&(*record)->entry)) outcome.broken_off = end->reason;
  }
}

// Where each record of a log begins, and the end.
std::vector<size_t> Boundaries(const std::string& bytes) {
  std::vector<size_t> at = {kFileHead};
  while (at.back() < bytes.size()) {
    uint32_t size = 0;
    std::memcpy(&size, bytes.data() + at.back(), sizeof(size));
    at.push_back(at.back() + kRecordHead + size);
  }
  REQUIRE(at.back() == bytes.size());
  return at;
}

TEST_CASE("every kind of event comes back as it was written, with header, numbers and times") {
  const tests::TemporaryFolder folder;
  const std::string path = WriteLog(folder);
  auto reader = EventLogReader::Open(path);
  REQUIRE(reader.ok());
  const EventLogHeader& header = (*reader)->header();
  CHECK(header.job == MakeHeader().job);
  CHECK((header.server == 1 && header.servers == 2 && header.shard == 3 && header.shards == 4));
  CHECK(header.unix_us == 1700000000000000);
  CHECK(header.steady_us == 42);
  const std::vector<Event> events = AllEvents();
  for (size_t i = 0; i < events.size(); ++i) {
    auto record = (*reader)->Next();
    REQUIRE((record.ok() && record->has_value()));
    CHECK((*record)->number == i + 1);
    CHECK((*record)->time_us == static_cast<int64_t>(100 + i));
    REQUIRE(std::holds_alternative<Event>((*record)->entry));
    CHECK(Describe(std::get<Event>((*record)->entry)) == Describe(events[i]));
  }
  auto mark = (*reader)->Next();
  REQUIRE((mark.ok() && mark->has_value() && std::holds_alternative<Mark>((*mark)->entry)));
  CHECK(std::get<Mark>((*mark)->entry).parts == MakeMark().parts);
  CHECK(std::get<Mark>((*mark)->entry).last);
  auto end = (*reader)->Next();
  REQUIRE(end.ok());
  CHECK(!end->has_value());
}

TEST_CASE("payloads smaller and larger than the buffers come back") {
  const tests::TemporaryFolder folder;
  for (const size_t floats : {0, 1, 60000, 65536 - 40, 65536, 1 << 20}) {
    CAPTURE(floats);
    const Outcome outcome = ReadAll(WriteLog(folder, "log" + std::to_string(floats), floats));
    CHECK(outcome.status.ok());
    REQUIRE(outcome.events.size() == AllEvents().size());
    CHECK(outcome.events[5] == Describe(AllEvents(floats)[5]));
  }
}

TEST_CASE("a log that is there is not written over") {
  const tests::TemporaryFolder folder;
  const std::string path = WriteLog(folder);
  const std::string before = ReadBytes(path);
  const auto again = EventLogWriter::Create(path, MakeHeader());
  CHECK(again.status().code() == absl::StatusCode::kAlreadyExists);
  CHECK_THAT(std::string(again.status().message()), Catch::Contains(path));
  CHECK(ReadBytes(path) == before);
  CHECK(EventLogWriter::Create(folder.File("no/such/folder"), MakeHeader()).status().code() ==
        absl::StatusCode::kUnavailable);
}

TEST_CASE("a log cut off at any byte gives its whole records, and says where it is torn") {
  const tests::TemporaryFolder folder;
  const std::string bytes = ReadBytes(WriteLog(folder));
  const std::vector<size_t> boundaries = Boundaries(bytes);
  Scratch scratch;
  const std::string path = scratch.path();
  for (size_t length = 0; length < bytes.size(); ++length) {
    CAPTURE(length);
    scratch.Write(bytes.substr(0, length));
    const Outcome outcome = ReadAll(path);
    // The first record is the header's, the last one the mark.
    const auto whole = static_cast<size_t>(
        std::upper_bound(boundaries.begin(), boundaries.end(), length) - boundaries.begin());
    CHECK(outcome.events.size() == (whole < 2 ? 0 : whole - 2));
    CHECK(outcome.marks == 0);
    const bool between = length >= boundaries[1] &&
                         std::find(boundaries.begin(), boundaries.end(), length) != boundaries.end();
    if (between) {
      CHECK(outcome.status.ok());
    } else {
      CHECK(outcome.status.code() == absl::StatusCode::kOutOfRange);
      CHECK_THAT(std::string(outcome.status.message()), Catch::Contains(path));
      if (whole > 0) {
        CHECK_THAT(std::string(outcome.status.message()),
                   Catch::Contains("at byte " + std::to_string(boundaries[whole - 1])));
      }
    }
  }
}

TEST_CASE("each flipped bit is found, and nothing after it is believed") {
  const tests::TemporaryFolder folder;
  const std::string bytes = ReadBytes(WriteLog(folder));
  const std::vector<size_t> boundaries = Boundaries(bytes);
  const Outcome good = ReadAll(folder.File("log"));
  Scratch scratch;
  const std::string path = scratch.path();
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] ^= static_cast<char>(1 << bit % 8);
    scratch.Write(flipped);
    const Outcome outcome = ReadAll(path);
    const auto record = static_cast<size_t>(
        std::upper_bound(boundaries.begin(), boundaries.end(), bit / 8) - boundaries.begin());
    const bool named = std::string(outcome.status.message()).find(path) != std::string::npos;
    const bool begun = record == 0 || (outcome.status.code() == absl::StatusCode::kDataLoss &&
                                       std::string(outcome.status.message())
                                               .find("at byte " + std::to_string(boundaries[record - 1])) !=
                                           std::string::npos);
    const bool prefix = outcome.events.size() == (record < 2 ? 0 : record - 2) &&
                        std::equal(outcome.events.begin(), outcome.events.end(), good.events.begin());
    if (!outcome.status.ok() && named && begun && prefix) continue;
    CAPTURE(bit, record, outcome.status.ToString());
    FAIL_CHECK("a flipped bit went by");
  }
}

TEST_CASE("records that are left out, put twice or put in another order are found") {
  const tests::TemporaryFolder folder;
  const std::string bytes = ReadBytes(WriteLog(folder));
  const std::vector<size_t> at = Boundaries(bytes);
  const auto record = [&](size_t i) { return bytes.substr(at[i], at[i + 1] - at[i]); };
  const std::string head = bytes.substr(0, at[3]);
  Scratch scratch;
  const std::string path = scratch.path();
  for (const std::string& rest : {record(4), record(3) + record(3), record(4) + record(3), record(0)}) {
    scratch.Write(head + rest);
    CHECK(ReadAll(path).status.code() == absl::StatusCode::kDataLoss);
  }
}

TEST_CASE("what a record claims is not allocated before it is there") {
  const tests::TemporaryFolder folder;
  const std::string bytes = ReadBytes(WriteLog(folder));
  const std::vector<size_t> at = Boundaries(bytes);
  Scratch scratch;
  const std::string path = scratch.path();
  constexpr size_t kMost = 8 + kMaxPartStateBytes;
  for (const uint32_t claim : {0x7fffffffu, 0xffffffffu, static_cast<uint32_t>(kMost) + 1}) {
    std::string absurd = bytes;
    std::memcpy(absurd.data() + at[5], &claim, sizeof(claim));
    tests::SealRecords(&absurd);
    scratch.Write(absurd);
    const Outcome outcome = ReadAll(path);
    CHECK(outcome.status.code() == absl::StatusCode::kDataLoss);
    CHECK_THAT(std::string(outcome.status.message()), Catch::Contains("the limit is"));
  }
  // Within the limit, and more than the file has.
  std::string absurd = bytes;
  const uint32_t claim = 64 << 20;
  std::memcpy(absurd.data() + at[5], &claim, sizeof(claim));
  tests::SealRecords(&absurd);
  scratch.Write(absurd);
  CHECK(ReadAll(path).status.code() == absl::StatusCode::kOutOfRange);
  // A table that claims more parts than follow, or absurd ones. The table is record 1; its count is at byte 12.
  const auto with = [&](size_t offset, auto value) {
    std::string changed = bytes;
    std::memcpy(changed.data() + at[1] + kRecordHead + offset, &value, sizeof(value));
    tests::SealRecords(&changed);
    scratch.Write(changed);
    return ReadAll(path).status.code();
  };
  CHECK(with(12, uint32_t{0xffffffff}) == absl::StatusCode::kDataLoss);
  CHECK(with(12, uint32_t{1}) == absl::StatusCode::kDataLoss);
  CHECK(with(16, uint32_t{0xffffffff}) == absl::StatusCode::kDataLoss);  // its groups
  CHECK(with(20, uint32_t{0xffffffff}) == absl::StatusCode::kDataLoss);  // the part's index
  CHECK(with(24, uint64_t{16}) == absl::StatusCode::kDataLoss);          // its beginning, at its end
  CHECK(with(32, ~uint64_t{0}) == absl::StatusCode::kDataLoss);          // its end
  CHECK(with(32, uint64_t{15}) == absl::StatusCode::kOk);
  CHECK(with(60, uint64_t{20}) == absl::StatusCode::kDataLoss);  // the group's beginning
  CHECK(with(68, uint64_t{21}) == absl::StatusCode::kDataLoss);  // its end, in the next
}

TEST_CASE("files that are something else") {
  const tests::TemporaryFolder folder;
  CHECK(EventLogReader::Open(folder.File("none")).status().code() == absl::StatusCode::kNotFound);
  CHECK(EventLogReader::Open("/dev/zero").status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(EventLogReader::Open(fs::temp_directory_path()).status().code() == absl::StatusCode::kInvalidArgument);
  REQUIRE(mkfifo(folder.File("pipe").c_str(), 0600) == 0);
  CHECK(EventLogReader::Open(folder.File("pipe")).status().code() == absl::StatusCode::kInvalidArgument);
  WriteBytes(folder.File("empty"), "");
  CHECK(EventLogReader::Open(folder.File("empty")).status().code() == absl::StatusCode::kOutOfRange);
  WriteBytes(folder.File("text"), "name: job\nworkers: 2\n");
  CHECK_THAT(std::string(EventLogReader::Open(folder.File("text")).status().message()),
             Catch::Contains("is no event log"));
  std::string newer = ReadBytes(WriteLog(folder));
  newer[8] = 4;
  WriteBytes(folder.File("newer"), newer);
  CHECK_THAT(std::string(EventLogReader::Open(folder.File("newer")).status().message()),
             Catch::Contains("of version 4; this program reads version 3"));
  // A kind that a later program may have.
  newer[8] = 3;
  const std::vector<size_t> at = Boundaries(newer);
  newer[at[2] + 24] = 100;
  tests::SealRecords(&newer);
  WriteBytes(folder.File("newer"), newer);
  CHECK_THAT(std::string(ReadAll(folder.File("newer")).status.message()), Catch::Contains("unknown kind 100"));
}

TEST_CASE("garbage never gets past the reader as anything but events and errors") {
  const tests::TemporaryFolder folder;
  const std::string bytes = ReadBytes(WriteLog(folder));
  Scratch scratch;
  const std::string path = scratch.path();
  std::mt19937 random(11);
  for (int round = 0; round < 3000; ++round) {
    std::string garbage = bytes;
    if (round % 3 == 0) {
      garbage.resize(random() % 300);
      for (char& c : garbage) c = static_cast<char>(random());
      if (round % 2 == 0) garbage.replace(0, std::min(garbage.size(), kFileHead), bytes, 0, kFileHead);
    } else {
      // Changes that the checksums do not show.
      const size_t from = round % 3 == 1 ? kFileHead : Boundaries(bytes)[1];
      for (size_t n = 1 + random() % 4; n > 0; --n) {
        garbage[from + random() % (garbage.size() - from)] = static_cast<char>(random());
      }
      tests::SealRecords(&garbage);
    }
    scratch.Write(garbage);
    const Outcome outcome = ReadAll(path);
    CHECK(outcome.events.size() <= AllEvents().size());
  }
}

TEST_CASE("a frame that could not have come by the wire breaks the log off") {
  const tests::TemporaryFolder folder;
  for (int i = 0; i < 3; ++i) {
    const std::string path = folder.File("log" + std::to_string(i));
    auto writer = EventLogWriter::Create(path, MakeHeader());
    REQUIRE(writer.ok());
    Push push{{}, MakeMessage(FrameKind::kPush, 3)};
    REQUIRE((*writer)->Append(push, 1).ok());
    if (i == 0) push.message.header.elements = 4;
    if (i == 1) push.message.header.kind = FrameKind::kSet;
    if (i == 2) push.message.payload = MakePayload(2);
    CHECK((*writer)->Append(push, 2).code() == absl::StatusCode::kInvalidArgument);
    CHECK((*writer)->Append(Drain{}, 3).code() == absl::StatusCode::kInvalidArgument);
    const Outcome outcome = ReadAll(path);
    CHECK(outcome.status.ok());
    CHECK(outcome.events.size() == 1);
    CHECK(!outcome.broken_off.empty());
  }
}

// Files may not grow beyond so many bytes while it lives.
class FileLimit {
 public:
  explicit FileLimit(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limit = before_;
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileLimit() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_;
};

TEST_CASE("a log that can't be written on ends at a whole record and says why") {
  const tests::TemporaryFolder folder;
  for (const size_t floats : {100, 1 << 18}) {
    CAPTURE(floats);
    const std::string path = folder.File("log" + std::to_string(floats));
    absl::Status status;
    int appended = 0;
    {
      auto writer = EventLogWriter::Create(path, MakeHeader());
      REQUIRE(writer.ok());
      const FileLimit limit(3'500'000);
      const Push push{{}, MakeMessage(FrameKind::kPush, floats)};
      for (; appended < 100000; ++appended) {
        if (status = (*writer)->Append(push, appended); !status.ok()) break;
      }
      CHECK((*writer)->Flush() == status);
      CHECK((*writer)->Append(Drain{}, 0) == status);
    }
    CHECK(status.code() == absl::StatusCode::kUnavailable);
    CHECK_THAT(std::string(status.message()), Catch::Contains(path) && Catch::Contains("File too large"));
    const Outcome outcome = ReadAll(path);
    CHECK(outcome.status.ok());
    CHECK(outcome.events.size() > 0);
    CHECK(outcome.events.size() <= static_cast<size_t>(appended));
    CHECK(outcome.broken_off == status.message());
  }
}

}  // namespace
}  // namespace downpour::ps
