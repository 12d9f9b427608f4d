#include "worker/data/feed.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "worker/data/frames.h"

namespace downpour::worker {
namespace {

constexpr std::size_t kPieceBytes = 64 << 10;

std::string WrongLabel(const FeedTensor& tensor) {
  if (tensor.type != TensorType::kU8 && tensor.type != TensorType::kI32 && tensor.type != TensorType::kI64) {
    return absl::StrCat("gives label the data type ", static_cast<int>(tensor.type),
                        "; it may be 1 (u8), 2 (i32) or 3 (i64)");
  }
  if (!tensor.sides.empty()) return absl::StrCat("gives label the rank ", tensor.sides.size(), "; it may be 0");
  return "";
}

std::int64_t LabelAt(TensorType type, const std::uint8_t* p) {
  if (type == TensorType::kU8) return *p;
  if (type == TensorType::kI64) {
    std::int64_t value;
    std::memcpy(&value, p, sizeof(value));
    return value;
  }
  std::int32_t value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

class FeedReader {
 public:
  FeedReader(int fd, const FeedOptions& options) : frames_(fd), options_(options) {}

  absl::StatusOr<SampleStore> Read() {
    while (true) {
      const auto frame = frames_.Next();
      if (!frame.ok()) return frame.status();
      switch (frame->kind) {
        case FrameReader::Kind::kSchema:
          if (absl::Status status = ReadSchema(frame->length); !status.ok()) return status;
          break;
        case FrameReader::Kind::kBatch:
          if (absl::Status status = ReadBatch(frame->length); !status.ok()) return status;
          break;
        case FrameReader::Kind::kEnd:
          if (absl::Status status = frames_.ReadEnd(frame->length, store_ ? store_->size() : 0); !status.ok()) return status;
          // An empty partition may not know its types.
          if (!store_) return SampleStore(FeatureType::kU8, options_.sample_size, options_.limit_bytes);
          return *std::move(store_);
      }
    }
  }

 private:
  absl::Status ReadSchema(std::uint64_t length) {
    if (store_) return frames_.Broken("is a second schema");
    auto tensors = frames_.ReadSchema(length);
    if (!tensors.ok()) return tensors.status();
    bool features = false;
    bool label = false;
    FeatureType type = FeatureType::kF32;
    for (const FeedTensor& tensor : *tensors) {
      std::string wrong;
      if (tensor.name == "features") {
        features = true;
        wrong = WrongFeatures(tensor, options_.sample_size);
        if (tensor.type == TensorType::kU8) type = FeatureType::kU8;
      } else if (tensor.name == "label") {
        label = true;
        wrong = WrongLabel(tensor);
      } else {
        wrong = absl::StrCat("has a tensor '", ShownName(tensor.name), "'; only features and label are known");
      }
      if (!wrong.empty()) return frames_.Broken(wrong);
      row_bytes_ += tensor.row_bytes();
    }
    if (!features) return frames_.Broken("has no tensor called features");
    if (!label) return frames_.Broken("has no tensor called label");
    tensors_ = *std::move(tensors);
    store_.emplace(type, options_.sample_size, options_.limit_bytes);
    return absl::OkStatus();
  }

  absl::Status ReadBatch(std::uint64_t length) {
    if (!store_) return frames_.Broken("is a batch before the schema");
    const auto rows = frames_.ReadBatch(length, row_bytes_);
    if (!rows.ok()) return rows.status();
    const std::size_t first = store_->size();
    if (absl::Status status = store_->Append(*rows); !status.ok()) {
      return absl::Status(status.code(), absl::StrCat("feed: frame ", frames_.frame(), ": ", status.message()));
    }
    for (const FeedTensor& tensor : tensors_) {
      const absl::Status status =
          tensor.name == "label" ? ReadLabels(tensor.type, first, *rows) : ReadFeatures(tensor, first, *rows);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  absl::Status ReadFeatures(const FeedTensor& tensor, std::size_t first, std::size_t rows) {
    for (std::size_t done = 0; done < rows;) {
      const SampleStore::Run run = store_->FeatureRun(first + done, rows - done);
      const std::size_t values = run.rows * options_.sample_size;
      const absl::Status status =
          tensor.type == TensorType::kU8
              ? frames_.ReadBytes(run.features, values)
              : frames_.ReadFloats(tensor, first + done, {reinterpret_cast<float*>(run.features), values});
      if (!status.ok()) return status;
      done += run.rows;
    }
    return absl::OkStatus();
  }

  absl::Status ReadLabels(TensorType type, std::size_t first, std::size_t rows) {
    const std::span<std::int32_t> labels = store_->mutable_labels().subspan(first, rows);
    std::array<std::uint8_t, kPieceBytes> piece;
    const std::size_t size = SizeOf(type);
    for (std::size_t done = 0; done < rows;) {
      const std::size_t part = std::min(piece.size() / size, rows - done);
      const absl::Status status = frames_.ReadBytes(piece.data(), part * size);
      if (!status.ok()) return status;
      for (std::size_t i = 0; i < part; ++i) {
        const std::int64_t label = LabelAt(type, piece.data() + i * size);
        if (label < 0 || label >= options_.classes) {
          return frames_.Broken("the label of row ", first + done + i, " (counted over the feed) is ", label,
                                ", but the net has ", options_.classes, " classes, counted from 0");
        }
        labels[done + i] = static_cast<std::int32_t>(label);
      }
      done += part;
    }
    return absl::OkStatus();
  }

  FrameReader frames_;
  const FeedOptions options_;

  // Set by the schema.
  std::vector<FeedTensor> tensors_;
  std::uint64_t row_bytes_ = 0;
  std::optional<SampleStore> store_;
};

}  // namespace

absl::StatusOr<SampleStore> ReadFeed(int fd, const FeedOptions& options) { return FeedReader(fd, options).Read(); }

}  // namespace downpour::worker
