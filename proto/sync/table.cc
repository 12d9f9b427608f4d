#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/sync/mode.h"

namespace downpour {
namespace {

constexpr std::array kModes = {
    &kDownpour,
    &kAsp,
    &kBsp,
    &kSsp,
    &kLocalSgd,
    &kEasgd,
    &kPeer,
};

}  // namespace

uint64_t SlowestClock(std::span<const MemberView> members) {
  uint64_t least = UINT64_MAX;
  for (const MemberView& member : members) {
    if (member.membership == Membership::kLive) least = std::min(least, member.clock);
  }
  return least == UINT64_MAX ? 0 : least;
}

std::span<const SyncMode* const> SyncModes() { return kModes; }

absl::StatusOr<const SyncMode*> FindSyncMode(absl::string_view name) {
  for (const SyncMode* mode : kModes) {
    if (mode->name == name) return mode;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "no sync mode '", name, "'; the modes are ",
      absl::StrJoin(kModes, ", ", [](std::string* out, const SyncMode* m) { absl::StrAppend(out, m->name); })));
}

}  // namespace downpour
