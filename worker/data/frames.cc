#include "worker/data/frames.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>

#include "absl/strings/escaping.h"
#include "kernels/vector_ops.h"

namespace downpour::worker {
namespace {

static_assert(std::endian::native == std::endian::little, "the feed's bytes are used as they come");

constexpr std::string_view kMagic = "DPF1";
constexpr std::size_t kHeaderBytes = 16;
constexpr std::size_t kMaxTensors = 16;
constexpr std::size_t kMaxRank = 4;
constexpr std::size_t kMaxSchemaBytes = 4 + kMaxTensors * (2 + 0xffff + 2 + 4 * kMaxRank);
constexpr std::size_t kMaxBatchBytes = std::size_t{64} << 20;
constexpr std::size_t kPieceBytes = 64 << 10;
constexpr int kPipeBytes = 1 << 20;

template <typename T>
T Get(const std::uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

template <typename T>
void Put(T value, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

// Waits until `fd` can be read or written.
void Await(int fd, short events) {
  pollfd wait{.fd = fd, .events = events, .revents = 0};
  poll(&wait, 1, -1);
}

}  // namespace

std::size_t SizeOf(TensorType type) {
  switch (type) {
    case TensorType::kU8:
      return 1;
    case TensorType::kI32:
    case TensorType::kF32:
      return 4;
    case TensorType::kI64:
    case TensorType::kF64:
      return 8;
  }
  return 0;
}

std::string ShownName(const std::string& name) { return absl::CHexEscape(name.substr(0, 64)); }

std::string WrongFeatures(const FeedTensor& tensor, std::size_t sample_size) {
  if (tensor.type != TensorType::kU8 && tensor.type != TensorType::kF32 && tensor.type != TensorType::kF64) {
    return absl::StrCat("gives ", ShownName(tensor.name), " the data type ", static_cast<int>(tensor.type),
                        "; it may be 1 (u8), 4 (f32) or 5 (f64)");
  }
  if (tensor.row_values != sample_size) {
    const bool countable = tensor.row_values != std::numeric_limits<std::uint64_t>::max();
    return absl::StrCat("gives ", ShownName(tensor.name), " ",
                        countable ? absl::StrCat(tensor.row_values) : "2^64 or more",
                        " values a row, but data.shape has ", sample_size);
  }
  return "";
}

FrameReader::FrameReader(int fd) : fd_(fd) {
  // Fewer system calls where the descriptor is a pipe and its limit allows; elsewhere it changes nothing.
  fcntl(fd_, F_SETPIPE_SZ, kPipeBytes);
}

absl::Status FrameReader::ReadBytes(void* to, std::size_t size) {
  auto* next = static_cast<std::uint8_t*>(to);
  while (size > 0) {
    const ssize_t got = read(fd_, next, size);
    if (got > 0) {
      next += got;
      size -= got;
      offset_ += got;
    } else if (got == 0) {
      return absl::AbortedError(absl::StrCat("feed: the launcher is gone: the stream ends at offset ", offset_,
                                             ", in frame ", frame_, ", before its end frame"));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      Await(fd_, POLLIN);
    } else if (errno != EINTR) {
      return absl::AbortedError(absl::StrCat("feed: cannot be read at offset ", offset_, ", in frame ", frame_, ": ",
                                             std::strerror(errno)));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<FrameReader::Frame> FrameReader::Next() {
  frame_ = next_frame_++;
  frame_offset_ = offset_;
  std::uint8_t bytes[kHeaderBytes];
  const absl::Status status = ReadBytes(bytes, sizeof(bytes));
  if (!status.ok()) return status;
  if (std::memcmp(bytes, kMagic.data(), kMagic.size()) != 0) {
    return Broken("starts with '", absl::CHexEscape(std::string(bytes, bytes + kMagic.size())),
                  "', not with 'DPF1': the stream is out of step or no feed");
  }
  const auto kind = Get<std::uint16_t>(bytes + 4);
  if (kind < 1 || kind > 4) {
    return Broken("is of kind ", kind, "; known are 1 (schema), 2 (batch), 3 (end) and 4 (held-out batch)");
  }
  if (Get<std::uint16_t>(bytes + 6) != 0) return Broken("its reserved bytes are not zero");
  return Frame{static_cast<Kind>(kind), Get<std::uint64_t>(bytes + 8)};
}

absl::StatusOr<std::vector<FeedTensor>> FrameReader::ReadSchema(std::uint64_t length) {
  if (length < 4 || length > kMaxSchemaBytes) {
    return Broken("is a schema of ", length, " bytes; it needs 4 to ", kMaxSchemaBytes);
  }
  std::vector<std::uint8_t> body(length);
  const absl::Status status = ReadBytes(body.data(), body.size());
  if (!status.ok()) return status;
  const auto count = Get<std::uint32_t>(body.data());
  if (count > kMaxTensors) return Broken("announces ", count, " tensors; at most ", kMaxTensors, " can be");
  std::size_t at = 4;
  std::vector<FeedTensor> tensors(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    const absl::Status parsed = ParseTensor(body, &at, &tensors[i]);
    if (!parsed.ok()) return parsed;
    for (std::uint32_t j = 0; j < i; ++j) {
      if (tensors[j].name == tensors[i].name) return Broken("has two tensors called ", ShownName(tensors[i].name));
    }
  }
  if (at != length) return Broken("has ", length - at, " bytes after its last tensor");
  return tensors;
}

absl::Status FrameReader::ParseTensor(std::span<const std::uint8_t> body, std::size_t* at, FeedTensor* tensor) const {
  const auto left = [&] { return body.size() - *at; };
  if (left() < 2) return Broken("ends within its tensors");
  const std::size_t name_bytes = Get<std::uint16_t>(body.data() + *at);
  *at += 2;
  if (left() < name_bytes + 2) return Broken("ends within its tensors");
  tensor->name.assign(body.begin() + *at, body.begin() + *at + name_bytes);
  *at += name_bytes;
  tensor->type = static_cast<TensorType>(body[*at]);
  const std::size_t rank = body[*at + 1];
  *at += 2;
  if (SizeOf(tensor->type) == 0) {
    return Broken("gives ", ShownName(tensor->name), " the data type ", static_cast<int>(tensor->type),
                  "; known are 1 (u8), 2 (i32), 3 (i64), 4 (f32) and 5 (f64)");
  }
  if (rank > kMaxRank) return Broken("gives ", ShownName(tensor->name), " the rank ", rank, "; it may be 0 to 4");
  if (left() < 4 * rank) return Broken("ends within its tensors");
  unsigned __int128 values = 1;
  for (std::size_t i = 0; i < rank; ++i, *at += 4) {
    tensor->sides.push_back(Get<std::uint32_t>(body.data() + *at));
    values *= tensor->sides.back();
  }
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  tensor->row_values = values >> 64 == 0 ? static_cast<std::uint64_t>(values) : kMost;
  return absl::OkStatus();
}

absl::StatusOr<std::uint32_t> FrameReader::ReadBatch(std::uint64_t length, std::uint64_t row_bytes) {
  if (length > kMaxBatchBytes) return Broken("is a batch of ", length, " bytes; at most ", kMaxBatchBytes, " can be");
  if (length < 8) return Broken("is a batch of ", length, " bytes; it needs at least 8");
  std::uint8_t head[8];
  const absl::Status status = ReadBytes(head, sizeof(head));
  if (!status.ok()) return status;
  const auto rows = Get<std::uint32_t>(head);
  if (Get<std::uint32_t>(head + 4) != 0) return Broken("its reserved bytes after the rows are not zero");
  const unsigned __int128 expected = 8 + static_cast<unsigned __int128>(rows) * row_bytes;
  if (expected != length) {
    return Broken("is a batch of ", length, " bytes, but its ", rows, " rows of ", row_bytes,
                  " bytes and their count do not make that");
  }
  return rows;
}

absl::Status FrameReader::ReadEnd(std::uint64_t length, std::uint64_t came) {
  if (length != 8) return Broken("is an end of ", length, " bytes; it needs 8");
  std::uint8_t body[8];
  const absl::Status status = ReadBytes(body, sizeof(body));
  if (!status.ok()) return status;
  const auto announced = Get<std::uint64_t>(body);
  if (announced != came) return Broken("says that ", announced, " rows were sent, but ", came, " came");
  return absl::OkStatus();
}

absl::Status FrameReader::ReadFloats(const FeedTensor& tensor, std::uint64_t first_row, std::span<float> to) {
  const bool doubles = tensor.type == TensorType::kF64;
  const absl::Status status = doubles ? ReadDoubles(to) : ReadBytes(to.data(), to.size_bytes());
  if (!status.ok()) return status;
  if (const std::optional<std::size_t> bad = kernels::FirstNonFinite(to)) {
    return Broken("feature ", *bad % tensor.row_values, " of row ", first_row + *bad / tensor.row_values,
                  " (counted over the feed) is ", to[*bad], doubles ? " as a 32-bit float" : "", "; clean the data first");
  }
  return absl::OkStatus();
}

absl::Status FrameReader::ReadDoubles(std::span<float> to) {
  std::array<double, kPieceBytes / sizeof(double)> piece;
  while (!to.empty()) {
    const std::span<double> part(piece.data(), std::min(piece.size(), to.size()));
    const absl::Status status = ReadBytes(part.data(), part.size_bytes());
    if (!status.ok()) return status;
    kernels::Convert(part, to.first(part.size()));
    to = to.subspan(part.size());
  }
  return absl::OkStatus();
}

absl::Status FrameWriter::WriteBytes(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = write(fd_, bytes.data(), bytes.size());
    if (wrote > 0) {
      bytes = bytes.subspan(wrote);
    } else if (wrote < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      Await(fd_, POLLOUT);
    } else if (wrote == 0 || errno != EINTR) {
      return absl::AbortedError(absl::StrCat("whoever reads the answers is gone: ", std::strerror(errno)));
    }
  }
  return absl::OkStatus();
}

absl::Status FrameWriter::WriteFrame(FrameReader::Kind kind, const std::string& head,
                                     std::span<const std::span<const std::byte>> rest) {
  std::uint64_t length = head.size();
  for (const std::span<const std::byte> bytes : rest) length += bytes.size();
  std::string front(kMagic);
  Put(static_cast<std::uint16_t>(kind), &front);
  Put(std::uint16_t{0}, &front);
  Put(length, &front);
  front += head;
  absl::Status status = WriteBytes(std::as_bytes(std::span(front)));
  for (const std::span<const std::byte> bytes : rest) {
    if (status.ok()) status = WriteBytes(bytes);
  }
  return status;
}

absl::Status FrameWriter::WriteSchema(std::span<const FeedTensor> tensors) {
  std::string body;
  Put(static_cast<std::uint32_t>(tensors.size()), &body);
  for (const FeedTensor& tensor : tensors) {
    Put(static_cast<std::uint16_t>(tensor.name.size()), &body);
    body += tensor.name;
    Put(static_cast<std::uint8_t>(tensor.type), &body);
    Put(static_cast<std::uint8_t>(tensor.sides.size()), &body);
    for (const std::uint32_t side : tensor.sides) Put(side, &body);
  }
  return WriteFrame(FrameReader::Kind::kSchema, body, {});
}

absl::Status FrameWriter::WriteBatch(std::uint32_t rows, std::span<const std::span<const std::byte>> tensors) {
  std::string head;
  Put(rows, &head);
  Put(std::uint32_t{0}, &head);
  rows_ += rows;
  return WriteFrame(FrameReader::Kind::kBatch, head, tensors);
}

absl::Status FrameWriter::WriteEnd() {
  std::string body;
  Put(rows_, &body);
  return WriteFrame(FrameReader::Kind::kEnd, body, {});
}

}  // namespace downpour::worker
