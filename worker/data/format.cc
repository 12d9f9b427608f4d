#include "worker/data/format.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/data/idx.h"
#include "worker/data/lmdb.h"

namespace downpour::worker {
namespace {

constexpr DataFormat kDataFormats[] = {
    {"idx", ReadIdx},
    {"lmdb", ReadLmdb, /*labels_apart=*/false},
};

}  // namespace

std::span<const DataFormat> DataFormats() { return kDataFormats; }

bool LabelsAreApart(std::string_view format) {
  for (const DataFormat& known : kDataFormats) {
    if (known.name == format) return known.labels_apart;
  }
  return true;
}

absl::StatusOr<SampleStore> ReadSamples(std::string_view format, const SampleSource& source) {
  for (const DataFormat& known : kDataFormats) {
    if (known.name == format) return known.read(source);
  }
  const std::string known =
      absl::StrJoin(kDataFormats, ", ",
                    [](std::string* out, const DataFormat& data_format) { out->append(data_format.name); });
  return absl::InvalidArgumentError(
      absl::StrCat("unknown data.format '", std::string(format), "'; known are: ", known));
}

}  // namespace downpour::worker
