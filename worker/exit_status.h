// How a worker ends; worker/CONTRACT.md tells launchers what each means.
#pragma once

namespace downpour::worker {

enum class ExitStatus : int {
  kDone = 0,
  kUsage = 64,       // wrong flags or a wrong job file
  kData = 65,        // wrong data
  kServer = 69,      // a server could not be reached, or was lost
  kInternal = 70,    // the worker's own fault, or gradients that are not finite
  kStopped = 75,     // told to stop
  kSuperseded = 76,  // a newer attempt holds the partition
  kDisagree = 78,    // job and server disagree
};

}  // namespace downpour::worker
