// Frames of contiguous tensors on a descriptor, as worker/CONTRACT.md has them byte by byte: what a launcher feeds to a
// worker, and what a predictor answers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace downpour::worker {

// Numbers on the wire: never changed.
enum class TensorType : std::uint8_t { kU8 = 1, kI32 = 2, kI64 = 3, kF32 = 4, kF64 = 5 };

std::size_t SizeOf(TensorType type);

// One column of a feed.
struct FeedTensor {
  std::string name;
  TensorType type = TensorType::kU8;
  std::vector<std::uint32_t> sides;  // of one row; none for a single value
  std::uint64_t row_values = 1;      // their product; UINT64_MAX where that is more

  std::uint64_t row_bytes() const { return row_values * SizeOf(type); }
};

// What to say of a tensor of features that is not as it should be; empty where it is. They may be bytes or floats,
// `sample_size` a row.
std::string WrongFeatures(const FeedTensor& tensor, std::size_t sample_size);

// For C strings of a peer's, in messages.
std::string ShownName(const std::string& name);

// Reads frame by frame: Next(), then the reader of that kind, with the frame's length. Blocks, on any thread. The
// descriptor stays the caller's, and open. No length is believed before it is checked. All fail with kInvalidArgument
// where the stream breaks a rule, naming the frame's number and its offset, and with kAborted where it ends before its
// end frame or cannot be read: whoever writes it is gone.
class FrameReader {
 public:
  enum class Kind : std::uint16_t { kSchema = 1, kBatch = 2, kEnd = 3, kHeldOut = 4 };
  struct Frame {
    Kind kind = Kind::kEnd;
    std::uint64_t length = 0;
  };

  explicit FrameReader(int fd);

  absl::StatusOr<Frame> Next();

  absl::StatusOr<std::vector<FeedTensor>> ReadSchema(std::uint64_t length);
  // The rows of a batch whose tensors make `row_bytes` of each; the tensors' bytes follow.
  absl::StatusOr<std::uint32_t> ReadBatch(std::uint64_t length, std::uint64_t row_bytes);
  // `came` rows were in the batches.
  absl::Status ReadEnd(std::uint64_t length, std::uint64_t came);

  // Exactly `size` bytes of a batch.
  absl::Status ReadBytes(void* to, std::size_t size);
  // Values of a tensor of kF32 or kF64, of rows from `first_row` on. Refuses what is not finite as a float.
  absl::Status ReadFloats(const FeedTensor& tensor, std::uint64_t first_row, std::span<float> to);

  // A mistake in the frame at hand.
  template <typename... Parts>
  absl::Status Broken(const Parts&... problem) const {
    return absl::InvalidArgumentError(absl::StrCat("feed: frame ", frame_, " at offset ", frame_offset_, ": ", problem...));
  }
  std::uint64_t frame() const { return frame_; }

 private:
  absl::Status ParseTensor(std::span<const std::uint8_t> body, std::size_t* at, FeedTensor* tensor) const;
  absl::Status ReadDoubles(std::span<float> to);

  const int fd_;
  std::uint64_t offset_ = 0;        // of the next byte
  std::uint64_t next_frame_ = 0;
  std::uint64_t frame_ = 0;         // being read, from 0
  std::uint64_t frame_offset_ = 0;  // where it starts
};

// Writes the same. Blocks; kAborted where nobody reads any more.
class FrameWriter {
 public:
  explicit FrameWriter(int fd) : fd_(fd) {}

  absl::Status WriteSchema(std::span<const FeedTensor> tensors);
  // Each tensor's rows, in the order of the schema.
  absl::Status WriteBatch(std::uint32_t rows, std::span<const std::span<const std::byte>> tensors);
  absl::Status WriteEnd();

 private:
  absl::Status WriteFrame(FrameReader::Kind kind, const std::string& head, std::span<const std::span<const std::byte>> rest);
  absl::Status WriteBytes(std::span<const std::byte> bytes);

  const int fd_;
  std::uint64_t rows_ = 0;
};

}  // namespace downpour::worker
