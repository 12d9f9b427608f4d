#include "ps/checkpointer.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace downpour::ps {

Checkpointer::Checkpointer(std::string folder, uint32_t keep, Log log)
    : folder_(std::move(folder)), keep_(keep), log_(std::move(log)) {
  status_.set_number(LatestNumber(folder_));
  thread_ = std::thread([this] { Run(); });
}

Checkpointer::~Checkpointer() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

absl::Status Checkpointer::Begin(const CheckpointHeader& header, uint32_t parts) {
  std::lock_guard lock(mutex_);
  if (header.number() == 0 || header.number() > kMostCheckpoints) {
    return absl::InvalidArgumentError(absl::StrCat("a checkpoint's number is from 1 to ", kMostCheckpoints));
  }
  if (header.number() <= status_.number()) {
    return absl::AbortedError(absl::StrCat("checkpoint ", status_.number(), " was begun before ", header.number()));
  }
  if (status_.state() == CheckpointStatus::WRITING) status_.set_failed(status_.failed() + 1);
  status_.set_number(header.number());
  status_.set_clock(header.clock());
  status_.set_state(CheckpointStatus::WRITING);
  status_.clear_reason();
  status_.set_parts(parts);
  status_.set_parts_written(0);
  status_.set_parts_late(0);
  status_.set_bytes(0);
  begun_ = Clock::now();
  next_ = header;
  saved_.clear();
  wake_.notify_one();
  return absl::OkStatus();
}

void Checkpointer::GiveUp(const std::string& why) {
  std::lock_guard lock(mutex_);
  if (status_.state() != CheckpointStatus::WRITING) return;
  status_.set_state(CheckpointStatus::FAILED);
  status_.set_failed(status_.failed() + 1);
  status_.set_reason(why);
  saved_.clear();
}

void Checkpointer::Deliver(Saved saved) {
  std::lock_guard lock(mutex_);
  if (saved.number != status_.number() || status_.state() != CheckpointStatus::WRITING) return;
  saved_.push_back(std::move(saved));
  wake_.notify_one();
}

CheckpointStatus Checkpointer::status() const {
  std::lock_guard lock(mutex_);
  CheckpointStatus status = status_;
  if (status.state() == CheckpointStatus::WRITING) {
    status.set_seconds(std::chrono::duration<double>(Clock::now() - begun_).count());
  }
  return status;
}

void Checkpointer::Run() {
  for (;;) {
    std::optional<CheckpointHeader> next;
    std::optional<Saved> saved;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || next_ || !saved_.empty(); });
      if (stopping_) break;
      next = std::exchange(next_, std::nullopt);
      if (!next) {
        saved = std::move(saved_.front());
        saved_.pop_front();
      }
    }
    if (next) {
      Start(*next);
    } else {
      Write(*saved);
    }
    FinishIfAll();
  }
}

void Checkpointer::Start(const CheckpointHeader& header) {
  writer_ = nullptr;  // what was not done is taken away
  header_ = header;
  auto writer = CheckpointWriter::Create(folder_, header);
  if (!writer.ok()) return Fail(writer.status());
  writer_ = *std::move(writer);
}

void Checkpointer::Write(const Saved& saved) {
  if (writer_ == nullptr || saved.number != header_.number()) return;
  if (saved.state.floats.size() != saved.state.float_bytes()) {
    return Fail(absl::ResourceExhaustedError(
        absl::StrCat("the server has no memory left for a copy of part ", saved.state.part)));
  }
  if (absl::Status status = writer_->Add(saved.state); !status.ok()) return Fail(status);
  std::lock_guard lock(mutex_);
  if (status_.number() != header_.number() || status_.state() != CheckpointStatus::WRITING) return;
  status_.set_parts_written(writer_->parts());
  status_.set_bytes(writer_->bytes());
  if (header_.clock() > 0 && saved.state.clock != header_.clock()) status_.set_parts_late(status_.parts_late() + 1);
}

void Checkpointer::FinishIfAll() {
  if (writer_ == nullptr) return;
  {
    std::lock_guard lock(mutex_);
    if (status_.number() != header_.number() || status_.state() != CheckpointStatus::WRITING) return;
    if (status_.parts_written() < status_.parts()) return;
  }
  if (absl::Status status = writer_->Finish(); !status.ok()) return Fail(status);
  PruneCheckpoints(folder_, header_.server(), header_.servers(), keep_);
  double seconds = 0;
  {
    std::lock_guard lock(mutex_);
    seconds = std::chrono::duration<double>(Clock::now() - begun_).count();
    status_.set_done(status_.done() + 1);
    status_.set_done_unix_us(
        std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
            .count());
    if (status_.number() == header_.number()) {
      status_.set_state(CheckpointStatus::DONE);
      status_.set_seconds(seconds);
    }
  }
  log_.Info(absl::StrFormat("checkpoint %d of %d parts, %.1f MB, in %s after %.2f s", header_.number(),
                            writer_->parts(), static_cast<double>(writer_->bytes()) / 1e6, writer_->path(), seconds));
  writer_ = nullptr;
}

void Checkpointer::Fail(const absl::Status& status) {
  writer_ = nullptr;
  log_.Warn(absl::StrCat("checkpoint ", header_.number(), " failed: ", status.message()));
  std::lock_guard lock(mutex_);
  if (status_.number() != header_.number()) return;
  status_.set_failed(status_.failed() + 1);
  status_.set_state(CheckpointStatus::FAILED);
  status_.set_reason(std::string(status.message()));
  status_.set_seconds(std::chrono::duration<double>(Clock::now() - begun_).count());
  saved_.clear();
}

}  // namespace downpour::ps
