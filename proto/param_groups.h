// Which parameters go by which multiples of the job's rate and penalties.
#pragma once

#include <cstdint>
#include <vector>

#include "proto/job.pb.h"
#include "proto/service.pb.h"

namespace downpour {

// How parameters differ from what the job says of all.
struct GroupSettings {
  float lr_mult = 1;     // on the learning rate
  float decay_mult = 1;  // on weight_decay, l1 and l2
  bool average = false;  // running averages, from which what a gradient says is taken as it is

  friend bool operator==(const GroupSettings&, const GroupSettings&) = default;
};

// Elements [begin, end) of the flat vector: one tensor and the padding behind it.
struct ParamGroup {
  uint64_t begin = 0;
  uint64_t end = 0;
  GroupSettings settings;

  friend bool operator==(const ParamGroup&, const ParamGroup&) = default;
};

// One group for each tensor, end to end over [0, spec.elements()), which ValidateTableSpec (ps/table_spec.h) must have
// passed. What a layer calls a weight or a bias, as in "<layer>.weight" and "<layer>.bias_ih_l0", goes by that layer's
// keys for those; all else goes by 1. A pure function: servers and workers get the same.
std::vector<ParamGroup> ParamGroups(const Job& job, const TableSpec& spec);

}  // namespace downpour
