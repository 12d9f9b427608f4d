#include "proto/shared_region.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace downpour {
namespace {

using Catch::Matchers::Contains;

constexpr uint64_t kBytes = 64 << 10;

std::string WhyNot(const RegionOffer& offer, uint64_t most_bytes = kBytes) {
  const auto opened = SharedRegion::Open(offer, most_bytes);
  return opened.ok() ? "" : std::string(opened.status().message());
}

// A memfd made by hand, with the name that an offer wants.
class Memfd {
 public:
  Memfd(const RegionOffer& like, uint64_t bytes, int seals) : offer_(like) {
    const int fd = memfd_create(RegionName(like).c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING);
    REQUIRE(fd >= 0);
    REQUIRE(ftruncate(fd, static_cast<off_t>(bytes)) == 0);
    if (seals != 0) REQUIRE(fcntl(fd, F_ADD_SEALS, seals) == 0);
    offer_.fd = static_cast<uint32_t>(fd);
  }
  ~Memfd() { close(static_cast<int>(offer_.fd)); }

  const RegionOffer& offer() const { return offer_; }

 private:
  RegionOffer offer_;
};

bool Mapped(const RegionOffer& offer) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find(RegionName(offer)) != std::string::npos) return true;
  }
  return false;
}

TEST_CASE("an offer reads back as it was written") {
  RegionOffer offer{.bytes = 0x0102030405060708, .pid = 77, .fd = 5};
  for (size_t i = 0; i < 16; ++i) offer.boot[i] = static_cast<std::byte>(i + 1);
  for (size_t i = 0; i < 16; ++i) offer.nonce[i] = static_cast<std::byte>(i + 101);
  const auto bytes = EncodeRegionOffer(offer);
  CHECK(DecodeRegionOffer(bytes) == offer);
  const auto at = [&](size_t i) { return static_cast<int>(bytes[i]); };
  CHECK(at(0) == 1);     // boot
  CHECK(at(16) == 101);  // nonce
  CHECK(at(32) == 8);    // bytes, least byte first
  CHECK(at(40) == 77);   // process
  CHECK(at(44) == 5);    // descriptor
}

TEST_CASE("what one side writes the other reads, and nothing is left of it") {
  auto made = SharedRegion::Create(kBytes);
  REQUIRE(made.ok());
  const RegionOffer offer = (*made)->offer();
  const auto piece = (*made)->Take(1000);
  REQUIRE(piece.ok());
  auto opened = SharedRegion::Open(offer, kBytes);
  INFO(opened.status());
  REQUIRE(opened.ok());
  REQUIRE((*opened)->bytes().size() == kBytes);
  std::memset(piece->data(), 42, piece->size());
  CHECK((*opened)->bytes()[999] == std::byte{42});
  (*opened)->bytes()[5] = std::byte{7};
  CHECK((*piece)[5] == std::byte{7});
  made->reset();
  CHECK((*opened)->bytes()[5] == std::byte{7});
  CHECK(Mapped(offer));
  opened->reset();
  CHECK_FALSE(Mapped(offer));
}

TEST_CASE("another process opens it, and a maker that is killed leaves nothing") {
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t maker = fork();
  if (maker == 0) {
    auto made = SharedRegion::Create(kBytes);
    if (!made.ok() || !(*made)->Take(kBytes).ok()) _exit(1);
    (*made)->bytes()[kBytes - 1] = std::byte{9};
    const auto bytes = EncodeRegionOffer((*made)->offer());
    if (write(ready[1], bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) _exit(1);
    pause();
    _exit(0);
  }
  std::array<std::byte, kRegionOfferBytes> bytes;
  REQUIRE(read(ready[0], bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  const RegionOffer offer = DecodeRegionOffer(bytes);
  auto opened = SharedRegion::Open(offer, kBytes);
  kill(maker, SIGKILL);
  waitpid(maker, nullptr, 0);
  close(ready[0]);
  close(ready[1]);
  INFO(opened.status());
  REQUIRE(opened.ok());
  CHECK((*opened)->bytes()[kBytes - 1] == std::byte{9});
  opened->reset();
  CHECK_FALSE(Mapped(offer));
  CHECK_THAT(WhyNot(offer), Contains("is not the region that was offered"));
}

TEST_CASE("pieces are given until there are no more") {
  auto made = SharedRegion::Create(3 * 4096);
  REQUIRE(made.ok());
  const auto first = (*made)->Take(4097);
  REQUIRE(first.ok());
  const auto second = (*made)->Take(4096);
  REQUIRE(second.ok());
  CHECK(second->data() - first->data() == 8192);
  CHECK((*second)[0] == std::byte{0});
  CHECK((*made)->Take(1).status().code() == absl::StatusCode::kResourceExhausted);
  CHECK((*made)->Take(UINT64_MAX).status().code() == absl::StatusCode::kResourceExhausted);
}

TEST_CASE("a size that can't be is refused before anything is looked at") {
  const auto made = SharedRegion::Create(kBytes);
  REQUIRE(made.ok());
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{1}, kBytes - 1, 2 * kBytes, uint64_t{1} << 62, UINT64_MAX}) {
    RegionOffer offer = (*made)->offer();
    offer.bytes = bytes;
    CHECK_THAT(WhyNot(offer), Contains("it may have whole pages up to 65536 bytes"));
  }
  RegionOffer offer = (*made)->offer();
  offer.bytes = kBytes / 2;
  CHECK_THAT(WhyNot(offer), Contains("has 65536 bytes, not 32768"));
  CHECK(SharedRegion::Create(0).status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(SharedRegion::Create(UINT64_MAX).status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("what is not the region that was offered is not opened") {
  const auto made = SharedRegion::Create(kBytes);
  REQUIRE(made.ok());
  const RegionOffer good = (*made)->offer();
  RegionOffer offer = good;
  offer.nonce[3] ^= std::byte{1};
  CHECK_THAT(WhyNot(offer), Contains("is not the region that was offered"));
  offer = good;
  offer.boot[0] ^= std::byte{1};
  CHECK_THAT(WhyNot(offer), Contains("on another host"));
  offer = good;
  offer.fd = 99999;
  CHECK_THAT(WhyNot(offer), Contains("is not the region that was offered"));
  for (const uint32_t nobody : {uint32_t{0}, uint32_t{4194304 - 1}, UINT32_MAX}) {
    offer = good;
    offer.pid = nobody;
    CHECK(WhyNot(offer) != "");
  }
  // Somebody, who has no such descriptor.
  offer = good;
  offer.pid = 1;
  CHECK(WhyNot(offer) != "");
  CHECK(WhyNot(good) == "");
}

TEST_CASE("an ordinary file is not opened, whatever it is called") {
  char folder[] = "/tmp/shared_region_test.XXXXXX";
  REQUIRE(mkdtemp(folder) != nullptr);
  const auto made = SharedRegion::Create(kBytes);
  REQUIRE(made.ok());
  RegionOffer offer = (*made)->offer();
  const std::string path = std::string(folder) + "/memfd:" + RegionName(offer) + " (deleted)";
  const int file = open(path.c_str(), O_RDWR | O_CREAT, 0600);
  REQUIRE(ftruncate(file, kBytes) == 0);
  offer.fd = static_cast<uint32_t>(file);
  CHECK_THAT(WhyNot(offer), Contains("is not the region that was offered"));
  close(file);
  // A FIFO would keep whoever opens it waiting.
  const std::string fifo = std::string(folder) + "/fifo";
  REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
  const int end = open(fifo.c_str(), O_RDONLY | O_NONBLOCK);
  offer.fd = static_cast<uint32_t>(end);
  CHECK_THAT(WhyNot(offer), Contains("is not the region that was offered"));
  close(end);
  std::filesystem::remove_all(folder);
}

TEST_CASE("memory that could shrink is not mapped") {
  const auto made = SharedRegion::Create(kBytes);
  REQUIRE(made.ok());
  const RegionOffer& like = (*made)->offer();
  for (const int seals : {0, F_SEAL_GROW, F_SEAL_GROW | F_SEAL_SEAL, F_SEAL_SHRINK | F_SEAL_GROW}) {
    CAPTURE(seals);
    CHECK_THAT(WhyNot(Memfd(like, kBytes, seals).offer()), Contains("not sealed against shrinking"));
  }
  CHECK_THAT(WhyNot(Memfd(like, kBytes, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | F_SEAL_WRITE).offer()),
             Contains("can't be mapped"));
  CHECK(WhyNot(Memfd(like, kBytes, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL).offer()) == "");
  CHECK_THAT(WhyNot(Memfd(like, kBytes / 2, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL).offer()),
             Contains("has 32768 bytes, not 65536"));
}

TEST_CASE("how much a job's workers offer") {
  CHECK(MostRegionBytes(2, 1000) == 6 * 4096);
  CHECK(MostRegionBytes(0, 2048) == 5 * 8192);
  CHECK(MostRegionBytes(1, UINT64_MAX) == 0);
}

}  // namespace
}  // namespace downpour
