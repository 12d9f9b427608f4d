#include "worker/data/lmdb.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"
#include "worker/data/lmdb_file.h"
#include "worker/formats/caffe.pb.h"

namespace downpour::worker {
namespace {

using formats::caffe::Datum;
using Next = LmdbFile::Next;

// Turns records into rows of a store.
class Reader {
 public:
  Reader(const std::string& path, const SampleSource& source) : path_(path), source_(source) {
    for (const std::uint32_t side : source.shape) sample_size_ *= side;
  }

  absl::Status Add(std::uint64_t record, const std::string& bytes) {
    Datum datum;
    if (!datum.ParseFromString(bytes)) return Wrong(record, "is no Datum, or damaged");
    if (datum.encoded()) return Wrong(record, "is an encoded image; only plain ones are read");
    const bool floats = datum.data().empty() && datum.float_data_size() > 0;
    if (absl::Status status = CheckShape(record, datum, floats); !status.ok()) return status;
    const FeatureType type = floats ? FeatureType::kF32 : FeatureType::kU8;
    if (!store_) store_.emplace(type, sample_size_, source_.limits, LabelLayout{.numbers = source_.classes == 0});
    if (store_->type() != type) return Wrong(record, "has floats where others have bytes, or bytes for floats");
    if (source_.classes > 0 && (datum.label() < 0 || datum.label() >= source_.classes)) {
      return Wrong(record, absl::StrCat("has the label ", datum.label(), ", but the net has ", source_.classes,
                                        " classes, counted from 0"));
    }
    if (absl::Status status = store_->Append(1); !status.ok()) return status;
    if (source_.classes > 0) {
      store_->mutable_labels().back() = datum.label();
    } else {
      store_->mutable_numbers().back() = static_cast<float>(datum.label());
    }
    const auto run = store_->AddFeatures(1);
    if (!run.ok()) return run.status();
    std::memcpy(run->bytes, floats ? static_cast<const void*>(datum.float_data().data()) : datum.data().data(),
                store_->row_bytes());
    return absl::OkStatus();
  }

  absl::StatusOr<SampleStore> Store() && {
    if (store_) return *std::move(store_);
    return SampleStore(FeatureType::kU8, sample_size_, source_.limits, {.numbers = source_.classes == 0});
  }

 private:
  absl::Status Wrong(std::uint64_t record, const std::string& what) const {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": record ", record, " ", what));
  }

  // Against the job's shape: rows of values may have any sides.
  absl::Status CheckShape(std::uint64_t record, const Datum& datum, bool floats) const {
    const std::vector<std::int64_t> sides = {datum.channels(), datum.height(), datum.width()};
    const bool row = source_.shape.size() == 1;
    const bool same = row || std::ranges::equal(sides, source_.shape);
    const std::size_t values = floats ? static_cast<std::size_t>(datum.float_data_size()) : datum.data().size();
    if (!same || values != sample_size_) {
      return Wrong(record, absl::StrCat("is ", sides[0], "x", sides[1], "x", sides[2], " of ", values,
                                        " values; the job's data.shape has ", sample_size_));
    }
    if (floats && std::ranges::any_of(datum.float_data(), [](float value) { return !std::isfinite(value); })) {
      return Wrong(record, "has a value that is not finite");
    }
    return absl::OkStatus();
  }

  const std::string& path_;
  const SampleSource& source_;
  std::size_t sample_size_ = 1;
  std::optional<SampleStore> store_;
};

}  // namespace

absl::StatusOr<SampleStore> ReadLmdb(const SampleSource& source) {
  if (source.partitions == 0 || source.partition >= source.partitions) {
    return absl::InvalidArgumentError(absl::StrCat("partition ", source.partition, " of ", source.partitions, " cannot be"));
  }
  if (!source.labels.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("labels of ", source.images, " are in it; leave ", source.labels, " out"));
  }
  auto file = LmdbFile::Open(source.images);
  if (!file.ok()) return file.status();
  Reader reader(file->path(), source);
  const auto within = [&](std::uint64_t record) { return source.limit == 0 || record < source.limit; };
  const absl::Status status = file->ForEach(
      [&](std::uint64_t record) { return !within(record) || record % source.partitions == source.partition; },
      [&](std::uint64_t record, const std::string& value) -> absl::StatusOr<Next> {
        if (!within(record)) return Next::kStop;
        if (absl::Status added = reader.Add(record, value); !added.ok()) return added;
        return Next::kGoOn;
      });
  if (!status.ok()) return status;
  return std::move(reader).Store();
}

absl::StatusOr<std::vector<std::uint32_t>> LmdbShape(const std::string& path) {
  auto file = LmdbFile::Open(path);
  if (!file.ok()) return file.status();
  std::vector<std::uint32_t> shape;
  const absl::Status status =
      file->ForEach([](std::uint64_t) { return true; },
                    [&](std::uint64_t, const std::string& value) -> absl::StatusOr<Next> {
                      Datum datum;
                      if (!datum.ParseFromString(value) || datum.channels() < 1 || datum.height() < 1 || datum.width() < 1) {
                        return absl::InvalidArgumentError(absl::StrCat(file->path(), ": record 0 is no Datum"));
                      }
                      for (const int side : {datum.channels(), datum.height(), datum.width()}) shape.push_back(side);
                      return Next::kStop;
                    });
  if (!status.ok()) return status;
  if (shape.empty()) return absl::InvalidArgumentError(absl::StrCat(file->path(), ": has no records"));
  return shape;
}

}  // namespace downpour::worker
