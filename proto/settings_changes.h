// What several servers know of the changes of a job's settings.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "proto/service.pb.h"

namespace downpour {

// One that has not heard of the last ones yet knows a beginning of what others know: adds to `known` what goes on from
// there. The index of the first change that differs, if one does.
std::optional<size_t> MergeChanges(const google::protobuf::RepeatedPtrField<SettingsChange>& of_server,
                                   std::vector<SettingsChange>* known);

}  // namespace downpour
