// What a table takes on one server, before it is made.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "proto/job.pb.h"
#include "proto/service.pb.h"
#include "proto/settings.h"

namespace downpour::ps {

// Whether workers go together (proto/settings.h) under all of these.
bool AllGoTogether(const SettingsHistory& settings);

// Of the map's only table.
uint64_t ElementsOn(const ShardMap& map, uint32_t server);

struct MemoryUse {
  bool together = false;    // as AllGoTogether
  bool checkpoint = false;  // one is written
};

// Whether checkpoints are part of the job's plan.
bool PlansCheckpoints(const Job& job);

// Whether a server may hold so many of the table's floats, with what goes with each. ResourceExhausted, with the sum.
absl::Status CheckTableMemory(const Job& job, const MemoryUse& use, const TableSpec& spec, uint64_t elements_here);

}  // namespace downpour::ps
