// IDX, the files of MNIST and its kin: two big-endian headers, u8 images (magic 0x00000803, count, rows,
// columns) and u8 labels (magic 0x00000801, count), each plain or gzip.
#pragma once

#include "absl/status/statusor.h"
#include "worker/data/format.h"

namespace downpour::worker {

// Reads the partition's samples into u8 rows. Nothing is allocated on the word of a header. Fails with
// kNotFound (no such file), kInvalidArgument (not IDX, images and labels swapped, another shape, counts that
// differ, a label out of range, bytes after the end), kDataLoss (truncated or damaged) or kResourceExhausted
// (source.limits); each message names the file, what was found there and what was expected. Any thread.
absl::StatusOr<SampleStore> ReadIdx(const SampleSource& source);

}  // namespace downpour::worker
