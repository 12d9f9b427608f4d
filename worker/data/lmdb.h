// The format of Caffe's data sets: records of LMDB, each a Datum of bytes or floats with its label.
#pragma once

#include "worker/data/format.h"

namespace downpour::worker {

// source.images is the folder of the database, or its file; labels are in it, so source.labels has to be empty. Fails as
// the other formats do, naming the record; images that are encoded, as JPEG or PNG, are refused.
absl::StatusOr<SampleStore> ReadLmdb(const SampleSource& source);

// Channels, height and width of the first record.
absl::StatusOr<std::vector<std::uint32_t>> LmdbShape(const std::string& path);

}  // namespace downpour::worker
