// Memory that a worker and a server on one host both have mapped, so that what they exchange need not be copied through
// a socket. proto/README.md says how they agree on it.
//
// The worker makes it, nameless in any file system: it is gone when the last process that has it mapped is. The server
// opens it by the worker's number and descriptor. What lies in it may be changed by the other side at any moment, so
// only floats are read from it in place; lengths and all else that has structure come by the socket.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace downpour {

// Pieces that frames name begin at multiples of it.
inline constexpr size_t kRegionAlignment = 64;

inline constexpr size_t kRegionOfferBytes = 48;

// Where a region is to be had: the payload of a hello.
struct RegionOffer {
  std::array<std::byte, 16> boot{};   // the host's, so that another host's process is not taken for the worker
  std::array<std::byte, 16> nonce{};  // of this region, so that another descriptor is not taken for it
  uint64_t bytes = 0;
  uint32_t pid = 0;
  uint32_t fd = 0;

  friend bool operator==(const RegionOffer&, const RegionOffer&) = default;
};

std::array<std::byte, kRegionOfferBytes> EncodeRegionOffer(const RegionOffer& offer);
RegionOffer DecodeRegionOffer(std::span<const std::byte, kRegionOfferBytes> bytes);

class SharedRegion {
 public:
  // A region of `bytes`, of which none takes memory until it is taken. Unavailable: the system has no such memory.
  static absl::StatusOr<std::shared_ptr<SharedRegion>> Create(uint64_t bytes);

  // Maps what another process, or this one, has made. Nothing of an offer is believed: InvalidArgument for one that
  // can't be, or of more than `most_bytes`; FailedPrecondition for one of another host; NotFound where what is there is
  // not the region that is offered, or may not be opened, or could shrink beneath us. Never blocks.
  static absl::StatusOr<std::shared_ptr<SharedRegion>> Open(const RegionOffer& offer, uint64_t most_bytes);

  ~SharedRegion();
  SharedRegion(const SharedRegion&) = delete;
  SharedRegion& operator=(const SharedRegion&) = delete;

  const RegionOffer& offer() const { return offer_; }
  std::span<std::byte> bytes() const { return {data_, static_cast<size_t>(offer_.bytes)}; }
  // The maker's, on one thread: the next piece, all zero, at the beginning of a page. ResourceExhausted where the
  // region or the system's memory has no more room.
  absl::StatusOr<std::span<std::byte>> Take(uint64_t bytes);

 private:
  SharedRegion(const RegionOffer& offer, std::byte* data, int fd) : offer_(offer), data_(data), fd_(fd) {}

  const RegionOffer offer_;
  std::byte* const data_;
  const int fd_;        // the maker's; -1 where it was opened
  uint64_t taken_ = 0;  // of the maker's bytes
};

// The name that the system shows of it in /proc, as it ends a link in a process's fd folder or a line of its maps.
std::string RegionName(const RegionOffer& offer);

// The most that a job's workers offer: vectors as long as its parameters for all gradients that may be under way, and
// for the parameters. 0 where that is no number.
uint64_t MostRegionBytes(uint32_t max_pushes_in_flight, uint64_t elements);

}  // namespace downpour
