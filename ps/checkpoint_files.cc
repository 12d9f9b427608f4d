#include "ps/checkpoint_files.h"

#include <fcntl.h>
#include <google/protobuf/util/message_differencer.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "proto/limits.h"
#include "proto/settings_changes.h"
#include "ps/fields.h"

namespace downpour::ps {
namespace {

namespace fs = std::filesystem;
using google::protobuf::util::MessageDifferencer;

// Numbers in the file: never reused, never changed.
enum class Kind : uint32_t { kHeader = 1, kPart = 2, kEnd = 3 };

constexpr RecordFormat kCheckpoint = {.magic = {'D', 'P', 'W', 'C', 'H', 'E', 'C', 'K'},
                                      .version = 1,
                                      .name = "checkpoint",
                                      .most_bytes = kMaxPartStateBytes,
                                      .broken_off = 0};
constexpr char kBeside[] = ".part";
constexpr size_t kMostNamed = 5;
constexpr size_t kMostHeaderBytes = 64 << 20;

std::string NumberText(uint64_t number) { return absl::StrFormat("%08d", number); }

std::string FileOf(uint32_t server) { return absl::StrCat("server-", server, ".checkpoint"); }

absl::Status CantDo(absl::string_view what, const std::string& path, const std::error_code& error) {
  return absl::UnavailableError(absl::StrCat("can't ", what, " ", path, ": ", error.message()));
}

absl::Status SyncFolder(const std::string& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool ok = fd >= 0 && fsync(fd) == 0;
  const std::error_code error(errno, std::generic_category());
  if (fd >= 0) close(fd);
  return ok ? absl::OkStatus() : CantDo("sync", folder, error);
}

// Latest first.
std::vector<uint64_t> Numbers(const std::string& folder) {
  std::vector<uint64_t> numbers;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    uint64_t number = 0;
    const std::string name = entry->path().filename().string();
    if (absl::SimpleAtoi(name, &number) && number > 0 && number <= kMostCheckpoints && name == NumberText(number))
      numbers.push_back(number);
  }
  std::sort(numbers.rbegin(), numbers.rend());
  return numbers;
}

bool SameCheckpoint(const CheckpointHeader& a, const CheckpointHeader& b) {
  return a.id() == b.id() && a.number() == b.number() && a.clock() == b.clock() && a.servers() == b.servers() &&
         a.parts() == b.parts() && MessageDifferencer::Equals(a.table(), b.table());
}

// Whether it says that a file is not whole, and not merely that it can't be read now.
bool IsNotWhole(const absl::Status& status) {
  return absl::IsDataLoss(status) || absl::IsOutOfRange(status) || absl::IsNotFound(status) ||
         absl::IsInvalidArgument(status);
}

// Why the files of a checkpoint are not whole, or are not of one checkpoint.
absl::Status ReadThrough(const std::string& folder, uint64_t number, FoundCheckpoint* found) {
  uint32_t servers = 1;
  std::map<uint32_t, PartBounds> parts;
  for (uint32_t server = 0; server < servers; ++server) {
    const std::string path = absl::StrCat(folder, "/", NumberText(number), "/", FileOf(server));
    auto reader = CheckpointReader::Open(path);
    if (!reader.ok()) return reader.status();
    const CheckpointHeader& header = (*reader)->header();
    if (server == 0) servers = header.servers();
    if (server > 0 && !SameCheckpoint(header, found->headers[0])) {
      return absl::DataLossError(absl::StrCat(path, " is of another checkpoint than ", found->files[0]));
    }
    // One that came when some had begun already is known to the others alone.
    if (MergeChanges(header.changes(), &found->changes)) {
      return absl::DataLossError(absl::StrCat(path, " has other changes of settings than ", found->files[0]));
    }
    if (header.number() != number || header.server() != server) {
      return absl::DataLossError(
          absl::StrCat(path, " is server ", header.server(), "'s of checkpoint ", header.number()));
    }
    for (;;) {
      const auto state = (*reader)->Next();
      if (!state.ok()) return state.status();
      if (!*state) break;
      if (!parts.insert({(*state)->part, {(*state)->begin, (*state)->end}}).second) {
        return absl::DataLossError(absl::StrCat(path, " has part ", (*state)->part, " a second time"));
      }
    }
    found->files.push_back(path);
    found->headers.push_back(header);
  }
  uint64_t end = 0;
  for (const auto& [part, bounds] : parts) {
    if (part != found->parts.size() || bounds.begin != end) break;
    end = bounds.end;
    found->parts.push_back(bounds);
  }
  const CheckpointHeader& header = found->headers[0];
  if (found->parts.size() == header.parts() && parts.size() == header.parts() && end == header.table().elements()) {
    return absl::OkStatus();
  }
  return absl::DataLossError(absl::StrCat("of the ", header.parts(), " parts there are ", parts.size(),
                                          ", end to end the first ", found->parts.size()));
}

}  // namespace

// ---- Writing.

absl::StatusOr<std::unique_ptr<CheckpointWriter>> CheckpointWriter::Create(const std::string& folder,
                                                                           const CheckpointHeader& header) {
  const RecordBody record{static_cast<uint32_t>(Kind::kHeader), header.SerializeAsString()};
  if (record.size() > kMostHeaderBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a checkpoint's header of ", record.size(),
                                                   " bytes; nobody would read more than ", kMostHeaderBytes));
  }
  const std::string own = absl::StrCat(folder, "/", NumberText(header.number()));
  std::error_code error;
  fs::create_directories(own, error);
  if (error) return CantDo("make", own, error);
  const std::string path = absl::StrCat(own, "/", FileOf(header.server()));
  if (fs::exists(path, error)) {
    return absl::AlreadyExistsError(
        absl::StrCat(path, " is there already: does another job keep its checkpoints in ", folder, "?"));
  }
  fs::remove(path + kBeside, error);  // of a server that was killed
  auto records = RecordWriter::Create(path + kBeside, kCheckpoint);
  if (!records.ok()) return records.status();
  std::unique_ptr<CheckpointWriter> writer(new CheckpointWriter(path, *std::move(records)));
  if (absl::Status status = writer->records_->Append(record, header.unix_us()); !status.ok()) return status;
  return writer;
}

CheckpointWriter::~CheckpointWriter() {
  if (finished_) return;
  records_ = nullptr;
  std::error_code error;
  fs::remove(path_ + kBeside, error);
  fs::remove(fs::path(path_).parent_path(), error);  // where it is empty
}

absl::Status CheckpointWriter::Add(const PartState& state) {
  ++parts_;
  bytes_ += state.floats.size();
  return records_->Append({static_cast<uint32_t>(Kind::kPart), EncodePartState(state), &state.floats}, 0);
}

absl::Status CheckpointWriter::Finish() {
  absl::Status status = records_->Append({static_cast<uint32_t>(Kind::kEnd), Fields().Put(parts_).Take()}, 0);
  if (status.ok()) status = records_->Sync();
  if (!status.ok()) return status;
  std::error_code error;
  fs::rename(path_ + kBeside, path_, error);
  if (error) return CantDo("make", path_, error);
  finished_ = true;
  const fs::path own = fs::path(path_).parent_path();
  status = SyncFolder(own.string());
  return status.ok() ? SyncFolder(own.parent_path().string()) : status;
}

// ---- Reading.

absl::StatusOr<std::unique_ptr<CheckpointReader>> CheckpointReader::Open(const std::string& path) {
  auto records = RecordReader::Open(path, kCheckpoint);
  if (!records.ok()) return records.status();
  std::unique_ptr<CheckpointReader> reader(new CheckpointReader(*std::move(records)));
  const uint64_t offset = reader->records_->offset();
  const auto raw = reader->records_->Next();
  if (!raw.ok()) return raw.status();
  if (!*raw) return reader->records_->Torn(offset);
  const bool fits = (*raw)->kind == static_cast<uint32_t>(Kind::kHeader) && (*raw)->size <= kMostHeaderBytes &&
                    reader->header_.ParseFromArray((*raw)->body.get(), static_cast<int>((*raw)->size)) &&
                    reader->header_.server() < reader->header_.servers();
  if (!fits) return reader->records_->Damaged(offset, "it should be the header");
  return reader;
}

absl::StatusOr<std::optional<PartState>> CheckpointReader::Next() {
  if (ended_) return std::nullopt;
  const uint64_t offset = records_->offset();
  const auto raw = records_->Next();
  if (!raw.ok()) return raw.status();
  if (!*raw) return records_->Torn(offset);
  if ((*raw)->kind == static_cast<uint32_t>(Kind::kEnd)) {
    Cursor in((*raw)->bytes());
    if (in.Get<uint32_t>() != parts_ || !in.complete()) return records_->Damaged(offset, "it counts other parts");
    const auto more = records_->Next();
    if (!more.ok()) return more.status();
    if (*more) return records_->Damaged((*more)->offset, "it stands behind the end");
    ended_ = true;
    return std::nullopt;
  }
  if ((*raw)->kind != static_cast<uint32_t>(Kind::kPart)) {
    return records_->Damaged(offset, absl::StrCat("unknown kind ", (*raw)->kind, "; whoever wrote it is newer"));
  }
  auto state = DecodePartState((*raw)->body, (*raw)->bytes());
  if (!state.ok()) return records_->Damaged(offset, std::string(state.status().message()));
  ++parts_;
  return *std::move(state);
}

absl::StatusOr<FoundCheckpoint> FindCheckpoint(const std::string& folder, std::optional<uint64_t> wanted) {
  std::vector<std::string> passed_by;
  for (const uint64_t number : Numbers(folder)) {
    if (wanted && number != *wanted) continue;
    FoundCheckpoint found{
        .number = number, .changes = {}, .files = {}, .headers = {}, .parts = {}, .passed_by = passed_by};
    const absl::Status status = ReadThrough(folder, number, &found);
    if (status.ok()) return found;
    if (!IsNotWhole(status)) return status;
    passed_by.push_back(absl::StrCat("checkpoint ", number, " is not whole: ", status.message()));
  }
  const std::string what = wanted ? absl::StrCat("no whole checkpoint ", *wanted) : "no whole checkpoint";
  if (passed_by.empty()) return absl::NotFoundError(absl::StrCat(what, " in ", folder));
  const size_t more = passed_by.size() - std::min(passed_by.size(), kMostNamed);
  passed_by.resize(passed_by.size() - more);
  return absl::NotFoundError(absl::StrCat(what, " in ", folder, ": ", absl::StrJoin(passed_by, "; "),
                                          more == 0 ? "" : absl::StrCat("; and ", more, " more")));
}

uint64_t LatestNumber(const std::string& folder) {
  const std::vector<uint64_t> numbers = Numbers(folder);
  return numbers.empty() ? 0 : numbers.front();
}

void PruneCheckpoints(const std::string& folder, uint32_t server, uint32_t servers, uint32_t keep) {
  const auto file = [&](uint64_t number, uint32_t i) {
    return absl::StrCat(folder, "/", NumberText(number), "/", FileOf(i));
  };
  std::error_code error;
  const std::vector<uint64_t> numbers = Numbers(folder);
  bool others = false;
  for (const uint64_t number : numbers) {
    for (uint32_t i = 0; i < servers; ++i) others = others || (i != server && fs::exists(file(number, i), error));
  }
  if (!others && servers > 1) ++keep;
  uint32_t good = 0;
  for (const uint64_t number : numbers) {
    if (good >= keep) {
      const std::string own = absl::StrCat(folder, "/", NumberText(number));
      if (server == 0) fs::remove_all(own, error);
      for (const char* beside : {"", kBeside}) fs::remove(file(number, server) + beside, error);
      fs::remove(own, error);  // where it is empty
      continue;
    }
    bool all = true;
    for (uint32_t i = 0; i < servers; ++i)
      all = all && ((!others && i != server) || fs::exists(file(number, i), error));
    if (all) ++good;
  }
}

}  // namespace downpour::ps
