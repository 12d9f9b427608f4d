// The file formats that samples can be read from, by the name that stands in `data.format`.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/data/sample_store.h"

namespace downpour::worker {

// What to read.
struct SampleSource {
  std::string images;                // path
  std::string labels;                // path; none where the format has them with the images
  bool labelled = true;              // otherwise labels are not read, and all 0
  std::vector<std::uint32_t> shape;  // of one sample, as data.shape
  int classes = 0;                   // a label must lie in [0, classes); 0 where labels are numbers
  std::uint64_t limit = 0;           // only the first so many samples, before they are shared out; 0 for all
  std::uint32_t partition = 0;       // samples partition, partition + partitions, ... of them
  std::uint32_t partitions = 1;
  StoreLimits limits = {};           // by default all is kept in memory
};

struct DataFormat {
  std::string_view name;
  absl::StatusOr<SampleStore> (*read)(const SampleSource& source);
  bool labels_apart = true;  // they have a path of their own
};

// Every format. To add one: a file in this folder, a line in format.cc and a choice of data.format in
// job.proto.
std::span<const DataFormat> DataFormats();

// Whether labels of that format have a path of their own, as those of a format that is not known.
bool LabelsAreApart(std::string_view format);

// Reads by the format of that name; an unknown one fails with kInvalidArgument and the known ones. Any
// thread.
absl::StatusOr<SampleStore> ReadSamples(std::string_view format, const SampleSource& source);

}  // namespace downpour::worker
