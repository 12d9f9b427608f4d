#include "worker/data/lmdb_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"

namespace downpour::worker {
namespace {

static_assert(std::endian::native == std::endian::little, "the file is as the machine that wrote it");

constexpr std::uint32_t kMagic = 0xbeefc0de;
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeader = 16;
constexpr std::size_t kNodeHeader = 8;
constexpr std::uint32_t kLeastPage = 512, kMostPage = 65536;
constexpr std::uint64_t kNoPage = ~std::uint64_t{0};
constexpr std::size_t kMostDepth = 32;

enum PageFlags : std::uint16_t { kBranch = 1, kLeaf = 2, kOverflow = 4, kMeta = 8, kKeysAlone = 0x20 };
enum NodeFlags : std::uint16_t { kLarge = 1, kTable = 2, kDuplicates = 4 };

// Where things lie in a meta page.
constexpr std::size_t kMetaBytes = 152;
constexpr std::size_t kMagicAt = 16, kVersionAt = 20, kPageBytesAt = 40, kRootAt = 128, kTransactionAt = 144;

template <typename T>
T At(const void* bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, static_cast<const char*>(bytes) + offset, sizeof(value));
  return value;
}

// A branch or leaf page, and the node that comes next.
struct Page {
  std::vector<char> bytes;
  std::size_t nodes = 0;
  std::size_t next = 0;

  std::uint16_t flags() const { return At<std::uint16_t>(bytes.data(), 10); }
};

}  // namespace

absl::StatusOr<LmdbFile> LmdbFile::Open(const std::string& path) {
  std::error_code error;
  const std::string file = std::filesystem::is_directory(path, error) ? path + "/data.mdb" : path;
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // which does not wait for a pipe's other end
  if (fd < 0) return absl::NotFoundError(absl::StrCat(file, ": cannot be opened: ", std::strerror(errno)));
  struct stat info;
  const bool regular = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  LmdbFile opened(file, fd, regular ? static_cast<std::uint64_t>(info.st_size) : 0);
  if (!regular) return absl::InvalidArgumentError(absl::StrCat(file, ": is no regular file"));
  if (absl::Status status = opened.ReadMeta(); !status.ok()) return status;
  return opened;
}

LmdbFile::LmdbFile(LmdbFile&& other) noexcept
    : path_(other.path_),
      fd_(std::exchange(other.fd_, -1)),
      size_(other.size_),
      page_bytes_(other.page_bytes_),
      root_(other.root_),
      empty_(other.empty_) {}

LmdbFile::~LmdbFile() {
  if (fd_ >= 0) close(fd_);
}

absl::Status LmdbFile::Damaged(const std::string& what) const {
  return absl::InvalidArgumentError(absl::StrCat(path_, ": ", what, "; it is damaged, or no file of LMDB"));
}

absl::Status LmdbFile::ReadAt(std::uint64_t offset, void* to, std::size_t size) const {
  if (size > size_ || offset > size_ - size) return Damaged("ends too early");
  for (std::size_t done = 0; done < size;) {
    const ssize_t got = pread(fd_, static_cast<char*>(to) + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return absl::DataLossError(absl::StrCat(path_, ": cannot be read: ", std::strerror(errno)));
    if (got == 0) return Damaged("ends too early");
    done += static_cast<std::size_t>(got);
  }
  return absl::OkStatus();
}

absl::Status LmdbFile::ReadMeta() {
  char first[kMetaBytes], second[kMetaBytes];
  if (absl::Status status = ReadAt(0, first, kMetaBytes); !status.ok()) return status;
  const auto is_meta = [](const char* bytes) {
    return At<std::uint32_t>(bytes, kMagicAt) == kMagic && At<std::uint32_t>(bytes, kVersionAt) == kVersion;
  };
  if (!is_meta(first)) return Damaged("does not begin as one");
  page_bytes_ = At<std::uint32_t>(first, kPageBytesAt);
  if (page_bytes_ < kLeastPage || page_bytes_ > kMostPage || !std::has_single_bit(page_bytes_)) {
    return Damaged(absl::StrCat("has pages of ", page_bytes_, " bytes"));
  }
  if (absl::Status status = ReadAt(page_bytes_, second, kMetaBytes); !status.ok()) return status;
  const bool later = is_meta(second) &&
                     At<std::uint64_t>(second, kTransactionAt) > At<std::uint64_t>(first, kTransactionAt);
  root_ = At<std::uint64_t>(later ? second : first, kRootAt);
  empty_ = root_ == kNoPage;
  return absl::OkStatus();
}

absl::Status LmdbFile::ForEach(absl::FunctionRef<bool(std::uint64_t)> wanted,
                               absl::FunctionRef<absl::StatusOr<Next>(std::uint64_t, const std::string&)> visit) {
  if (empty_) return absl::OkStatus();
  const std::uint64_t pages = size_ / page_bytes_;
  std::uint64_t visited = 0, taken = 0;
  std::vector<Page> path;
  const auto enter = [&](std::uint64_t number) -> absl::Status {
    if (number >= pages || ++visited > pages || path.size() >= kMostDepth) return Damaged("has a page that leads astray");
    Page page{.bytes = std::vector<char>(page_bytes_)};
    if (absl::Status status = ReadAt(number * page_bytes_, page.bytes.data(), page_bytes_); !status.ok()) return status;
    const std::uint16_t end = At<std::uint16_t>(page.bytes.data(), 12);
    const bool branch = (page.flags() & kBranch) != 0, leaf = (page.flags() & kLeaf) != 0;
    if (branch == leaf || (page.flags() & (kOverflow | kMeta | kKeysAlone)) != 0 || end < kHeader || end > page_bytes_) {
      return Damaged(absl::StrCat("page ", number, " is none of a tree"));
    }
    page.nodes = (end - kHeader) / 2;
    path.push_back(std::move(page));
    return absl::OkStatus();
  };
  if (absl::Status status = enter(root_); !status.ok()) return status;
  std::string value;
  std::uint64_t record = 0;
  while (!path.empty()) {
    Page& page = path.back();
    if (page.next == page.nodes) {
      path.pop_back();
      continue;
    }
    const std::size_t at = At<std::uint16_t>(page.bytes.data(), kHeader + 2 * page.next++);
    if (at > page_bytes_ - kNodeHeader) return Damaged("has a node beyond its page");
    const char* const node = page.bytes.data() + at;
    const auto low = At<std::uint16_t>(node, 0), high = At<std::uint16_t>(node, 2);
    const auto flags = At<std::uint16_t>(node, 4), key = At<std::uint16_t>(node, 6);
    if ((page.flags() & kBranch) != 0) {
      const std::uint64_t below = low | std::uint64_t{high} << 16 | std::uint64_t{flags} << 32;
      if (absl::Status status = enter(below); !status.ok()) return status;
      continue;
    }
    if ((flags & (kTable | kDuplicates)) != 0) return Damaged("has tables within its records");
    const std::uint64_t length = low | std::uint64_t{high} << 16;
    const std::size_t begin = at + kNodeHeader + key;
    const std::size_t here = (flags & kLarge) != 0 ? sizeof(std::uint64_t) : length;
    if (begin > page_bytes_ || here > page_bytes_ - begin) return Damaged("has a value beyond its page");
    taken += kNodeHeader + key + length;
    if (taken > size_) return Damaged("has values that lie over each other");
    if (!wanted(record)) {
      ++record;
      continue;
    }
    if ((flags & kLarge) == 0) {
      value.assign(page.bytes.data() + begin, length);
    } else {
      const auto number = At<std::uint64_t>(page.bytes.data(), begin);
      if (number >= pages || length > size_) return Damaged("has a value that is nowhere");
      char header[kHeader];
      if (absl::Status status = ReadAt(number * page_bytes_, header, kHeader); !status.ok()) return status;
      const std::uint64_t room = At<std::uint32_t>(header, 12) * std::uint64_t{page_bytes_};
      const std::uint64_t offset = number * page_bytes_ + kHeader;
      if ((At<std::uint16_t>(header, 10) & kOverflow) == 0 || length + kHeader > room || length > size_ - offset) {
        return Damaged("has a value that is nowhere");
      }
      value.resize(length);
      if (absl::Status status = ReadAt(offset, value.data(), length); !status.ok()) return status;
    }
    const auto next = visit(record++, value);
    if (!next.ok()) return next.status();
    if (*next == Next::kStop) return absl::OkStatus();
  }
  return absl::OkStatus();
}

}  // namespace downpour::worker
