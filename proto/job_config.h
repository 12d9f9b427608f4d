// Reads job files. The keys, their defaults, bounds and sentences stand in job.proto.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/job.pb.h"

namespace downpour {

// Parses YAML text into a job in which every key that counts has its value: the given one or its default.
// InvalidArgument, one line for each mistake (all of them at once), as
// `file:line: key: what is wrong; what would be right`. `file` serves the messages only.
// `set` replaces keys of the text or adds to them, each as `path=value` with a value in YAML: `sync.n_push=10`,
// `optimizer={name: adam}`. Where one makes another choice (`sync.mode=bsp`), what the text has for the choice before alone
// is dropped. A mistake in one begins `--set path:` instead of with file and line.
absl::StatusOr<Job> ParseJob(absl::string_view yaml, absl::string_view file, const std::vector<std::string>& set = {});

// ParseJob of a file. Relative paths in it are taken from its folder, those in `set` from the current one.
absl::StatusOr<Job> LoadJob(const std::string& path, const std::vector<std::string>& set = {});

// The job with other keys, `set` as in ParseJob.
absl::StatusOr<Job> WithKeys(const Job& job, const std::vector<std::string>& set);

// The job as YAML that ParseJob reads back to the same job: the resolved configuration of a run.
std::string JobToYaml(const Job& job);

// Whether a `sync` section that did not come from a file is one that ParseJob could have made, for a job of so many
// workers with this learning rate. InvalidArgument as ParseJob.
absl::Status CheckSync(const Sync& sync, uint32_t workers, float learning_rate);

// What must be the same on worker and server: FailedPrecondition with the keys that differ, both values with each.
// Addresses, paths, timeouts and what a run leaves behind may differ.
absl::Status CheckAgreement(const Job& server, const Job& worker);

}  // namespace downpour
