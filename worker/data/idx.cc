#include "worker/data/idx.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace downpour::worker {
namespace {

constexpr std::uint8_t kUnsignedByte = 0x08;
constexpr std::size_t kMaxRank = 4;
constexpr std::size_t kPieceBytes = 64 << 10;
constexpr unsigned kBufferBytes = 256 << 10;

// A file, plain or gzip, as its uncompressed bytes.
class File {
 public:
  static absl::StatusOr<File> Open(const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // which does not wait for a pipe's other end
    if (fd < 0) {
      return absl::NotFoundError(absl::StrCat(path, ": cannot be opened: ", std::strerror(errno)));
    }
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
      close(fd);
      return absl::InvalidArgumentError(absl::StrCat(path, ": is ", S_ISDIR(info.st_mode) ? "a folder" : "no regular file",
                                                     ", not an IDX file"));
    }
    gzFile file = gzdopen(fd, "rb");
    if (file == nullptr) {
      close(fd);
      return absl::ResourceExhaustedError(absl::StrCat(path, ": no memory to read it"));
    }
    gzbuffer(file, kBufferBytes);
    return File(path, file);
  }

  const std::string& path() const { return path_; }
  std::uint64_t bytes_read() const { return bytes_read_; }

  // Reads up to `size` bytes; fewer only at the end of the file.
  absl::StatusOr<std::size_t> Read(void* to, std::size_t size) {
    std::size_t done = 0;
    while (done < size) {
      const unsigned piece = static_cast<unsigned>(std::min(size - done, std::size_t{1} << 30));
      const int got = gzread(file_.get(), static_cast<char*>(to) + done, piece);
      if (got > 0) {
        done += got;
        bytes_read_ += got;
        continue;
      }
      int error = Z_OK;
      const char* words = gzerror(file_.get(), &error);
      if (error == Z_OK || error == Z_STREAM_END) break;
      return absl::DataLossError(
          absl::StrCat(path_, ": truncated or damaged after ", bytes_read_,
                       " uncompressed bytes: ", error == Z_ERRNO ? std::strerror(errno) : words));
    }
    return done;
  }

  // Reads exactly `size` bytes of the `expected_total` that the file should have.
  absl::Status ReadAll(void* to, std::size_t size, std::uint64_t expected_total) {
    absl::StatusOr<std::size_t> got = Read(to, size);
    if (!got.ok()) return got.status();
    if (*got == size) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat(path_, ": truncated: its header asks for ", expected_total,
                                            " bytes, it has ", bytes_read_, "; copy it again"));
  }

  absl::Status Skip(std::uint64_t size, std::uint64_t expected_total) {
    std::array<char, 16 << 10> dropped;
    while (size > 0) {
      const std::size_t piece = std::min<std::uint64_t>(size, dropped.size());
      const absl::Status status = ReadAll(dropped.data(), piece, expected_total);
      if (!status.ok()) return status;
      size -= piece;
    }
    return absl::OkStatus();
  }

  absl::Status ExpectEnd() {
    char byte;
    const std::uint64_t expected = bytes_read_;
    absl::StatusOr<std::size_t> got = Read(&byte, 1);
    if (!got.ok()) return got.status();
    if (*got == 0) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ": has more than the ", expected, " bytes that its header asks for"));
  }

 private:
  struct Close {
    void operator()(gzFile_s* file) const { gzclose(file); }
  };

  File(std::string path, gzFile file) : path_(std::move(path)), file_(file) {}

  std::string path_;
  std::unique_ptr<gzFile_s, Close> file_;
  std::uint64_t bytes_read_ = 0;
};

struct Header {
  std::uint64_t count = 0;
  std::vector<std::uint32_t> shape;  // of one item
  std::uint64_t total_bytes = 0;     // of the file, uncompressed; 0 where 64 bits cannot hold it
};

std::uint32_t BigEndian(const std::uint8_t* p) {
  return std::uint32_t{p[0]} << 24 | std::uint32_t{p[1]} << 16 | std::uint32_t{p[2]} << 8 | p[3];
}

absl::StatusOr<Header> ReadHeader(File& file) {
  std::uint8_t bytes[4 * (1 + kMaxRank)];
  absl::StatusOr<std::size_t> got = file.Read(bytes, 4);
  if (!got.ok()) return got.status();
  const std::size_t rank = *got == 4 ? bytes[3] : 0;
  if (*got < 4 || bytes[0] != 0 || bytes[1] != 0 || rank < 1 || rank > kMaxRank) {
    return absl::InvalidArgumentError(
        absl::StrCat(file.path(), ": is no IDX file: it starts with ",
                     *got < 4 ? absl::StrCat("only ", *got, " bytes")
                              : absl::StrCat("0x", absl::Hex(BigEndian(bytes), absl::kZeroPad8)),
                     ", not 0x00000803 (images) or 0x00000801 (labels)"));
  }
  if (bytes[2] != kUnsignedByte) {
    return absl::InvalidArgumentError(absl::StrCat(file.path(), ": holds IDX type 0x",
                                                   absl::Hex(bytes[2], absl::kZeroPad2),
                                                   "; only 0x08, unsigned bytes, can be read"));
  }
  const absl::Status status = file.ReadAll(bytes + 4, 4 * rank, 4 + 4 * rank);
  if (!status.ok()) return status;
  Header header{.count = BigEndian(bytes + 4), .shape = {}, .total_bytes = 0};
  unsigned __int128 total = header.count;
  for (std::size_t i = 1; i < rank; ++i) {
    header.shape.push_back(BigEndian(bytes + 4 + 4 * i));
    total *= header.shape.back();
  }
  total += 4 + 4 * rank;
  header.total_bytes = total >> 64 == 0 ? static_cast<std::uint64_t>(total) : 0;
  return header;
}

// Sides of 1 at the front mean nothing: {1, 28, 28} is {28, 28}.
std::span<const std::uint32_t> Significant(std::span<const std::uint32_t> shape) {
  while (shape.size() > 1 && shape.front() == 1) shape = shape.subspan(1);
  return shape;
}

absl::Status CheckImages(const File& images, const Header& image_header, const SampleSource& source) {
  if (image_header.shape.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(images.path(), ": holds labels (0x00000801), not images; check the path of the images"));
  }
  if (!std::ranges::equal(Significant(image_header.shape), Significant(source.shape))) {
    return absl::InvalidArgumentError(absl::StrCat(images.path(), ": its images are ",
                                                   absl::StrJoin(image_header.shape, "x"),
                                                   ", but data.shape is ", absl::StrJoin(source.shape, "x")));
  }
  return absl::OkStatus();
}

absl::Status CheckLabels(const File& images, const Header& image_header, const File& labels,
                         const Header& label_header) {
  if (!label_header.shape.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(labels.path(), ": holds images (0x0000080",
                                                   1 + label_header.shape.size(),
                                                   "), not labels; check the path of the labels"));
  }
  if (image_header.count != label_header.count) {
    return absl::InvalidArgumentError(absl::StrCat(images.path(), " has ", image_header.count,
                                                   " images, but ", labels.path(), " has ",
                                                   label_header.count, " labels; they are not of one set"));
  }
  return absl::OkStatus();
}

bool IsChosen(std::uint64_t sample, const SampleSource& source) {
  return sample % source.partitions == source.partition;
}

// Adds the partition's samples of the first `count` with their labels; features are not written yet.
absl::Status ReadLabels(File& file, const Header& header, std::uint64_t count, const SampleSource& source,
                        SampleStore& store) {
  std::array<std::uint8_t, kPieceBytes> piece;
  for (std::uint64_t first = 0; first < header.count;) {
    const std::size_t size = std::min<std::uint64_t>(piece.size(), header.count - first);
    absl::Status status = file.ReadAll(piece.data(), size, header.total_bytes);
    if (!status.ok()) return status;
    for (std::size_t i = 0; i < size && first + i < count; ++i) {
      if (!IsChosen(first + i, source)) continue;
      if (source.classes > 0 && piece[i] >= source.classes) {
        return absl::InvalidArgumentError(absl::StrCat(file.path(), ": label ", first + i, " is ",
                                                       int{piece[i]}, ", but the net has ", source.classes,
                                                       " classes, counted from 0"));
      }
      status = store.Append(1);
      if (!status.ok()) return status;
      if (source.classes > 0) {
        store.mutable_labels().back() = piece[i];
      } else {
        store.mutable_numbers().back() = piece[i];
      }
    }
    first += size;
  }
  return file.ExpectEnd();
}

absl::Status ReadImages(File& file, const Header& header, std::uint64_t count, const SampleSource& source,
                        SampleStore& store) {
  const std::uint64_t row_bytes = store.row_bytes();
  if (source.partitions == 1) {
    for (std::size_t row = 0; row < store.size();) {
      const auto run = store.AddFeatures(store.size() - row);
      if (!run.ok()) return run.status();
      const absl::Status status = file.ReadAll(run->bytes, run->rows * row_bytes, header.total_bytes);
      if (!status.ok()) return status;
      row += run->rows;
    }
  } else {
    for (std::uint64_t sample = 0; sample < count; ++sample) {
      if (!IsChosen(sample, source)) {
        if (absl::Status status = file.Skip(row_bytes, header.total_bytes); !status.ok()) return status;
        continue;
      }
      const auto run = store.AddFeatures(1);
      if (!run.ok()) return run.status();
      if (absl::Status status = file.ReadAll(run->bytes, row_bytes, header.total_bytes); !status.ok()) return status;
    }
  }
  // What a limit leaves out is not read, so not checked either.
  return count == header.count ? file.ExpectEnd() : absl::OkStatus();
}

// Images whose labels nobody asks for, and which are 0: one by one, for the file may be shorter than its header says.
absl::Status ReadUnlabelled(File& file, const Header& header, std::uint64_t count, const SampleSource& source,
                            SampleStore& store) {
  for (std::uint64_t sample = 0; sample < count; ++sample) {
    if (!IsChosen(sample, source)) {
      if (absl::Status status = file.Skip(store.row_bytes(), header.total_bytes); !status.ok()) return status;
      continue;
    }
    if (absl::Status status = store.Append(1); !status.ok()) return status;
    const auto run = store.AddFeatures(1);
    if (!run.ok()) return run.status();
    if (absl::Status status = file.ReadAll(run->bytes, store.row_bytes(), header.total_bytes); !status.ok()) return status;
  }
  return count == header.count ? file.ExpectEnd() : absl::OkStatus();
}

}  // namespace

absl::StatusOr<SampleStore> ReadIdx(const SampleSource& source) {
  if (source.partitions == 0 || source.partition >= source.partitions) {
    return absl::InvalidArgumentError(
        absl::StrCat("partition ", source.partition, " of ", source.partitions, " cannot be"));
  }
  absl::StatusOr<File> images = File::Open(source.images);
  if (!images.ok()) return images.status();
  absl::StatusOr<File> labels = source.labelled ? File::Open(source.labels) : absl::InternalError("not opened");
  if (source.labelled && !labels.ok()) return labels.status();
  absl::StatusOr<Header> image_header = ReadHeader(*images);
  if (!image_header.ok()) return image_header.status();
  absl::StatusOr<Header> label_header = source.labelled ? ReadHeader(*labels) : Header();
  if (!label_header.ok()) return label_header.status();
  if (source.labelled && image_header->shape.empty() && !label_header->shape.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("images and labels look swapped: ", images->path(),
                                                   " holds labels and ", labels->path(), " holds images"));
  }
  absl::Status status = CheckImages(*images, *image_header, source);
  if (!status.ok()) return status;

  // From the job's shape, which the header's has been compared with.
  std::size_t sample_size = 1;
  for (const std::uint32_t side : source.shape) sample_size *= side;
  const std::uint64_t count =
      source.limit == 0 ? image_header->count : std::min(source.limit, image_header->count);
  SampleStore store(FeatureType::kU8, sample_size, source.limits, {.numbers = source.classes == 0});
  if (source.labelled) {
    status = CheckLabels(*images, *image_header, *labels, *label_header);
    if (status.ok()) status = ReadLabels(*labels, *label_header, count, source, store);
    if (status.ok()) status = ReadImages(*images, *image_header, count, source, store);
  } else {
    status = ReadUnlabelled(*images, *image_header, count, source, store);
  }
  if (!status.ok()) return status;
  return store;
}

}  // namespace downpour::worker
