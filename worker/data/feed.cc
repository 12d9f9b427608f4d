#include "worker/data/feed.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "worker/data/frames.h"

namespace downpour::worker {
namespace {

constexpr std::size_t kPieceBytes = 64 << 10;

std::string WrongLabel(const FeedTensor& tensor) {
  if (!tensor.sides.empty()) return absl::StrCat("gives label the rank ", tensor.sides.size(), "; it may be 0");
  return "";
}

std::string WrongWeight(const FeedTensor& tensor) {
  if (tensor.type != TensorType::kF32 && tensor.type != TensorType::kF64) {
    return absl::StrCat("gives weight the data type ", static_cast<int>(tensor.type), "; it may be 4 (f32) or 5 (f64)");
  }
  if (!tensor.sides.empty()) return absl::StrCat("gives weight the rank ", tensor.sides.size(), "; it may be 0");
  return "";
}

template <typename T>
double ValueAt(const std::uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof(value));
  return static_cast<double>(value);
}

double ValueAt(TensorType type, const std::uint8_t* p) {
  switch (type) {
    case TensorType::kU8: return ValueAt<std::uint8_t>(p);
    case TensorType::kI32: return ValueAt<std::int32_t>(p);
    case TensorType::kI64: return ValueAt<std::int64_t>(p);
    case TensorType::kF32: return ValueAt<float>(p);
    case TensorType::kF64: return ValueAt<double>(p);
  }
  return 0;
}

class FeedReader {
 public:
  FeedReader(int fd, const FeedOptions& options) : frames_(fd), options_(options) {}

  absl::StatusOr<PartitionSamples> Read() {
    while (true) {
      const auto frame = frames_.Next();
      if (!frame.ok()) return frame.status();
      absl::Status status;
      switch (frame->kind) {
        case FrameReader::Kind::kSchema: status = ReadSchema(frame->length); break;
        case FrameReader::Kind::kBatch: status = ReadBatch(frame->length, &PartitionSamples::train); break;
        case FrameReader::Kind::kHeldOut: status = ReadBatch(frame->length, &PartitionSamples::held_out); break;
        case FrameReader::Kind::kEnd:
          if (status = frames_.ReadEnd(frame->length, rows_); !status.ok()) return status;
          // An empty partition may not know its types.
          if (!samples_) samples_ = Empty(FeatureType::kU8, false);
          return *std::move(samples_);
      }
      if (!status.ok()) return status;
    }
  }

 private:
  PartitionSamples Empty(FeatureType type, bool weighted) const {
    const LabelLayout layout{.numbers = options_.classes == 0, .weighted = weighted};
    const auto store = [&] { return SampleStore(type, options_.sample_size, options_.limits, layout); };
    return {.train = store(), .held_out = store()};
  }

  absl::Status ReadSchema(std::uint64_t length) {
    if (samples_) return frames_.Broken("is a second schema");
    auto tensors = frames_.ReadSchema(length);
    if (!tensors.ok()) return tensors.status();
    bool features = false;
    bool label = false;
    bool weight = false;
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
      } else if (tensor.name == "weight") {
        weight = true;
        wrong = WrongWeight(tensor);
      } else {
        wrong = absl::StrCat("has a tensor '", ShownName(tensor.name), "'; only features, label and weight are known");
      }
      if (!wrong.empty()) return frames_.Broken(wrong);
      row_bytes_ += tensor.row_bytes();
    }
    if (!features) return frames_.Broken("has no tensor called features");
    if (!label) return frames_.Broken("has no tensor called label");
    tensors_ = *std::move(tensors);
    samples_ = Empty(type, weight);
    return absl::OkStatus();
  }

  absl::Status ReadBatch(std::uint64_t length, SampleStore PartitionSamples::* which) {
    if (!samples_) return frames_.Broken("is a batch before the schema");
    const auto rows = frames_.ReadBatch(length, row_bytes_);
    if (!rows.ok()) return rows.status();
    SampleStore& store = *samples_.*which;
    const SampleStore& other = &store == &samples_->train ? samples_->held_out : samples_->train;
    const std::size_t first = store.size();
    if (absl::Status status = store.Append(*rows, &other); !status.ok()) return InFrame(status);
    for (const FeedTensor& tensor : tensors_) {
      absl::Status status;
      if (tensor.name == "features") {
        status = ReadFeatures(tensor, store, other, first);
      } else if (tensor.name == "weight") {
        status = ReadWeights(tensor.type, store.mutable_weights().subspan(first));
      } else if (store.layout().numbers) {
        status = ReadNumbers(tensor.type, store.mutable_numbers().subspan(first));
      } else {
        status = ReadClasses(tensor.type, store.mutable_labels().subspan(first));
      }
      if (!status.ok()) return status;
    }
    rows_ += *rows;
    return absl::OkStatus();
  }

  absl::Status InFrame(const absl::Status& status) const {
    return absl::Status(status.code(), absl::StrCat("feed: frame ", frames_.frame(), ": ", status.message()));
  }

  absl::Status ReadFeatures(const FeedTensor& tensor, SampleStore& store, const SampleStore& other, std::size_t first) {
    for (std::size_t row = first; row < store.size();) {
      const auto run = store.AddFeatures(store.size() - row, &other);
      if (!run.ok()) return InFrame(run.status());
      const std::size_t values = run->rows * options_.sample_size;
      const absl::Status status =
          tensor.type == TensorType::kU8
              ? frames_.ReadBytes(run->bytes, values)
              : frames_.ReadFloats(tensor, rows_ + row - first, {reinterpret_cast<float*>(run->bytes), values});
      if (!status.ok()) return status;
      row += run->rows;
    }
    return absl::OkStatus();
  }

  // Reads `to`.size() values of one tensor. `set` takes the place and the value, and says what is wrong with it, or "".
  template <typename T, typename Set>
  absl::Status ReadEach(std::string_view what, TensorType type, std::span<T> to, Set set) {
    std::array<std::uint8_t, kPieceBytes> piece;
    const std::size_t size = SizeOf(type);
    for (std::size_t done = 0; done < to.size();) {
      const std::size_t part = std::min(piece.size() / size, to.size() - done);
      const absl::Status status = frames_.ReadBytes(piece.data(), part * size);
      if (!status.ok()) return status;
      for (std::size_t i = 0; i < part; ++i) {
        const double value = ValueAt(type, piece.data() + i * size);
        if (const std::string wrong = set(to[done + i], value); !wrong.empty()) {
          return absl::InvalidArgumentError(absl::StrCat("the ", std::string(what), " of row ", rows_ + done + i, " of the partition is ",
                                                         absl::StrFormat("%.10g", value), wrong));
        }
      }
      done += part;
    }
    return absl::OkStatus();
  }

  absl::Status ReadClasses(TensorType type, std::span<std::int32_t> to) {
    return ReadEach("label", type, to, [this](std::int32_t& label, double value) -> std::string {
      if (!(value >= 0 && value < options_.classes)) {
        return absl::StrCat(", but the net has ", options_.classes, " classes, counted from 0");
      }
      label = static_cast<std::int32_t>(value);
      return label == value ? "" : ", not a whole number, and the net's loss takes classes";
    });
  }

  absl::Status ReadNumbers(TensorType type, std::span<float> to) {
    return ReadEach("label", type, to, [](float& number, double value) -> std::string {
      number = static_cast<float>(value);
      return std::isfinite(number) ? "" : ", which is not finite as a 32-bit float";
    });
  }

  absl::Status ReadWeights(TensorType type, std::span<float> to) {
    return ReadEach("weight", type, to, [](float& weight, double value) -> std::string {
      weight = static_cast<float>(value);
      return std::isfinite(weight) && weight >= 0 ? "" : "; weights are finite, and at least 0";
    });
  }

  FrameReader frames_;
  const FeedOptions options_;

  // Set by the schema.
  std::vector<FeedTensor> tensors_;
  std::uint64_t row_bytes_ = 0;
  std::optional<PartitionSamples> samples_;

  std::uint64_t rows_ = 0;  // of all batches before the one being read
};

}  // namespace

absl::StatusOr<PartitionSamples> ReadFeed(int fd, const FeedOptions& options) { return FeedReader(fd, options).Read(); }

}  // namespace downpour::worker
