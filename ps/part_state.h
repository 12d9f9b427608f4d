// All that is known of a part and outlives the server that has it: what a checkpoint keeps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/frame.h"
#include "proto/payload.h"

namespace downpour::ps {

struct PartState {
  struct Member {
    uint64_t sequence = 0;  // of the last push that was applied
    uint64_t position = 0;  // samples that it completed
    uint64_t clock = 0;     // the next that it owes

    friend bool operator==(const Member&, const Member&) = default;
  };

  uint32_t table = 0;
  uint32_t part = 0;
  uint64_t begin = 0;  // elements of the table
  uint64_t end = 0;
  uint32_t slots = 0;
  bool set = false;
  bool warm = true;
  uint64_t version = 0;
  uint64_t clock = 0;
  uint32_t next_rounds = 0;
  std::vector<Member> members;  // by partition
  // The part's floats, then each slot's. Empty where there was no memory for a copy.
  Payload floats;

  uint64_t float_bytes() const { return (end - begin) * (1 + uint64_t{slots}) * sizeof(float); }
};

inline constexpr uint32_t kMostMembers = 1 << 20;
inline constexpr uint32_t kMostSlots = 16;
inline constexpr uint64_t kPartStateHeadBytes = 58;
inline constexpr uint64_t kMaxPartStateBytes =
    kPartStateHeadBytes + uint64_t{kMostMembers} * 24 + kMaxPartBytes * (1 + uint64_t{kMostSlots});

// The state without its floats, which follow. The bytes are described in README.md.
std::string EncodePartState(const PartState& state);

// Trusts nothing. `bytes` are in `owner`, and the floats refer to them. DataLoss, with what makes no sense.
absl::StatusOr<PartState> DecodePartState(const std::shared_ptr<const std::byte[]>& owner,
                                          std::span<const std::byte> bytes);

}  // namespace downpour::ps
