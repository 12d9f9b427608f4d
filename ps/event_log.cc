#include "ps/event_log.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/limits.h"
#include "ps/event_log_records.h"

namespace downpour::ps {
namespace {

constexpr RecordFormat kEventLog = {.magic = {'D', 'P', 'W', 'E', 'V', 'E', 'N', 'T'},
                                    .version = 3,
                                    .name = "event log",
                                    .most_bytes = kMaxRecordBodyBytes,
                                    .broken_off = static_cast<uint32_t>(RecordKind::kBrokenOff)};
constexpr size_t kMaxJobBytes = 4 * kMaxRegisterBytes;

}  // namespace

std::string EventLogName(uint32_t server, uint32_t shard) {
  return absl::StrCat("server-", server, "-shard-", shard, ".events");
}

absl::StatusOr<std::unique_ptr<EventLogWriter>> EventLogWriter::Create(const std::string& path,
                                                                       const EventLogHeader& header) {
  if (header.job.empty() || header.job.size() > kMaxJobBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a job of ", header.job.size(), " bytes; an event log takes 1 to ", kMaxJobBytes));
  }
  auto records = RecordWriter::Create(path, kEventLog);
  if (!records.ok()) return records.status();
  std::unique_ptr<EventLogWriter> writer(new EventLogWriter(*std::move(records)));
  const EncodedRecord record{RecordKind::kHeader, Fields()
                                                      .Put(header.server)
                                                      .Put(header.servers)
                                                      .Put(header.shard)
                                                      .Put(header.shards)
                                                      .Put(header.unix_us)
                                                      .Put(header.job)
                                                      .Take()};
  absl::Status status = writer->Append(record, header.steady_us);
  if (status.ok()) status = writer->Flush();
  if (!status.ok()) return status;
  return writer;
}

absl::Status EventLogWriter::Append(const Event& event, int64_t time_us) {
  return Append(EncodeRecord(event), time_us);
}

absl::Status EventLogWriter::Append(const Mark& mark, int64_t time_us) { return Append(EncodeRecord(mark), time_us); }

absl::Status EventLogWriter::Append(const EncodedRecord& record, int64_t time_us) {
  if (!record.status.ok()) return records_->BreakOff(record.status);
  return records_->Append({static_cast<uint32_t>(record.kind), record.body, record.payload}, time_us);
}

absl::StatusOr<std::unique_ptr<EventLogReader>> EventLogReader::Open(const std::string& path) {
  auto records = RecordReader::Open(path, kEventLog);
  if (!records.ok()) return records.status();
  std::unique_ptr<EventLogReader> reader(new EventLogReader(*std::move(records)));
  if (absl::Status status = reader->ReadHeader(); !status.ok()) return status;
  return reader;
}

absl::Status EventLogReader::ReadHeader() {
  const uint64_t offset = records_->offset();
  const auto raw = records_->Next();
  if (!raw.ok()) return raw.status();
  if (!*raw) return records_->Torn(offset);
  if ((*raw)->kind != static_cast<uint32_t>(RecordKind::kHeader)) {
    return records_->Damaged(offset, "it should be the header");
  }
  Cursor fields((*raw)->bytes());
  header_.server = fields.Get<uint32_t>();
  header_.servers = fields.Get<uint32_t>();
  header_.shard = fields.Get<uint32_t>();
  header_.shards = fields.Get<uint32_t>();
  header_.unix_us = fields.Get<int64_t>();
  header_.steady_us = (*raw)->time_us;
  const std::span<const std::byte> job = fields.Rest();
  if (job.empty() || job.size() > kMaxJobBytes || header_.server >= header_.servers ||
      header_.shard >= header_.shards) {
    return records_->Damaged(offset, "a header that makes no sense");
  }
  header_.job.assign(reinterpret_cast<const char*>(job.data()), job.size());
  return absl::OkStatus();
}

absl::StatusOr<std::optional<LogRecord>> EventLogReader::Next() {
  const auto raw = records_->Next();
  if (!raw.ok()) return raw.status();
  if (!*raw) return std::nullopt;
  auto entry = DecodeRecord((*raw)->kind, (*raw)->body, (*raw)->bytes());
  if (!entry.ok()) return records_->Damaged((*raw)->offset, std::string(entry.status().message()));
  return LogRecord{(*raw)->number, (*raw)->offset, (*raw)->time_us, *std::move(entry)};
}

}  // namespace downpour::ps
