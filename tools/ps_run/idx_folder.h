// A folder with the four files of MNIST and its kin, under the names they have had since 1998.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "proto/job.pb.h"

namespace downpour::run {

// Makes the folder's files the job's data, train-* for training and t10k-* held out, each plain or with .gz; a plain one
// is taken first. NotFound, naming what is missing, and then the job stays as it is.
absl::Status UseFolder(const std::string& folder, Job* job);

}  // namespace downpour::run
