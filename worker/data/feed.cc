#include "worker/data/feed.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
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

enum class Kind : std::uint16_t { kSchema = 1, kBatch = 2, kEnd = 3 };
enum class Type : std::uint8_t { kU8 = 1, kI32 = 2, kI64 = 3, kF32 = 4, kF64 = 5 };

std::size_t SizeOf(Type type) {
  switch (type) {
    case Type::kU8:
      return 1;
    case Type::kI32:
    case Type::kF32:
      return 4;
    case Type::kI64:
    case Type::kF64:
      return 8;
  }
  return 0;
}

template <typename T>
T Get(const std::uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

struct Tensor {
  bool is_label = false;
  Type type = Type::kU8;
  std::uint64_t row_values = 1;
};

class FeedReader {
 public:
  FeedReader(int fd, const FeedOptions& options) : fd_(fd), options_(options) {}

  absl::StatusOr<SampleStore> Read() {
    // Fewer system calls where the descriptor is a pipe and its limit allows; elsewhere it changes nothing.
    fcntl(fd_, F_SETPIPE_SZ, kPipeBytes);
    while (true) {
      frame_offset_ = offset_;
      Header header;
      absl::Status status = ReadHeader(&header);
      if (!status.ok()) return status;
      if (header.kind == Kind::kEnd) {
        status = ReadEnd(header.length);
        if (!status.ok()) return status;
        // An empty partition may not know its types.
        if (!store_.has_value())
          return SampleStore(FeatureType::kU8, options_.sample_size, options_.limit_bytes);
        return *std::move(store_);
      }
      status = header.kind == Kind::kSchema ? ReadSchema(header.length) : ReadBatch(header.length);
      if (!status.ok()) return status;
      ++frame_;
    }
  }

 private:
  struct Header {
    Kind kind = Kind::kEnd;
    std::uint64_t length = 0;
  };

  template <typename... Parts>
  absl::Status Broken(const Parts&... problem) const {
    return absl::InvalidArgumentError(
        absl::StrCat("feed: frame ", frame_, " at offset ", frame_offset_, ": ", problem...));
  }

  // Reads exactly `size` bytes.
  absl::Status ReadBytes(void* to, std::size_t size) {
    auto* next = static_cast<std::uint8_t*>(to);
    while (size > 0) {
      const ssize_t got = read(fd_, next, size);
      if (got > 0) {
        next += got;
        size -= got;
        offset_ += got;
      } else if (got == 0) {
        return absl::AbortedError(absl::StrCat("feed: the launcher is gone: the stream ends at offset ",
                                               offset_, ", in frame ", frame_, ", before its end frame"));
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        pollfd wait{.fd = fd_, .events = POLLIN, .revents = 0};
        poll(&wait, 1, -1);
      } else if (errno != EINTR) {
        return absl::AbortedError(absl::StrCat("feed: cannot be read at offset ", offset_, ", in frame ",
                                               frame_, ": ", std::strerror(errno)));
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadHeader(Header* header) {
    std::uint8_t bytes[kHeaderBytes];
    const absl::Status status = ReadBytes(bytes, sizeof(bytes));
    if (!status.ok()) return status;
    if (std::memcmp(bytes, kMagic.data(), kMagic.size()) != 0) {
      return Broken("starts with '", absl::CHexEscape(std::string(bytes, bytes + kMagic.size())),
                    "', not with 'DPF1': the stream is out of step or no feed");
    }
    const auto kind = Get<std::uint16_t>(bytes + 4);
    if (kind < 1 || kind > 3)
      return Broken("is of kind ", kind, "; known are 1 (schema), 2 (batch) and 3 (end)");
    if (Get<std::uint16_t>(bytes + 6) != 0) return Broken("its reserved bytes are not zero");
    *header = {static_cast<Kind>(kind), Get<std::uint64_t>(bytes + 8)};
    return absl::OkStatus();
  }

  absl::Status ReadSchema(std::uint64_t length) {
    if (store_.has_value()) return Broken("is a second schema");
    if (length < 4 || length > kMaxSchemaBytes) {
      return Broken("is a schema of ", length, " bytes; it needs 4 to ", kMaxSchemaBytes);
    }
    std::vector<std::uint8_t> body(length);
    const absl::Status status = ReadBytes(body.data(), body.size());
    if (!status.ok()) return status;
    const auto count = Get<std::uint32_t>(body.data());
    if (count > kMaxTensors) return Broken("announces ", count, " tensors; at most ", kMaxTensors, " can be");
    std::size_t at = 4;
    for (std::uint32_t i = 0; i < count; ++i) {
      const absl::Status parsed = ParseTensor(body, &at);
      if (!parsed.ok()) return parsed;
    }
    if (at != length) return Broken("has ", length - at, " bytes after its last tensor");
    const auto has = [&](bool label) {
      return std::ranges::any_of(tensors_, [&](const Tensor& tensor) { return tensor.is_label == label; });
    };
    if (!has(false)) return Broken("has no tensor called features");
    if (!has(true)) return Broken("has no tensor called label");
    FeatureType type = FeatureType::kF32;
    for (const Tensor& tensor : tensors_) {
      row_bytes_ += tensor.row_values * SizeOf(tensor.type);
      if (!tensor.is_label && tensor.type == Type::kU8) type = FeatureType::kU8;
    }
    store_.emplace(type, options_.sample_size, options_.limit_bytes);
    return absl::OkStatus();
  }

  absl::Status ParseTensor(std::span<const std::uint8_t> body, std::size_t* at) {
    const auto left = [&] { return body.size() - *at; };
    if (left() < 2) return Broken("ends within its tensors");
    const std::size_t name_bytes = Get<std::uint16_t>(body.data() + *at);
    *at += 2;
    if (left() < name_bytes + 2) return Broken("ends within its tensors");
    const std::string name(body.begin() + *at, body.begin() + *at + name_bytes);
    *at += name_bytes;
    const std::uint8_t type = body[*at];
    const std::size_t rank = body[*at + 1];
    *at += 2;
    const std::string shown = absl::CHexEscape(name.substr(0, 64));
    if (name != "features" && name != "label") {
      return Broken("has a tensor '", shown, "'; only features and label are known");
    }
    Tensor tensor{.is_label = name == "label", .type = static_cast<Type>(type), .row_values = 1};
    for (const Tensor& other : tensors_) {
      if (other.is_label == tensor.is_label) return Broken("has two tensors called ", shown);
    }
    const bool type_fits =
        tensor.is_label ? tensor.type == Type::kU8 || tensor.type == Type::kI32 || tensor.type == Type::kI64
                        : tensor.type == Type::kU8 || tensor.type == Type::kF32 || tensor.type == Type::kF64;
    if (!type_fits) {
      return Broken("gives ", shown, " the data type ", int{type}, "; it may be ",
                    tensor.is_label ? "1 (u8), 2 (i32) or 3 (i64)" : "1 (u8), 4 (f32) or 5 (f64)");
    }
    if (rank > kMaxRank || (tensor.is_label && rank != 0)) {
      return Broken("gives ", shown, " the rank ", rank, "; it may be ", tensor.is_label ? "0" : "0 to 4");
    }
    if (left() < 4 * rank) return Broken("ends within its tensors");
    unsigned __int128 values = 1;
    for (std::size_t i = 0; i < rank; ++i, *at += 4) values *= Get<std::uint32_t>(body.data() + *at);
    const std::uint64_t expected = tensor.is_label ? 1 : options_.sample_size;
    if (values != expected) {
      return Broken("gives ", shown, " ",
                    values >> 64 == 0 ? absl::StrCat(static_cast<std::uint64_t>(values)) : "2^64 or more",
                    " values a row, but data.shape has ", expected);
    }
    tensor.row_values = expected;
    tensors_.push_back(tensor);
    return absl::OkStatus();
  }

  absl::Status ReadBatch(std::uint64_t length) {
    if (!store_.has_value()) return Broken("is a batch before the schema");
    if (length > kMaxBatchBytes) {
      return Broken("is a batch of ", length, " bytes; at most ", kMaxBatchBytes, " can be");
    }
    if (length < 8) return Broken("is a batch of ", length, " bytes; it needs at least 8");
    std::uint8_t head[8];
    absl::Status status = ReadBytes(head, sizeof(head));
    if (!status.ok()) return status;
    const std::uint64_t rows = Get<std::uint32_t>(head);
    if (Get<std::uint32_t>(head + 4) != 0) return Broken("its reserved bytes after the rows are not zero");
    const unsigned __int128 expected = 8 + static_cast<unsigned __int128>(rows) * row_bytes_;
    if (expected != length) {
      return Broken("is a batch of ", length, " bytes, but its ", rows, " rows of ", row_bytes_,
                    " bytes and their count do not make that");
    }
    const std::size_t first = store_->size();
    status = store_->Append(rows);
    if (!status.ok())
      return absl::Status(status.code(), absl::StrCat("feed: frame ", frame_, ": ", status.message()));
    for (const Tensor& tensor : tensors_) {
      status =
          tensor.is_label ? ReadLabels(tensor.type, first, rows) : ReadFeatures(tensor.type, first, rows);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  absl::Status ReadFeatures(Type type, std::size_t first, std::size_t rows) {
    for (std::size_t done = 0; done < rows;) {
      const SampleStore::Run run = store_->FeatureRun(first + done, rows - done);
      const std::size_t values = run.rows * options_.sample_size;
      if (type == Type::kU8) {
        const absl::Status status = ReadBytes(run.features, values);
        if (!status.ok()) return status;
      } else {
        const std::span<float> floats(reinterpret_cast<float*>(run.features), values);
        absl::Status status =
            type == Type::kF32 ? ReadBytes(floats.data(), floats.size_bytes()) : ReadDoubles(floats);
        if (!status.ok()) return status;
        if (const std::optional<std::size_t> bad = kernels::FirstNonFinite(floats)) {
          return Broken("feature ", *bad % options_.sample_size, " of row ",
                        first + done + *bad / options_.sample_size, " (counted over the feed) is ",
                        floats[*bad], type == Type::kF64 ? " as a 32-bit float" : "",
                        "; clean the data first");
        }
      }
      done += run.rows;
    }
    return absl::OkStatus();
  }

  absl::Status ReadDoubles(std::span<float> to) {
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

  absl::Status ReadLabels(Type type, std::size_t first, std::size_t rows) {
    const std::span<std::int32_t> labels = store_->mutable_labels().subspan(first, rows);
    std::array<std::uint8_t, kPieceBytes> piece;
    const std::size_t size = SizeOf(type);
    for (std::size_t done = 0; done < rows;) {
      const std::size_t part = std::min(piece.size() / size, rows - done);
      const absl::Status status = ReadBytes(piece.data(), part * size);
      if (!status.ok()) return status;
      for (std::size_t i = 0; i < part; ++i) {
        const std::uint8_t* p = piece.data() + i * size;
        const std::int64_t label = type == Type::kU8    ? *p
                                   : type == Type::kI32 ? Get<std::int32_t>(p)
                                                        : Get<std::int64_t>(p);
        if (label < 0 || label >= options_.classes) {
          return Broken("the label of row ", first + done + i, " (counted over the feed) is ", label,
                        ", but the net has ", options_.classes, " classes, counted from 0");
        }
        labels[done + i] = static_cast<std::int32_t>(label);
      }
      done += part;
    }
    return absl::OkStatus();
  }

  absl::Status ReadEnd(std::uint64_t length) {
    if (length != 8) return Broken("is an end of ", length, " bytes; it needs 8");
    std::uint8_t body[8];
    const absl::Status status = ReadBytes(body, sizeof(body));
    if (!status.ok()) return status;
    const auto announced = Get<std::uint64_t>(body);
    const std::uint64_t came = store_.has_value() ? store_->size() : 0;
    if (announced != came) return Broken("says that ", announced, " rows were sent, but ", came, " came");
    return absl::OkStatus();
  }

  const int fd_;
  const FeedOptions options_;

  std::uint64_t offset_ = 0;        // of the next byte
  std::uint64_t frame_ = 0;         // being read, from 0
  std::uint64_t frame_offset_ = 0;  // where it starts

  // Set by the schema.
  std::vector<Tensor> tensors_;
  std::uint64_t row_bytes_ = 0;
  std::optional<SampleStore> store_;
};

}  // namespace

absl::StatusOr<SampleStore> ReadFeed(int fd, const FeedOptions& options) {
  return FeedReader(fd, options).Read();
}

}  // namespace downpour::worker
