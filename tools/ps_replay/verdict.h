// What a replay comes to: the same bits as the run, or where it first differs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "ps/replay.h"

namespace downpour::replay {

enum class Result {
  kSame,       // to the end
  kBrokenOff,  // the same as far as the recording, or the replay, goes
  kDifferent,
};

struct Verdict {
  Result result = Result::kSame;
  uint64_t recorded_checksum = 0;  // of all parts at the end; 0 where the recording has no end
  uint64_t checksum = 0;
  uint64_t events = 0;
  uint64_t marks = 0;
  std::optional<ps::ReplayedPart> first;  // the part that differed first, without its values
};

Verdict Judge(const ps::Replayed& replayed);

// For people and for programs.
std::string VerdictText(const ps::Recording& recording, const ps::ReplayOptions& options,
                        const ps::Replayed& replayed, const Verdict& verdict);
nlohmann::ordered_json VerdictJson(const ps::Recording& recording, const ps::ReplayOptions& options,
                                   const ps::Replayed& replayed, const Verdict& verdict);

}  // namespace downpour::replay
