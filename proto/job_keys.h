// Walks the keys of a job: job.proto's fields and their options.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "proto/job.pb.h"
#include "proto/key.pb.h"

namespace downpour {

// The options of one key; empty ones for a field that has none.
const Key& KeyOf(const google::protobuf::FieldDescriptor* field);

// The field that selects which of its siblings count, or null.
const google::protobuf::FieldDescriptor* SelectorOf(const google::protobuf::Descriptor* message);

// The key's default where the selector has `selected`.
absl::string_view DefaultOf(const Key& key, absl::string_view selected);

// Whether `key` counts where the selector has `selected`.
bool Counts(const Key& key, absl::string_view selected);

// The dotted path of the known key that is nearest to `name`, which was found in `message`, whose own path is
// `prefix` (empty at the top): a sibling that is spelled alike, else a key of that name elsewhere in the job; empty
// when nothing is near.
std::string NearestKey(absl::string_view name, const google::protobuf::Descriptor* message, absl::string_view prefix);

// The choice that is spelled most like `value`, or empty.
std::string NearestChoice(absl::string_view value, const Key& key);

}  // namespace downpour
