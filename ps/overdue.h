// How long a read, or a push that is held, may wait for other workers. A pure function.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "proto/frame.h"
#include "proto/settings.h"
#include "proto/sync/mode.h"
#include "ps/leases.h"

namespace downpour::ps {

// One that waits.
struct Waiting {
  uint32_t worker = 0;
  uint64_t clock = 0;
  int64_t since_ms = 0;
};

struct Overdue {
  Refusal reason = Refusal::kNone;  // kNoMembers or kReadTimeout
  std::string sentence;             // names those who are waited for
};

// What a part is waited for under.
struct WaitedFor {
  PartView view;
  bool set = false;   // has values
  bool warm = false;  // the first worker's steps alone are over
};

// Why it should wait no longer; none where it should. `settings` are those that the one who waits goes by.
std::optional<Overdue> WhyOverdue(const Settings& settings, const Leases& leases, const WaitedFor& part,
                                  const Waiting& waiting, int64_t now_ms);

}  // namespace downpour::ps
