#include "proto/shared_region.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <fstream>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

// Newer than the headers of some systems; the kernel says EINVAL where it does not know it.
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

namespace downpour {
namespace {

// Pieces are whole pages, so that each has memory of its own.
constexpr uint64_t kPage = 4096;
// No process has more addresses.
constexpr uint64_t kMostBytes = uint64_t{1} << 46;
// Without them it could shrink, and whoever reads what is no longer there is killed.
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

uint64_t WholePages(uint64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

std::string Error(absl::string_view what) { return absl::StrCat(what, ": ", strerror(errno)); }

// A descriptor that is closed unless it is given away.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

std::string_view Characters(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string Hex(std::span<const std::byte> bytes) {
  const std::string_view characters = Characters(bytes);
  return absl::BytesToHexString({characters.data(), characters.size()});
}

absl::StatusOr<std::array<std::byte, 16>> BootId() {
  std::string text;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> text;
  const std::string bytes = absl::HexStringToBytes(absl::StrReplaceAll(text, {{"-", ""}}));
  std::array<std::byte, 16> id;
  if (bytes.size() != id.size()) return absl::UnavailableError("the system does not tell its boot id");
  std::memcpy(id.data(), bytes.data(), id.size());
  return id;
}

int MakeFile(const std::string& name) {
  const int fd = memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
  return fd >= 0 || errno != EINVAL ? fd : memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

std::string LinkOf(const std::string& path) {
  std::array<char, 256> text;
  const ssize_t size = readlink(path.c_str(), text.data(), text.size());
  return size < 0 ? "" : std::string(text.data(), size);
}

absl::StatusOr<std::byte*> Map(int fd, uint64_t bytes) {
  void* const pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (pages == MAP_FAILED) return absl::UnavailableError(Error("it can't be mapped"));
  madvise(pages, bytes, MADV_HUGEPAGE);  // Only advice: without it, things are slower.
  return static_cast<std::byte*>(pages);
}

}  // namespace

std::array<std::byte, kRegionOfferBytes> EncodeRegionOffer(const RegionOffer& offer) {
  std::array<std::byte, kRegionOfferBytes> bytes{};
  std::byte* at = std::copy(offer.boot.begin(), offer.boot.end(), bytes.data());
  at = std::copy(offer.nonce.begin(), offer.nonce.end(), at);
  const auto put = [&at](uint64_t value, int size) {
    for (int i = 0; i < size; ++i) *at++ = static_cast<std::byte>(value >> (8 * i));
  };
  put(offer.bytes, 8);
  put(offer.pid, 4);
  put(offer.fd, 4);
  return bytes;
}

RegionOffer DecodeRegionOffer(std::span<const std::byte, kRegionOfferBytes> bytes) {
  RegionOffer offer;
  std::copy_n(bytes.begin(), 16, offer.boot.begin());
  std::copy_n(bytes.begin() + 16, 16, offer.nonce.begin());
  const auto get = [&bytes](size_t at, int size) {
    uint64_t value = 0;
    for (int i = 0; i < size; ++i) value |= static_cast<uint64_t>(bytes[at + i]) << (8 * i);
    return value;
  };
  offer.bytes = get(32, 8);
  offer.pid = static_cast<uint32_t>(get(40, 4));
  offer.fd = static_cast<uint32_t>(get(44, 4));
  return offer;
}

absl::StatusOr<std::shared_ptr<SharedRegion>> SharedRegion::Create(uint64_t bytes) {
  if (bytes == 0 || bytes > kMostBytes)
    return absl::InvalidArgumentError(absl::StrCat("no region has ", bytes, " bytes"));
  RegionOffer offer{.bytes = WholePages(bytes), .pid = static_cast<uint32_t>(getpid())};
  const auto boot = BootId();
  if (!boot.ok()) return boot.status();
  offer.boot = *boot;
  if (getrandom(offer.nonce.data(), offer.nonce.size(), 0) != static_cast<ssize_t>(offer.nonce.size())) {
    return absl::UnavailableError(Error("no random bytes"));
  }
  // The system kills a process that makes a file larger than that.
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < offer.bytes) {
    return absl::UnavailableError(
        absl::StrCat("this process may have files of ", uint64_t{limit.rlim_cur}, " bytes, not of ", offer.bytes));
  }
  Descriptor fd(MakeFile(RegionName(offer)));
  if (fd.get() < 0) return absl::UnavailableError(Error("the system makes no memory to share"));
  if (ftruncate(fd.get(), static_cast<off_t>(offer.bytes)) != 0 || fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0) {
    return absl::UnavailableError(Error("no memory to share"));
  }
  offer.fd = static_cast<uint32_t>(fd.get());
  const auto data = Map(fd.get(), offer.bytes);
  if (!data.ok()) return data.status();
  return std::shared_ptr<SharedRegion>(new SharedRegion(offer, *data, fd.Release()));
}

absl::StatusOr<std::shared_ptr<SharedRegion>> SharedRegion::Open(const RegionOffer& offer, uint64_t most_bytes) {
  if (offer.bytes == 0 || offer.bytes % kPage != 0 || offer.bytes > std::min(most_bytes, kMostBytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a region of ", offer.bytes, " bytes; it may have whole pages up to ", most_bytes, " bytes"));
  }
  if (offer.pid == 0 || offer.pid > INT_MAX || offer.fd > INT_MAX) {
    return absl::InvalidArgumentError("a region of no process");
  }
  const auto boot = BootId();
  if (!boot.ok()) return boot.status();
  if (*boot != offer.boot) return absl::FailedPreconditionError("it is on another host");
  const auto wrong = [&offer](absl::string_view what) {
    return absl::NotFoundError(absl::StrCat("descriptor ", offer.fd, " of process ", offer.pid, " ", what));
  };
  const std::string path = absl::StrCat("/proc/", offer.pid, "/fd/", offer.fd);
  // Before it is opened too: to open a device may do something.
  const std::string link = absl::StrCat("/memfd:", RegionName(offer), " (deleted)");
  if (LinkOf(path) != link) {
    return wrong("is not the region that was offered, seen from here: another user's, or in a container of its own?");
  }
  const Descriptor fd(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (fd.get() < 0) return wrong(Error("can't be opened"));
  struct stat found{};
  if (LinkOf(absl::StrCat("/proc/self/fd/", fd.get())) != link || fstat(fd.get(), &found) != 0) {
    return wrong("is not the region that was offered");
  }
  if (found.st_uid != geteuid()) return wrong("is another user's");
  if (static_cast<uint64_t>(found.st_size) != offer.bytes) {
    return wrong(absl::StrCat("has ", found.st_size, " bytes, not ", offer.bytes));
  }
  const int seals = fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) return wrong("is not sealed against shrinking");
  const auto data = Map(fd.get(), offer.bytes);
  if (!data.ok()) return wrong(data.status().message());
  return std::shared_ptr<SharedRegion>(new SharedRegion(offer, *data, -1));
}

SharedRegion::~SharedRegion() {
  munmap(data_, offer_.bytes);
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<std::span<std::byte>> SharedRegion::Take(uint64_t bytes) {
  if (bytes == 0 || bytes > offer_.bytes - taken_ || fd_ < 0) {
    return absl::ResourceExhaustedError(absl::StrCat("the region has no room for ", bytes, " bytes more"));
  }
  // Now, that a lack of memory is an error and not a signal when it is first written to.
  int error = 0;
  do {
    error = posix_fallocate(fd_, static_cast<off_t>(taken_), static_cast<off_t>(bytes));
  } while (error == EINTR);
  if (error != 0) {
    return absl::ResourceExhaustedError(absl::StrCat("no memory for ", bytes, " bytes to share: ", strerror(error)));
  }
  const std::span<std::byte> piece(data_ + taken_, bytes);
  taken_ = std::min(offer_.bytes, taken_ + WholePages(bytes));
  return piece;
}

std::string RegionName(const RegionOffer& offer) { return absl::StrCat("downpour-", Hex(offer.nonce)); }

uint64_t MostRegionBytes(uint32_t max_pushes_in_flight, uint64_t elements) {
  const uint64_t vectors = std::max<uint64_t>(max_pushes_in_flight, 1) + 4;
  if (elements > kMostBytes / sizeof(float) / vectors) return 0;
  return vectors * WholePages(elements * sizeof(float));
}

}  // namespace downpour
