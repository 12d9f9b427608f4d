#include "ps/part_state.h"

#include <utility>

#include "ps/fields.h"

namespace downpour::ps {

std::string EncodePartState(const PartState& state) {
  const auto& [table, part, begin, end, slots, set, warm, version, clock, next_rounds, members, floats] = state;
  Fields out;
  out.Put(table).Put(part).Put(begin).Put(end).Put(slots);
  out.Put(static_cast<uint8_t>(set)).Put(static_cast<uint8_t>(warm));
  out.Put(version).Put(clock).Put(next_rounds).Put(static_cast<uint32_t>(members.size()));
  for (const auto& [sequence, position, at] : members) out.Put(sequence).Put(position).Put(at);
  return out.Take();
}

absl::StatusOr<PartState> DecodePartState(const std::shared_ptr<const std::byte[]>& owner,
                                          std::span<const std::byte> bytes) {
  Cursor in(bytes);
  PartState state;
  state.table = in.Get<uint32_t>();
  state.part = in.Get<uint32_t>();
  state.begin = in.Get<uint64_t>();
  state.end = in.Get<uint64_t>();
  state.slots = in.Get<uint32_t>();
  state.set = in.GetBool();
  state.warm = in.GetBool();
  state.version = in.Get<uint64_t>();
  state.clock = in.Get<uint64_t>();
  state.next_rounds = in.Get<uint32_t>();
  const auto members = in.Get<uint32_t>();
  constexpr uint64_t kMemberBytes = 24;
  if (members > kMostMembers || members * kMemberBytes > in.left()) {
    return absl::DataLossError("a part's state with more partitions than it has bytes for");
  }
  for (uint32_t i = 0; i < members; ++i) {
    PartState::Member& member = state.members.emplace_back();
    member.sequence = in.Get<uint64_t>();
    member.position = in.Get<uint64_t>();
    member.clock = in.Get<uint64_t>();
  }
  const bool sane =
      state.begin < state.end && state.end - state.begin <= kMaxPartBytes / sizeof(float) && state.slots <= kMostSlots;
  if (!sane) return absl::DataLossError("a part's state of no part that there can be");
  const std::span<const std::byte> floats = in.Rest();
  if (!in.complete() || floats.size() != state.float_bytes()) {
    return absl::DataLossError("a part's state whose length does not match");
  }
  state.floats = Payload(owner, std::vector<Payload::Bytes>{floats});
  return state;
}

}  // namespace downpour::ps
